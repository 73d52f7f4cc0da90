"""Celery's own remote control, towards a worker of ours. Usage: drive_control.py NAME NODE FAMILY

FAMILY is `held` for the tasks of apps/held.py, `shared` for those of a program in Rust.
"""
import os
import socket
import sys
import time

from celery import Celery

DEADLINE = 60
SCENARIO, NODE, FAMILY = sys.argv[1:4]

app = Celery("control", broker=os.environ["CELERY_BROKER_URL"], backend=os.environ["CELERY_BROKER_URL"])


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


def until(what, holds):
    deadline = time.monotonic() + DEADLINE
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.02)


def inspect(command, *args, **options):
    """What our worker replies, which it must do well within the second that Celery waits."""
    replies = getattr(app.control.inspect([NODE], timeout=10), command)(*args, **options)
    assert replies is not None and list(replies) == [NODE], (command, replies)
    return replies[NODE]


def ping():
    assert app.control.ping(timeout=10, limit=1) == [{NODE: {"ok": "pong"}}]
    assert app.control.ping(destination=[NODE], timeout=10) == [{NODE: {"ok": "pong"}}]
    assert inspect("ping") == {"ok": "pong"}
    # To somebody else, who does not answer.
    assert app.control.ping(destination=["other@nowhere"], timeout=0.2) == []
    for pattern, matcher, answers in [("a*", "glob", 1), ("z*", "glob", 0), ("ap.s", "pcre", 1), ("pps", "pcre", 0)]:
        timeout = 10 if answers else 0.2
        replies = app.control.broadcast("ping", reply=True, pattern=pattern, matcher=matcher, timeout=timeout, limit=1)
        assert len(replies) == answers, (pattern, replies)
    assert isinstance(inspect("clock")["clock"], int)
    # Nothing is left of a question.
    assert app.control.broadcast("no_such_command", reply=True, timeout=0.2) == []
    assert app.control.ping(destination=[NODE], timeout=10) == [{NODE: {"ok": "pong"}}]
    until("the replies are fetched, or expire", lambda: not leftovers())


def leftovers():
    """The lists that replies went to, without an expiry."""
    client = app.connection().default_channel.client
    return [key for key in client.keys("*reply.celery.pidbox") if client.type(key) == b"list" and client.pttl(key) < 0]


def tasks():
    slow = Slow().runs()
    (info,) = until("it is active", lambda: inspect("active"))
    assert info["id"] == slow.id and info["name"] == info["type"] == f"{FAMILY}.slow", info
    assert (info["args"], info["kwargs"], info["hostname"]) == (slow.args, {}, NODE), info
    assert abs(info["time_start"] - time.time()) < DEADLINE, info
    assert isinstance(info["worker_pid"], int) and info["worker_pid"] != os.getpid(), info
    os.kill(info["worker_pid"], 0)
    assert isinstance(info["acknowledged"], bool), info
    assert info["delivery_info"]["routing_key"] == "celery" and info["delivery_info"]["redelivered"] is False, info
    # As its sender counts it, on Redis.
    assert info["delivery_info"]["priority"] == 0, info
    assert sorted(info) == [
        "acknowledged", "args", "delivery_info", "hostname", "id", "kwargs", "name", "time_start", "type", "worker_pid",
    ]
    told = inspect("active", safe=True)[0]
    assert told["args"] == repr(slow.args), told
    assert inspect("query_task", [slow.id, "other"]) == {slow.id: ["active", info]}

    # The other slot, and one task more than there are slots.
    others = [Slow(), Slow()]
    until("one waits", lambda: len(inspect("reserved")) == 1)
    assert inspect("reserved")[0]["time_start"] is None
    later = app.send_task(f"{FAMILY}.add", (1, 2), countdown=3600)
    (scheduled,) = until("it is scheduled", lambda: inspect("scheduled"))
    assert scheduled["request"]["id"] == later.id and scheduled["priority"] == 6, scheduled

    assert f"{FAMILY}.slow" in [name.split(" ")[0] for name in inspect("registered")]
    (queue,) = inspect("active_queues")
    assert (queue["name"], queue["routing_key"], queue["exchange"]["type"]) == ("celery", "celery", "direct"), queue
    for each in [slow, *others]:
        (each if each is slow else each.runs()).may_go()
    until("nothing is active", lambda: inspect("active") == [])


def errors():
    replies = app.control.broadcast("query_task", reply=True, timeout=10, limit=1)
    assert replies == [{NODE: {"error": "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"}}], replies
    assert inspect("ping") == {"ok": "pong"}
    assert app.control.enable_events(reply=True, timeout=10, limit=1) == [{NODE: {"error": "event dispatcher unavailable"}}]
    assert app.control.heartbeat(reply=True, timeout=10, limit=1) == [{NODE: None}]


def shutdown():
    app.control.shutdown(destination=[NODE])


if __name__ == "__main__":
    globals()[SCENARIO]()
    sys.stdout.flush()
    os._exit(0)
