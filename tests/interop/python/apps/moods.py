"""An application whose tasks end in every way, and that notes which signals its processes get."""
import json
import os
import signal
import sys
import time

from celery import Celery, signals
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from kombu.serialization import register

app = Celery("moods", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
app.conf.accept_content = ["json", "dawdling"]


def dawdle(text):
    time.sleep(5)
    return json.loads(text)


register("dawdling", json.dumps, dawdle, content_type="application/x-dawdling", content_encoding="utf-8")


def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what} {os.getpid()}\n")


for name in ("celeryd_init", "worker_init", "celeryd_after_setup", "worker_before_create_process", "worker_ready",
             "worker_process_init", "worker_process_shutdown", "worker_shutting_down", "worker_shutdown"):
    getattr(signals, name).connect(lambda name=name, **_: note(name), weak=False)


@app.task
def add(x, y):
    return x + y


@app.task
def fail(text):
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
def stubborn(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task
def ignores():
    note("ignores")
    raise Ignore()


@app.task(acks_late=True)
def rejects():
    raise Reject("no", requeue=False)


@app.task(acks_late=True)
def rejects_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        raise Reject("not yet", requeue=True)
    return "again"


@app.task(soft_time_limit=0.5)
def patient():
    try:
        time.sleep(30)
    except SoftTimeLimitExceeded:
        return "cleaned up"


@app.task(soft_time_limit=0.002)
def hasty():
    time.sleep(5)
    return "slept"


@app.task(soft_time_limit=0.2, serializer="dawdling")
def hard_to_read():
    return "read"


@app.task
def waits_for(path):
    """Until there is this file."""
    until = time.monotonic() + 60
    while not os.path.exists(path):
        assert time.monotonic() < until, path
        time.sleep(0.01)
    return "seen"


@app.task(time_limit=0.5)
def endless():
    time.sleep(30)


@app.task
def killed():
    os.kill(os.getpid(), signal.SIGKILL)


@app.task
def exits():
    sys.exit(3)


@app.task(acks_late=True, reject_on_worker_lost=True)
def killed_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return "again"


@app.task(bind=True)
def whoami(self):
    request = self.request
    return {
        "id": request.id, "hostname": request.hostname, "retries": request.retries, "pid": os.getpid(),
        "redelivered": request.delivery_info["redelivered"], "routing_key": request.delivery_info["routing_key"],
        "is_eager": request.is_eager, "called_directly": request.called_directly, "priority": request.delivery_info["priority"],
    }


@app.task(bind=True)
def replaced(self, x, y):
    raise self.replace(add.s(x, y))


@app.task(bind=True)
def sends_itself(self, again):
    if again:
        self.apply_async((False,), task_id=self.request.id)
        time.sleep(0.5)
        return "sent"
    note("sends_itself")


@app.task
def large(size):
    return "x" * size
