"""Compares what Sentry's integration reports of failed tasks in our children with what it reports in a stock worker.

Usage: drive_sentry.py, in the folder of our worker, whose application writes to the file `events`.
"""
import json
import os
import subprocess
import sys

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
sys.path.insert(0, APPS)
os.environ["SENTRY_EVENTS"] = os.devnull

import sentried  # noqa: E402

DEADLINE = 60


def fail():
    """Lets tasks fail, and gives the id of the one that nobody expected to."""
    for task in (sentried.expected.delay(), sentried.fail.delay("no leaves")):
        try:
            task.get(timeout=DEADLINE)
        except Exception as error:
            last = task.id, repr(error)
        else:
            raise AssertionError("it succeeded")
    assert last[1] == "ValueError('no leaves')", last
    return last[0]


def reported(path, task_id):
    """What was reported, which must be the failure of this task."""
    events = [json.loads(line) for line in open(path)]
    assert len(events) == 1, events
    event = events[0]
    exception = event["exception"]["values"][-1]
    assert (exception["type"], exception["value"]) == ("ValueError", "no leaves"), exception
    assert exception["mechanism"]["type"] == "celery" and exception["mechanism"]["handled"] is False, exception
    assert exception["stacktrace"]["frames"][-1]["function"] == "fail", exception
    assert event["transaction"] == "sentried.fail", event["transaction"]
    assert event["tags"] == {"celery_task_id": task_id}, event["tags"]
    job = event["extra"]["celery-job"]
    assert job["task_name"] == "sentried.fail" and job["args"] == ["no leaves"], job
    return sorted(event), sorted(exception), sorted(job)


def stock():
    """The same with a stock worker, once ours has done its part."""
    environment = dict(os.environ, PYTHONPATH=APPS, SENTRY_EVENTS="stock-events")
    command = [sys.executable, "-m", "celery", "-A", "sentried", "worker", "-c", "1", "-l", "WARNING", "-Q", "stock"]
    worker = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        sentried.app.conf.task_default_queue = "stock"
        return reported("stock-events", fail())
    finally:
        worker.terminate()
        worker.wait(DEADLINE)


ours = reported("events", fail())
theirs = stock()
assert ours == theirs, (ours, theirs)
