"""An application of `async def` tasks, beside others."""
import asyncio
import multiprocessing
import os
import time

from celery import Celery, Task, signals
from celery.exceptions import Ignore, SoftTimeLimitExceeded

app = Celery("coroutines", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
app.conf.worker_async_concurrency = 50
app.conf.worker_event_loop = os.environ.get("EVENT_LOOP", "asyncio")

# How many of `meet` are there, and what tells them that all are.
here, everybody = 0, None
connection = None


def note(what):
    with open("notes", "a") as notes:
        notes.write(f"{what} {os.getpid()}\n")


async def connect():
    await asyncio.sleep(0)
    return asyncio.get_running_loop()


@signals.worker_process_init.connect
def open_connection(**_):
    global connection
    connection = asyncio.get_event_loop().run_until_complete(connect())


@signals.worker_process_shutdown.connect
def close_connection(**_):
    if asyncio.get_event_loop().run_until_complete(connect()) is connection:
        note(f"closed-on-the-same-loop-by-{multiprocessing.current_process().name}")


for name in ("task_prerun", "task_postrun", "task_success", "task_failure", "task_retry"):
    getattr(signals, name).connect(lambda name=name, sender=None, **_: note(f"{name}:{sender.name.split('.')[-1]}"), weak=False)


class Noting(Task):
    def on_failure(self, exc, task_id, args, kwargs, einfo):
        note(f"on_failure:{type(exc).__name__}")

    def after_return(self, status, retval, task_id, args, kwargs, einfo):
        note(f"after_return:{status}:{self.request.id == task_id}")


@app.task
def add(x, y):
    return x + y


@app.task(bind=True)
async def meet(self, how_many):
    """Returns once so many run at the same time, with what each of them sees of its request."""
    global here, everybody
    everybody = everybody or asyncio.Event()
    here += 1
    if here == how_many:
        everybody.set()
    await everybody.wait()

    async def of_a_part():
        await asyncio.sleep(0.001)
        return self.request.id

    seen = {self.request.id, await asyncio.create_task(of_a_part()), await asyncio.to_thread(lambda: self.request.id)}
    return os.getpid(), sorted(seen), asyncio.get_running_loop() is connection, type(connection).__module__


@app.task
async def aadd(x, y):
    await asyncio.sleep(0.01)
    return x + y


@app.task(bind=True)
async def calls_another(self, x):
    # As coroutines call each other everywhere.
    return await aadd(x, 1) + await aadd.run(x, 2), self.request.id


@app.task(base=Noting)
async def fail(text):
    await asyncio.sleep(0)
    raise ValueError(text)


@app.task(bind=True, max_retries=3)
async def stubborn(self, times):
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task(bind=True, autoretry_for=(KeyError,), max_retries=3, retry_backoff=0.01, retry_jitter=False)
async def retried(self, times):
    await asyncio.sleep(0)
    if self.request.retries < times:
        raise KeyError("again")
    return self.request.retries


@app.task
async def ignores():
    raise Ignore()


@app.task
async def leaves():
    raise SystemExit(3)


@app.task
async def cancels_itself():
    asyncio.current_task().cancel()
    await asyncio.sleep(1)


@app.task(soft_time_limit=0.3)
async def patient():
    try:
        await asyncio.sleep(30)
    except SoftTimeLimitExceeded:
        await asyncio.sleep(0.01)
        return "cleaned up", asyncio.current_task().cancelling() if hasattr(asyncio.Task, "cancelling") else 0


@app.task(soft_time_limit=0.3)
async def impatient():
    await asyncio.gather(asyncio.sleep(30), asyncio.sleep(40))


@app.task(soft_time_limit=0.3)
async def grouped():
    """Nothing that it has started goes on without it."""
    parts = [asyncio.ensure_future(part()) for _ in range(2)]
    try:
        await asyncio.gather(*parts)
    except SoftTimeLimitExceeded:
        return [task.cancelled() for task in parts]


async def part():
    await asyncio.sleep(30)


@app.task(time_limit=0.3)
async def blocks():
    note("blocks")
    time.sleep(60)


@app.task(acks_late=True, reject_on_worker_lost=True)
async def comes_again():
    note("comes-again")
    with open("notes") as notes:
        if notes.read().count("comes-again ") > 1:
            return "again"
    await asyncio.sleep(60)


@app.task(time_limit=0.3)
async def endless():
    try:
        await asyncio.sleep(30)
    finally:
        note("endless-was-cleaned-up")


@app.task
async def sleeps(seconds):
    began = time.monotonic()
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("sleeps-was-cancelled")
        raise
    return os.getpid(), time.monotonic() - began


@app.task
async def begins_and_sleeps(seconds):
    note("begins-and-sleeps")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("begins-and-sleeps-was-cancelled")
        raise
