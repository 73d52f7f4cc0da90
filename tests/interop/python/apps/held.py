"""An application whose tasks wait for whoever drives them."""
import os
import signal
import socket
import time

from celery import Celery

app = Celery("held", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])


@app.task(name="held.slow")
def slow(address):
    """Says that it runs, and runs until it may go."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port))) as test:
        test.sendall(b"python\n")
        test.recv(1)
    return "python"


@app.task(name="held.add")
def add(x, y):
    return x + y


@app.task(name="held.nap")
def nap():
    time.sleep(0.001)
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
