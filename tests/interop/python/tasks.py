"""Tasks in Python for the tests that run Celeriac beside real Celery; src/lib.rs has the same ones in Rust."""
import json
import os
import socket
import time

from celery import Celery

app = Celery("tasks", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])
app.conf.update(
    task_default_queue=os.environ.get("CELERY_QUEUE", "celery"),
    accept_content=["json", "msgpack"],
    result_accept_content=["json", "msgpack"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options=json.loads(os.environ.get("BROKER_TRANSPORT_OPTIONS", "{}")),
    result_backend_transport_options=json.loads(os.environ.get("RESULT_TRANSPORT_OPTIONS", "{}")),
    result_extended=False,
)


class OutOfTea(Exception):
    pass


@app.task(name="python.add")
def add(x, y):
    return x + y


@app.task(name="python.echo")
def echo(value):
    return value


@app.task(name="python.fail")
def fail(message):
    raise OutOfTea(message)


@app.task(name="python.stubborn", bind=True, max_retries=10)
def stubborn(self, times):
    if self.request.retries < times:
        raise self.retry(countdown=0.05)
    return self.request.retries


@app.task(name="python.whoami", bind=True)
def whoami(self):
    request = self.request
    return {
        "id": request.id,
        "root_id": request.root_id,
        "retries": request.retries,
        "priority": request.delivery_info["priority"],
        "tenant": request.get("tenant"),
        "stamps": request.stamps,
    }


# What both languages have under one name, as a team has it that moves a task from one to the other.


@app.task(name="shared.add")
def shared_add(x, y):
    return [x + y, "python"]


@app.task(name="shared.slow")
def shared_slow(address):
    """Says that it runs, and runs until it may go."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as test:
        test.sendall(b"python\n")
        test.recv(1)
    return "python"


@app.task(name="shared.nap")
def shared_nap(seconds):
    time.sleep(seconds)
    return "python"


@app.task(name="shared.fail")
def shared_fail(message):
    raise OutOfTea(message)
