"""An application whose tasks lose their process in every way, and that notes what its parent and its children hear of it."""
import json
import os
import resource
import signal
import sys
import threading
import time

from celery import Celery, Task, current_task, signals
from celery.exceptions import Reject

broker = os.environ["CELERY_BROKER_URL"]
app = Celery("fates", broker=broker, backend=os.environ.get("CELERY_RESULT_BACKEND", broker))

HEARD = (
    "task_received", "task_failure", "task_retry", "task_revoked", "task_rejected", "task_unknown", "task_internal_error",
)


def note(what, task=None, error=None):
    """One line, so that lines of several processes do not mix."""
    note = {"what": what, "task": task, "error": None if error is None else repr(error), "pid": os.getpid()}
    with open("notes", "a") as notes:
        notes.write(f"{what.replace(' ', '_')} {json.dumps(note)}\n")


def heard(what, **kwargs):
    request = kwargs.get("request")
    task = kwargs.get("task_id") or kwargs.get("id") or getattr(request, "id", None)
    reason = kwargs.get("reason")
    note(what, task, kwargs.get("exception") or kwargs.get("exc") or getattr(reason, "exc", None))


for name in HEARD:
    getattr(signals, name).connect(lambda what=name, **kwargs: heard(what, **kwargs), weak=False)


@signals.worker_init.connect
def worker_init(**_):
    note("worker_init")
    with open("template", "w") as file:
        file.write(str(os.getpid()))


@signals.worker_process_init.connect
def worker_process_init(**_):
    seconds = float(os.environ.get("FATES_INIT", 0))
    if os.environ.get("FATES_INIT_RAISES"):
        raise RuntimeError("no database")
    time.sleep(seconds)
    note("worker_process_init")


@signals.worker_process_shutdown.connect
def worker_process_shutdown(**_):
    note("worker_process_shutdown")


def slowly(what, task):
    """Takes longer than anybody waits, in its own words or in those of what it calls."""
    note(f"{what} begins", task)
    while True:
        try:
            time.sleep(60)
        except Exception:
            pass


class Fated(Task):
    """Notes what its methods are called with."""

    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note("on_failure", task_id, exc)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(f"after_return {status}", task_id)

    def on_retry(self, exc, task_id, args, kwargs, einfo):
        note("on_retry", task_id, exc)


def sigkill():
    os.kill(os.getpid(), signal.SIGKILL)


def sigsegv():
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves():
    os._exit(3)


def exits():
    sys.exit(4)


def stops():
    os.kill(os.getpid(), signal.SIGSTOP)


def memory():
    """Asks for more than there may be."""
    here = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (here + (64 << 20), before[1]))
    try:
        return len(bytearray(1 << 30))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def overtime():
    try:
        time.sleep(30)
    finally:
        note("cleaned up")


def rejects():
    raise Reject("no", requeue=False)


def requeues():
    raise Reject("again", requeue=True)




def halfway():
    """Dies while its large result is on its way out of the process."""
    main = threading.main_thread().ident

    task = current_task.request.id

    def kill():
        while sys._current_frames()[main].f_code.co_name not in _SENDS:
            time.sleep(0.0001)
        note("halfway", task)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    return "x" * (8 << 20)


# Where a process is while it writes to a socket that takes no more.
_SENDS = ("send", "send_packed_command")

def sleeps():
    time.sleep(60)


WAYS = {way.__name__: way for way in (sigkill, sigsegv, leaves, exits, stops, memory, overtime, rejects, requeues, halfway, sleeps)}

# How the task of a kind is acknowledged, and what happens when its process dies.
KINDS = {
    "early": {},
    "late": {"acks_late": True},
    "refuses": {"acks_late": True, "acks_on_failure": False},
    "rejects": {"acks_late": True, "reject_on_worker_lost": True},
    "retries": {"retry_on_worker_lost": True, "max_retries": 1, "default_retry_delay": 0},
    "late_retries": {
        "acks_late": True, "reject_on_worker_lost": True, "retry_on_worker_lost": True, "max_retries": 1, "default_retry_delay": 0,
    },
    "late_timeout": {"acks_late": True, "acks_on_timeout": False},
}


def fated(kind, options):
    @app.task(bind=True, base=Fated, name=f"fates.{kind}", **options)
    def task(self, way, times):
        """Goes this way so many times, and then returns."""
        marks = f"marks-{self.request.id}"
        with open(marks, "a") as file:
            file.write("x")
        note("runs", self.request.id)
        if os.path.getsize(marks) <= times:
            return WAYS[way]()
        return "again"

    return task


TASKS = {kind: fated(kind, options) for kind, options in KINDS.items()}


class Slow(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        slowly("on_failure", task_id)

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(f"after_return {status}", task_id)


class Late(Task):
    """Is lost after its success has been stored."""

    def on_success(self, *_):
        note("on_success", self.request.id)
        sigkill()


@app.task(base=Late, acks_late=True, reject_on_worker_lost=True)
def done_and_lost():
    return "done"


kept = []


@app.task
def grows(size):
    kept.append(b"x" * size)
    return os.getpid()


@app.task(base=Slow)
def slow():
    sigkill()


@app.task
def tick():
    return time.time()


@app.task
def told(task):
    note("errback", task)
