"""What the scenarios share: the application, a task that runs until it may go, and how replies are read."""
import os
import socket
import sqlite3
import subprocess
import sys

from celery import Celery
from celery.exceptions import TaskRevokedError

from waiting import DEADLINE

SCENARIO, NODE, FAMILY = sys.argv[1:4]

URL = os.environ["CELERY_BROKER_URL"]
FILE = URL.removeprefix("sqlite:///") if URL.startswith("sqlite:") else None

app = Celery("control", broker=URL, backend=URL)


class Slow:
    """A task that runs until it may go."""

    def __init__(self, *args, name="slow", **options):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.args = [address, *args]
        self.result = app.send_task(f"{FAMILY}.{name}", self.args, **options)
        self.id = self.result.id

    def runs(self):
        self.connection, _ = self.listener.accept()
        return self

    def may_go(self):
        self.connection.sendall(b".")
        return self.result.get(timeout=DEADLINE)


def inspect(command, *args, **options):
    """What our worker replies, which it must do well within the second that Celery waits."""
    replies = getattr(app.control.inspect([NODE], timeout=10), command)(*args, **options)
    assert replies is not None and list(replies) == [NODE], (command, replies)
    return replies[NODE]


def leftovers():
    """What replies went to, without an expiry."""
    if FILE:
        return look("SELECT exchange FROM listener WHERE exchange LIKE 'reply.%' UNION SELECT exchange FROM broadcast WHERE exchange LIKE 'reply.%'")
    client = app.connection().default_channel.client
    return [key for key in client.keys("*reply.celery.pidbox") if client.type(key) == b"list" and client.pttl(key) < 0]


def look(sql):
    connection = sqlite3.connect(f"file:{FILE}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def celery(*arguments):
    """What Celery's own command says."""
    command = [sys.executable, "-W", "ignore", "-m", "celery", "-b", URL, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=DEADLINE).stdout


def add(*args, **options):
    """A call that comes to 3; a program in Rust says too who has worked."""
    return app.send_task(f"{FAMILY}.add", args or (1, 2), **options)


def total(result):
    value = result.get(timeout=DEADLINE)
    return value[0] if isinstance(value, list) else value


def reason(result):
    """Why a task was revoked, which it was."""
    try:
        value = result.get(timeout=DEADLINE)
    except TaskRevokedError as error:
        assert result.state == "REVOKED", result.state
        return str(error)
    raise AssertionError(f"it returned {value!r}")


def raised(result):
    try:
        value = result.get(timeout=DEADLINE)
    except Exception as error:
        return type(error).__name__
    raise AssertionError(f"it returned {value!r}")


def told(reply):
    """What the worker replied to a command with `reply=True`."""
    ((node, said),) = reply[0].items()
    assert node == NODE, reply
    return said


ASK = dict(reply=True, timeout=10, limit=1)
ASK_NOW = dict(reply=True, timeout=10, destination=[NODE])
