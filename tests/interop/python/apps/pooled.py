"""An application for the pools that run several tasks at once, and for that of one."""
import multiprocessing
import os
import threading
import time

from celery import Celery, signals
from celery.exceptions import SoftTimeLimitExceeded

app = Celery("pooled", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
was_patched = time.sleep.__module__ != "time" if hasattr(time.sleep, "__module__") else False
here = threading.Semaphore(0)


def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what} {os.getpid()}\n")


for name in ("worker_init", "worker_process_init", "worker_process_shutdown", "eventlet_pool_started", "eventlet_pool_apply",
             "eventlet_pool_preshutdown", "eventlet_pool_postshutdown"):
    getattr(signals, name).connect(lambda name=name, **_: note(name), weak=False)


@app.task(bind=True)
def meet(self, how_many):
    """Returns once so many run at the same time."""
    for _ in range(how_many - 1):
        here.release()
    for _ in range(how_many - 1):
        if not here.acquire(timeout=30):
            raise TimeoutError("the others have not come")
    time.sleep(0.01)
    return self.request.id


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
def where():
    """Whose process it is, and whether it may have children of its own."""
    child = multiprocessing.get_context("spawn").current_process()
    return {
        "pid": os.getpid(), "process": multiprocessing.current_process().name, "daemon": child.daemon,
        "main": threading.current_thread() is threading.main_thread(), "patched": was_patched,
    }


@app.task
def leaves():
    raise SystemExit(3)


@app.task(time_limit=0.5)
def endless():
    time.sleep(2)
    return "slept"


@app.task(soft_time_limit=0.5)
def patient():
    try:
        time.sleep(2)
    except SoftTimeLimitExceeded:
        return "cleaned up"
    return "slept"


@app.task
def sleeps(seconds):
    note("sleeps")
    time.sleep(seconds)
    return os.getpid()


@app.task(acks_late=True, reject_on_worker_lost=True)
def killed_once(path):
    if not os.path.exists(path):
        open(path, "w").close()
        while not os.path.exists(path + "-others"):
            time.sleep(0.01)
        os.kill(os.getpid(), 9)
    return "again"


@app.task
def lost_with_it(path):
    open(path + "-others", "w").close()
    time.sleep(60)
