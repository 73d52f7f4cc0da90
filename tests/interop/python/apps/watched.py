"""Tasks that end in every way, for those who watch."""
import os

from celery import Celery
from celery.exceptions import Ignore, Reject

# What the names of the tasks begin with: those of `shared` are in src/endings.rs too.
FAMILY = os.environ.get("FAMILY", "watched")


class App(Celery):
    def gen_task_name(self, name, module):
        return f"{FAMILY}.{name}"


app = App("watched", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])


@app.task
def returns(value):
    return value


@app.task
def fails():
    raise ValueError("no")


@app.task(bind=True, max_retries=1)
def retries(self):
    if not self.request.retries:
        raise self.retry(exc=KeyError("once"), countdown=0)
    return "twice"


@app.task
def ignores():
    raise Ignore()


@app.task(acks_late=True)
def rejects():
    raise Reject("never", requeue=False)


@app.task(send_events=False)
def is_quiet():
    return "nothing"


@app.task(bind=True)
def tells(self):
    self.send_event("task-progress", percent=50)


@app.task
def naps():
    import time

    time.sleep(0.3)


@app.task(time_limit=1)
def takes_too_long():
    import time

    time.sleep(30)
