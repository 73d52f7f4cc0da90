"""Remote control: the commands that need the objects of the application, and those that it has added itself.

Celery's own functions answer the former. Whatever a command does, it ends: what takes too long is interrupted.

Source: celery/worker/control.py and celery/worker/pidbox.py, Celery 5.7.0, and kombu/pidbox.py, `Node.dispatch`, kombu 5.7.0.
"""
import logging

from celery.utils.collections import AttributeDict
from celery.utils.serialization import jsonify
from celery.worker import control
from kombu.utils import json
from kombu.utils.encoding import safe_repr
from kombu.utils.url import maybe_sanitize_url

from _celeriac.alarm import Alarm, Overdue
from _celeriac.consumer import Consumer

# How long a command may take, in seconds. The parent waits longer, and then ends this process.
_COMMAND = 10

log = logging.getLogger("celery.worker.pidbox")


def added():
    """The names of the commands that are none of Celery's, those included that have taken the place of one."""
    return [name for name, function in control.Panel.data.items() if getattr(function, "__module__", "") != control.__name__]


def facts(app, worker):
    """What `stats` tells of the application that does not change."""
    pool = {
        "implementation": f"{worker.pool_cls.__module__}:{worker.pool_cls.__name__}",
        "put-guarded-by-semaphore": bool(worker.pool_putlocks),
    }
    return {"broker": _broker(app), "pool": pool}


def _broker(app):
    """Source: celery/worker/consumer/connection.py, `Connection.info`, Celery 5.7.0."""
    try:
        broker = app.connection_for_read().info()
    except Exception:
        # The library of its transport is not needed here.
        return "N/A"
    broker.pop("password", None)
    alternates = broker.get("alternates") or []
    if isinstance(alternates, str):
        broker["alternates"] = maybe_sanitize_url(alternates)
    else:
        broker["alternates"] = [maybe_sanitize_url(url) if isinstance(url, str) else url for url in alternates]
    return jsonify(broker, unknown_type_filter=safe_repr)


class Commands:
    """Obeys."""

    def __init__(self, app, worker):
        self.consumer = Consumer(app, worker)
        self.state = AttributeDict(app=app, hostname=worker.hostname, consumer=self.consumer, tset=set)

    def obey(self, method, arguments, queues):
        """What came of a command, in one word, what is replied, as JSON, and what the parent is to obey before that.

        `queues` is where the worker takes tasks from.
        """
        function = control.Panel.data.get(method)
        if function is None:
            return "unknown", b"", []
        wishes = self.consumer.begin(queues)
        try:
            with Alarm(_COMMAND):
                reply = function(self.state, **arguments)
            return "reply", json.dumps(reply).encode(), wishes
        except SystemExit:
            return "shutdown", b"", []
        except Overdue:
            error = TimeoutError(f"{method} took longer than {_COMMAND} s and was interrupted")
            log.error("pidbox command error: %r", error)
        except BaseException as raised:
            error = raised
            log.error("pidbox command error: %r", error, exc_info=True)
        return "error", json.dumps(repr(error)).encode(), []
