"""An application whose tasks wait for whoever drives them."""
import os
import signal
import socket
import time

from celery import Celery
from celery.exceptions import WorkerShutdown
from celery.worker.control import control_command, inspect_command

app = Celery("held", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])


@app.task(name="held.slow")
def slow(address):
    """Says that it runs, and runs until it may go."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as test:
        test.sendall(b"python\n")
        test.recv(1)
    return "python"


@control_command(args=[("factor", int)], signature="[factor=2]")
def doubled(state, factor=2):
    """A command of the application."""
    return {"ok": f"{state.hostname} {factor * 2} of {state.app.main}"}


@inspect_command()
def raises(state):
    raise ValueError("as it does")


@control_command(args=[("queue", str)], signature="<queue>")
def joins(state, queue):
    """Leaves every queue for another, as far as it is not there yet."""
    consumer = state.consumer
    before = [queue.name for queue in consumer.task_consumer.queues]
    if consumer.task_consumer.consuming_from(queue):
        raise ValueError(f"{state.hostname} is there already")
    for other in before:
        consumer.call_soon(consumer.cancel_task_queue, other)
    consumer.call_soon(consumer.add_task_queue, queue, "rooms", "direct", f"to-{queue}")
    return {"ok": before}


@inspect_command()
def surroundings(state):
    """What a command of the application sees of its worker."""
    consumer = state.consumer
    with consumer.connection_for_read() as connection:
        transport = connection.transport_cls
    return {
        "app": consumer.app.main, "nodes": [consumer.hostname, consumer.controller.hostname], "transport": transport,
        "concurrency": consumer.controller.concurrency, "is_same": consumer.controller.consumer is consumer,
        "optional": [bool(it) for it in (consumer.event_dispatcher, consumer.pool, consumer.controller.autoscaler)],
    }


@inspect_command(args=[("path", str)], signature="<path>")
def uses(state, path):
    """A command that needs what may not be there."""
    return repr(eval(f"state.consumer.{path}"))


@control_command()
def told_to_end(state):
    raise WorkerShutdown(0)


@app.task(name="held.add", rate_limit="1000/s")
def add(x, y):
    return x + y


@app.task(name="held.nap")
def nap(seconds):
    time.sleep(seconds)
    return "napped"


@app.task(name="held.catches")
def catches(address, name):
    """As `slow`, and returns when it is told this signal."""
    def told(signum, frame):
        raise InterruptedError(signum)

    before = signal.signal(getattr(signal, name), told)
    try:
        return slow(address)
    except InterruptedError as error:
        return f"told {error}"
    finally:
        signal.signal(getattr(signal, name), before)
