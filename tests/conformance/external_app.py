"""The application that the external worker is started with (`-A external_app`).

The counterpart, in another process, of the session application that the suite builds in its own: the same settings, the same tasks. The plugin
leaves the settings in the JSON file that `CONFORMANCE_CONFIG` names.
"""
import json
import os

from celery import Celery

# What Celery's test support gives every application before the settings of the suite.
# Source: celery/contrib/testing/app.py, `DEFAULT_TEST_CONFIG`, Celery 5.7.0.
_OF_TESTS = {
    "worker_hijack_root_logger": False,
    "worker_log_color": False,
    "accept_content": ["json"],
    "enable_utc": True,
    "timezone": "UTC",
    "broker_heartbeat": 0,
}


def _settings():
    with open(os.environ["CONFORMANCE_CONFIG"]) as file:
        return {**_OF_TESTS, **json.load(file)}


app = Celery("celery.tests")
app.conf.update(_settings())
# The worker imports these when it starts.
app.conf.include = ["celery.contrib.testing.tasks", "t.integration.tasks"]
app.set_default()
app.set_current()


@app.on_after_finalize.connect
def register_class_tasks(sender=None, **_):
    """What the fixture `celery_class_tasks` of the suite registers."""
    from t.integration.tasks import ClassBasedAutoRetryTask

    sender.register_task(ClassBasedAutoRetryTask())
