"""An application with everything that a parent in Rust cannot do for it."""
import os

from celery import Celery, bootsteps
from celery.concurrency.prefork import TaskPool
from celery.worker.consumer import Consumer
from celery.worker.request import Request

app = Celery("peculiar", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])


class Probe(bootsteps.StartStopStep):
    """A liveness probe, as many have it."""

    requires = {"celery.worker.components:Timer"}


class Messages(bootsteps.ConsumerStep):
    """A consumer of other messages."""

    def get_consumers(self, channel):
        return []


class OwnConsumer(Consumer):
    pass


class OwnPool(TaskPool):
    pass


class OwnRequest(Request):
    pass


def batching(task, app, consumer, **_):
    """As celery-batches has it."""


app.steps["worker"].add(Probe)
app.steps["consumer"].add(Messages)
app.conf.worker_consumer = "peculiar:OwnConsumer"
app.conf.worker_pool = "peculiar:OwnPool"


@app.task(Request=OwnRequest)
def requested():
    pass


@app.task(Strategy=batching)
def batched():
    pass


@app.task
def add(x, y):
    return x + y
