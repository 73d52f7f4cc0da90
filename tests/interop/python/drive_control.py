"""Celery's own remote control, towards a worker of ours. Usage: drive_control.py NAME NODE FAMILY

FAMILY is `held` for the tasks of apps/held.py, `shared` for those of a program in Rust.
"""
import os
import random
import socket
import sqlite3
import subprocess
import sys
import time

from celery import Celery, chain, chord
from celery.exceptions import TaskRevokedError
from kombu import Exchange

DEADLINE = 60
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


def command_line():
    """As people ask."""
    assert f"{NODE}: OK" in celery("status", "-t", "10", "-d", NODE)
    assert "pong" in celery("inspect", "ping", "-t", "10", "-d", NODE)
    assert f"* {FAMILY}.slow" in celery("inspect", "registered", "-t", "10", "-d", NODE)
    assert "new rate limit set" in celery("control", "-t", "10", "-d", NODE, "rate_limit", f"{FAMILY}.slow", "1000/s")
    assert "events enabled" in celery("control", "-t", "10", "-d", NODE, "enable_events")
    assert "events disabled" in celery("control", "-t", "10", "-d", NODE, "disable_events")


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


# What a stock worker replies, as types: see `WorkController.stats` and `TaskPool._get_info` of Celery 5.7.0.
STATS = {
    "total": dict, "pid": int, "clock": str, "uptime": int, "pool": dict, "broker": dict, "prefetch_count": int, "rusage": dict,
}
POOL = {
    "implementation": str, "max-concurrency": int, "processes": list, "max-tasks-per-child": str,
    "put-guarded-by-semaphore": bool, "timeouts": list, "writes": dict,
}
RUSAGE = (
    "utime stime maxrss ixrss idrss isrss minflt majflt nswap inblock oublock msgsnd msgrcv nsignals nvcsw nivcsw"
).split()


def types(of):
    return {name: type(value) for name, value in of.items()}


def stats():
    assert total(add()) == 3
    told = inspect("stats")
    assert types(told) == STATS, told
    assert told["total"][f"{FAMILY}.add"] >= 1, told
    os.kill(told["pid"], 0)
    assert int(told["clock"]) > 0
    # Ours: what of it is in which pool.
    pools = told["pool"].pop("pools")
    assert told["pool"]["max-concurrency"] == sum(pools.values()) and told["prefetch_count"] == 4 * sum(pools.values()), told
    assert len(told["pool"]["processes"]) == pools.get("python", 0) + pools["prefork"], told
    assert types(told["pool"]) == POOL, told
    assert told["pool"]["timeouts"] == [0, 0] and told["pool"]["max-tasks-per-child"] == "N/A", told
    assert sorted(told["rusage"]) == sorted(RUSAGE) and told["rusage"]["maxrss"] > 0, told
    broker = app.connection_for_read().info()
    broker.pop("password")
    assert {name: told["broker"][name] for name in ("hostname", "port", "virtual_host", "transport")} == {
        name: broker[name] for name in ("hostname", "port", "virtual_host", "transport")
    }, told
    # Which kombu 5.7 has and those before it have not.
    assert set(told["broker"]) - {"credential_provider"} == set(broker) - {"credential_provider"}, told
    if FAMILY == "held":
        assert told["pool"]["implementation"] == "celery.concurrency.prefork:TaskPool", told
        assert pools["python"] == 2 == pools["prefork"], told
        assert sorted(told["pool"]["writes"]) == ["all", "avg", "inqueues", "raw", "strategy", "total"], told


def settings():
    conf = inspect("conf")
    assert all(isinstance(name, str) and not name.startswith("__") for name in conf), conf
    everything = inspect("conf", with_defaults=True)
    assert len(everything) > len(conf), everything
    assert everything["worker_prefetch_multiplier"] == 4 and everything["task_default_queue"] == "celery", everything
    assert isinstance(everything["broker_url"], str)
    assert inspect("report")["ok"].lstrip().startswith("software -> "), inspect("report")
    replies = app.control.broadcast("dump_conf", **ASK)
    assert told(replies) == conf


def registered():
    names = inspect("registered")
    assert all(isinstance(name, str) and not name.startswith("celery.") for name in names), names
    assert names == sorted(names), names
    assert f"{FAMILY}.slow" in names, names
    assert f"{FAMILY}.slow [name={FAMILY}.slow]" in inspect("registered", "name")
    assert told(app.control.broadcast("dump_tasks", **ASK)) == names
    builtins = told(app.control.broadcast("registered", arguments={"builtins": True}, **ASK))
    assert set(names) < set(builtins) or FAMILY != "held", builtins
    if FAMILY == "held":
        assert "held.add [rate_limit=1000/s]" in names, names
        assert "held.add [max_retries=3 acks_late=False]" in inspect("registered", "max_retries", "acks_late")


def revocations():
    app.control.revoke(["listed-1", "listed-2"], **ASK)
    app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": {"monitoring_id": "listed"}}, **ASK)
    ids = inspect("revoked")
    assert {"listed-1", "listed-2"} <= set(ids), ids
    assert all(isinstance(id, str) and "stamp" not in id for id in ids), ids
    assert told(app.control.broadcast("dump_revoked", **ASK)) == ids


def mingle():
    """A stock worker that starts learns of revocations, and ours of those that it brings."""
    app.control.revoke("early-1", **ASK)
    app.control.revoke("early-2", **ASK)
    reply = inspect("hello", "stranger@control", ["brought-1", "early-1"])
    assert sorted(reply) == ["clock", "revoked"] and isinstance(reply["clock"], int), reply
    assert sorted(reply["revoked"]) == ["brought-1", "early-1", "early-2"], reply
    # The oldest first: who knows too many forgets those.
    assert [id for id in reply["revoked"] if id.startswith("early")] == ["early-1", "early-2"], reply
    # So says Celery before 5.7.
    assert "brought-2" in inspect("hello", "stranger@control", {"brought-2": 7.0})["revoked"]
    assert {"brought-1", "brought-2"} <= set(inspect("revoked"))
    assert inspect("hello", NODE) is None
    options = ["-Q", "stock", "-n", "stock@control", "-c", "1", "-l", "error"]
    stock = subprocess.Popen([sys.executable, "-m", "celery", "-A", "tasks", "worker", *options], stdout=subprocess.DEVNULL)
    try:
        replies = until("the stock worker is there", lambda: app.control.inspect(["stock@control"], timeout=1).revoked())
        assert {"early-1", "early-2", "brought-1", "brought-2"} <= set(replies["stock@control"]), replies
    finally:
        stock.kill()
        stock.wait()
    # A reply is no larger than this, and the last are told.
    inspect("hello", "stranger@control", [f"many-{number}" for number in range(10_000)])
    app.control.revoke("last", **ASK)
    told_of = inspect("hello", "stranger@control")["revoked"]
    assert (len(told_of), told_of[-1]) == (10_000, "last"), (len(told_of), told_of[-1])
    assert "early-1" not in told_of


def limits():
    limit = app.control.rate_limit
    assert told(limit(f"{FAMILY}.add", "2/s", **ASK_NOW)) == {"ok": "new rate limit set successfully"}
    assert f"{FAMILY}.add [rate_limit=2/s]" in [line.replace("2.0/s", "2/s") for line in inspect("registered")]
    began = time.monotonic()
    for result in [add() for _ in range(4)]:
        assert total(result) == 3
    assert time.monotonic() - began > 1.2, time.monotonic() - began
    # What waits for its turn does not wait for the old one.
    assert told(limit(f"{FAMILY}.add", "1/h", **ASK_NOW))["ok"]
    waiting = [add() for _ in range(2)]
    assert total(waiting[0]) == 3
    assert told(limit(f"{FAMILY}.add", 0, **ASK_NOW)) == {"ok": "rate limit disabled successfully"}
    assert total(waiting[1]) == 3
    assert told(limit(f"{FAMILY}.add", "x/m", **ASK_NOW))["error"].startswith("Invalid rate limit string: ValueError(")
    assert told(limit("nobody", "2/s", **ASK_NOW)) == {"error": "unknown task"}

    assert told(app.control.time_limit(f"{FAMILY}.slow", hard=1.5, **ASK_NOW)) == {"ok": "time limits set successfully"}
    overdue = Slow().runs()
    assert raised(overdue.result) == "TimeLimitExceeded"
    # What a call says comes first.
    longer = Slow(time_limit=60).runs()
    time.sleep(2)
    assert longer.may_go()
    assert told(app.control.time_limit(f"{FAMILY}.slow", **ASK_NOW)) == {"ok": "time limits set successfully"}
    slow = Slow().runs()
    time.sleep(2)
    assert slow.may_go()
    assert told(app.control.time_limit("nobody", **ASK_NOW)) == {"error": "unknown task"}


def queues():
    names = lambda: sorted(queue["name"] for queue in inspect("active_queues"))  # noqa: E731
    assert names() == ["celery"]
    # Something waits there, and its worker waits for something to do.
    early = add(queue="extra")
    assert told(app.control.add_consumer("extra", **ASK_NOW)) == {"ok": "add consumer extra"}
    assert total(early) == 3
    assert names() == ["celery", "extra"]
    assert total(add(queue="extra")) == 3 == total(add())
    assert told(app.control.add_consumer("extra", **ASK_NOW)) == {"ok": "add consumer extra"}
    slow = Slow(queue="extra").runs()
    assert told(app.control.cancel_consumer("extra", **ASK_NOW)) == {"ok": "no longer consuming from extra"}
    assert names() == ["celery"]
    left = add(queue="extra")
    assert slow.may_go()
    assert [total(add()) for _ in range(5)] == [3] * 5
    assert left.state == "PENDING", left.state
    # Without any queue it is still there.
    assert told(app.control.cancel_consumer("celery", **ASK_NOW))["ok"] and names() == []
    waiting = add()
    assert told(app.control.add_consumer("celery", **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("extra", exchange_type="direct", **ASK_NOW))["ok"]
    assert total(waiting) == 3 == total(left)


def exchanges():
    """Queues that are bound elsewhere than by their name get what stock producers send there."""
    assert "add consumer videos" in celery("control", "-t", "10", "-d", NODE, "add_consumer", "videos", "media", "topic", "video.#")
    assert sent_to("media", "topic", "video.cats.mp4") == 3
    assert told(app.control.add_consumer("letters", exchange="post", routing_key="letter", **ASK_NOW))["ok"]
    assert sent_to("post", "direct", "letter") == 3
    assert bound() == {
        "celery": ("celery", "direct", "celery"), "letters": ("post", "direct", "letter"), "videos": ("media", "topic", "video.#"),
    }
    said = told(app.control.add_consumer("other", exchange="others", exchange_type="odd", **ASK_NOW))
    assert said["error"].startswith("ValueError('\"odd\" is no type of exchange"), said
    said = told(app.control.add_consumer("news", exchange="news", exchange_type="fanout", **ASK_NOW))
    if FILE:
        assert said["ok"] and sent_to("news", "fanout", "any") == 3
    else:
        assert said["error"].startswith("NotImplementedError('this broker brings fan-out messages only"), said
    forget_bindings()


def exchanges_are_kept():
    assert {name: bound()[name] for name in ("letters", "videos")} == {
        "letters": ("post", "direct", "letter"), "videos": ("media", "topic", "video.#"),
    }
    assert sent_to("media", "topic", "video.dogs") == 3
    assert sent_to("post", "direct", "letter") == 3
    # What is there is not changed by being added again.
    assert told(app.control.add_consumer("letters", exchange="elsewhere", **ASK_NOW))["ok"]
    assert bound()["letters"] == ("post", "direct", "letter")


def exchanges_of_settings():
    """Those of apps/bound.py, whose worker has declared them."""
    assert bound() == {
        "celery": ("celery", "direct", "celery"), "letters": ("celery", "direct", "celery"), "videos": ("media", "topic", "video.#"),
    }
    assert sent_to("media", "topic", "video.cats.mp4") == 3
    assert [sent_to("post", "direct", key) for key in ("letter", "card")] == [3, 3]
    # The settings name it, so it is bound as they say.
    assert told(app.control.add_consumer("images", exchange="elsewhere", exchange_type="direct", **ASK_NOW))["ok"]
    assert bound()["images"] == ("media", "topic", "image.*")
    assert sent_to("media", "topic", "image.cat") == 3


def sent_to(exchange, kind, routing_key):
    """What comes of a call that is sent to this exchange. Nothing is bound to it here."""
    with app.connection() as connection:
        Exchange(exchange, type=kind)(connection.default_channel).declare()
        return total(add(exchange=exchange, routing_key=routing_key, connection=connection))


def bound():
    """Exchange, its type and routing key of each queue that is consumed."""
    queues = inspect("active_queues")
    return {queue["name"]: (queue["exchange"]["name"], queue["exchange"]["type"], queue["routing_key"]) for queue in queues}


def forget_bindings():
    if FILE:
        connection = sqlite3.connect(FILE, timeout=DEADLINE)
        with connection:
            connection.execute("DELETE FROM binding")
        return connection.close()
    client = app.connection().default_channel.client
    for exchange in ("media", "post"):
        assert client.delete(f"_kombu.binding.{exchange}", f"_kombu.binding_permanent.{exchange}") == 2


def tell(command, **arguments):
    return told(app.control.broadcast(command, arguments=arguments, **ASK))


def names_of_queues():
    return sorted(queue["name"] for queue in inspect("active_queues"))


def change():
    """Everything that outlives the worker."""
    assert told(app.control.rate_limit(f"{FAMILY}.add", "2/s", **ASK))["ok"]
    assert told(app.control.time_limit(f"{FAMILY}.slow", hard=1.5, **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("extra", **ASK_NOW))["ok"]
    assert tell("pause", queue="celery") == {"ok": "paused celery"}
    assert tell("pause", queue="celery") == {"ok": "paused celery"}
    assert names_of_queues() == ["extra"]
    # A pause outlasts what is said of the queue meanwhile.
    assert told(app.control.cancel_consumer("celery", **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("celery", **ASK_NOW))["ok"]
    assert names_of_queues() == ["extra"]
    kept = tell("changes")
    assert [change["name"] for change in kept] == [
        "consumer celery", "consumer extra", "pause celery", f"rate_limit {FAMILY}.add", f"time_limit {FAMILY}.slow"
    ], kept
    assert kept[2]["method"] == "pause" and kept[2]["arguments"] == {"queue": "celery"}, kept
    assert abs(kept[2]["at"] - time.time()) < 600, kept


def still_changed():
    """A worker that has started since."""
    waiting = add()
    assert names_of_queues() == ["extra"]
    began = time.monotonic()
    for result in [add(queue="extra") for _ in range(4)]:
        assert total(result) == 3
    assert time.monotonic() - began > 1.2, time.monotonic() - began
    overdue = Slow(queue="extra").runs()
    assert raised(overdue.result) == "TimeLimitExceeded"
    assert waiting.state == "PENDING", waiting.state
    assert tell("resume", queue="celery") == {"ok": "resumed celery"}
    assert total(waiting) == 3
    assert tell("forget_changes", name="consumer extra") == {"ok": ["consumer extra"]}
    assert names_of_queues() == ["celery", "extra"]


def partly_changed():
    """One that has started after that."""
    assert names_of_queues() == ["celery"]
    assert f"{FAMILY}.add [rate_limit=2/s]" in [line.replace("2.0/s", "2/s") for line in inspect("registered")]
    assert len(tell("forget_changes")["ok"]) == 4
    assert tell("changes") == []
    assert told(app.control.rate_limit(f"{FAMILY}.add", 0, **ASK_NOW))["ok"]
    assert tell("forget_changes") == {"ok": [f"rate_limit {FAMILY}.add"]}


def sizes():
    def pools():
        sizes = inspect("stats")["pool"]["pools"]
        return {size for kind, size in sizes.items() if kind in ("python", "prefork", "threads")}

    processes = lambda: inspect("stats")["pool"]["processes"]  # noqa: E731
    # Those of the application, and those of tasks in Rust.
    kinds = 2 if FAMILY == "held" else 1
    before = until("all are there", lambda: len(processes()) == 2 * kinds and processes())
    assert told(app.control.pool_grow(1, **ASK_NOW)) == {"ok": "pool will grow"}
    until("there are three", lambda: len(processes()) == 3 * kinds)
    assert set(before) < set(processes())
    slows = [Slow().runs() for _ in range(3)]
    assert pools() == {3}
    assert told(app.control.pool_shrink(2, **ASK_NOW)) == {"ok": "pool will shrink"}
    assert pools() == {1}
    for slow in slows:
        assert slow.may_go()
    until("one is left", lambda: len(processes()) == kinds)
    assert [total(add()) for _ in range(10)] == [3] * 10
    assert "at least" in told(app.control.pool_shrink(1, **ASK_NOW))["error"]
    assert told(app.control.pool_restart(**ASK_NOW)) == {"error": "ValueError('Pool restarts not enabled')"}


def memory():
    assert inspect("memsample").endswith(("KB", "MB", "GB"))
    dump = inspect("memdump")
    assert dump.startswith("- rss (sample):") and "- rss (end): " in dump, dump
    assert "objgraph" in inspect("objgraph")["error"] if FAMILY == "held" else "objects" in inspect("objgraph")["error"]


def commands():
    """Those of the application."""
    assert told(app.control.broadcast("doubled", arguments={"factor": 21}, **ASK)) == {"ok": f"{NODE} 42 of held"}
    assert told(app.control.broadcast("doubled", **ASK)) == {"ok": f"{NODE} 4 of held"}
    assert told(app.control.broadcast("raises", **ASK)) == {"error": "ValueError('as it does')"}
    for path, missing in [
        ("pool.num_processes", "state.consumer.pool.num_processes: it belongs to the parent"),
        ("qos.value", "state.consumer.qos: it belongs to the parent"), ("no_such_thing", "state.consumer.no_such_thing: "),
        ("event_dispatcher.send('e')", "state.consumer.event_dispatcher.send: "),
        ("controller.stats()", "state.consumer.controller.stats: "), ("controller.pool.grow(1)", "state.consumer.controller.pool.grow: "),
        ("task_consumer.channel", "state.consumer.task_consumer.channel: "),
        ("add_task_queue('q', durable=False)", "no option durable"),
    ]:
        said = told(app.control.broadcast("uses", arguments={"path": path}, **ASK))["error"]
        assert missing in said and "NoneType" not in said, said
    told_of = told(app.control.broadcast("surroundings", **ASK))
    assert told_of == {
        "app": "held", "nodes": [NODE, NODE], "transport": "sqlite" if FILE else "redis", "concurrency": 2, "is_same": True,
        "optional": [False] * 3,
    }, told_of
    said = told(app.control.broadcast("doubled", arguments={"other": 1}, **ASK))
    assert said["error"].startswith("TypeError("), said
    assert inspect("ping") == {"ok": "pong"}


def command_about_queues():
    assert tell("joins", queue="tea") == {"ok": ["celery"]}
    assert bound() == {"tea": ("rooms", "direct", "to-tea")}
    assert sent_to("rooms", "direct", "to-tea") == 3
    said = tell("joins", queue="tea")
    assert said == {"error": f"ValueError('{NODE} is there already')"}, said
    # What it does before it fails is not done.
    assert "error" in told(app.control.broadcast("uses", arguments={"path": "add_task_queue('q') or 1 / 0"}, **ASK))
    assert list(bound()) == ["tea"]
    assert "ValueError" in told(app.control.broadcast("uses", arguments={"path": "add_task_queue('q', exchange_type='odd')"}, **ASK))["error"]


def command_about_queues_is_kept():
    assert bound() == {"tea": ("rooms", "direct", "to-tea")}


def own_commands():
    """Those of a program in Rust."""
    greet = lambda **arguments: told(app.control.broadcast("greet", arguments=arguments, **ASK))  # noqa: E731
    assert greet(name="you") == ["you", NODE]
    assert greet() == {"error": "argument name is missing"}
    said = greet(name=1)
    assert said["error"].startswith("argument name: "), said
    assert told(app.control.broadcast("panics", **ASK)) == {"error": "the command panicked: the log of the worker says where"}
    # One that blocks holds up no other command, and no task.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE)
    app.control.broadcast("blocks", arguments={"address": "127.0.0.1:%d" % listener.getsockname()[1]})
    connection, _ = listener.accept()
    assert inspect("ping") == {"ok": "pong"}
    assert total(add()) == 3
    # Its like wait for it, up to a number.
    for _ in range(15):
        app.control.broadcast("greet", arguments={"name": "later"})
    assert greet(name="more") == {"error": "RuntimeError('16 other commands are being answered')"}
    connection.close()
    until("it has gone on", lambda: greet(name="again") == ["again", NODE])


def command_that_ends():
    app.control.broadcast("told_to_end")


def errors():
    replies = app.control.broadcast("query_task", reply=True, timeout=10, limit=1)
    assert replies == [{NODE: {"error": "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"}}], replies
    assert inspect("ping") == {"ok": "pong"}
    assert app.control.enable_events(reply=True, timeout=10, limit=1) == [{NODE: {"ok": "task events enabled"}}]
    assert app.control.heartbeat(reply=True, timeout=10, limit=1) == [{NODE: None}]
    assert app.control.autoscale(3, 1, reply=True, timeout=10, limit=1) == [{NODE: {"error": "ValueError('Autoscale not enabled')"}}]


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


def revoke():
    slots = [Slow().runs(), Slow().runs()]
    waiting, many = Slow().result, [Slow().result for _ in range(3)]
    waiting.revoke()
    # At once: no slot is free.
    assert reason(waiting) == "revoked"
    assert told(app.control.revoke(many[0].id, **ASK)) == {"ok": "tasks {'%s'} flagged as revoked" % many[0].id}
    app.control.revoke([result.id for result in many], **ASK)
    assert [reason(result) for result in many] == ["revoked"] * 3
    # What runs is left alone.
    slots[0].result.revoke()
    assert told(app.control.revoke(slots[0].id, **ASK))["ok"].startswith("tasks {")
    assert slots[0].result.state != "REVOKED", slots[0].result.state
    for slot in slots:
        assert slot.may_go()
        assert slot.result.state == "SUCCESS"
    # What is sent later does not run either, and a countdown ends at once.
    later = add(countdown=3600)
    until("it is scheduled", lambda: inspect("scheduled"))
    later.revoke()
    assert reason(later) == "revoked"
    app.control.revoke("not-yet-sent", **ASK)
    assert reason(app.AsyncResult("not-yet-sent")) == "revoked"
    add(task_id="not-yet-sent")
    until("its message is discarded", lambda: app.connection().default_channel._size("celery") == 0)
    assert total(add()) == 3
    assert reason(app.AsyncResult("not-yet-sent")) == "revoked"
    missing = "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"
    assert told(app.control.broadcast("revoke", **ASK)) == {"error": missing}


def sent_again():
    """To a worker that has started since `revoke`."""
    add(task_id="not-yet-sent")
    stamped = add_stamped("stamp-1")
    assert total(add()) == 3
    assert reason(app.AsyncResult("not-yet-sent")) == reason(stamped) == "revoked"


def terminate():
    one, other = Slow().runs(), Slow().runs()
    one.result.revoke(terminate=True)
    assert reason(one.result) == "terminated"
    said = told(app.control.terminate(other.id, signal="SIGKILL", **ASK))
    assert said == {"ok": f"terminate: {other.id}"}, said
    assert reason(other.result) == "terminated"
    assert told(app.control.revoke("nobody", terminate=True, **ASK)) == {"ok": "terminate: tasks unknown"}
    assert "no such signal" in told(app.control.revoke("nobody", terminate=True, signal="term", **ASK))["error"]
    two = [Slow().runs(), Slow().runs()]
    app.control.terminate([slow.id for slow in two], signal="QUIT")
    assert [reason(slow.result) for slow in two] == ["terminated"] * 2
    # Their processes have been replaced, and nothing else has been hurt.
    assert [total(add()) for _ in range(20)] == [3] * 20


def signals():
    """What a task makes of a signal that its process may survive is up to the task."""
    limited = Slow().runs()
    app.control.revoke(limited.id, terminate=True, signal="SIGUSR1", **ASK)
    assert raised(limited.result) == "SoftTimeLimitExceeded"
    catches = Slow("SIGINT", name="catches").runs()
    app.control.terminate(catches.id, signal="INT")
    assert catches.result.get(timeout=DEADLINE) == "told 2"
    # SIGINT means nothing to a child, as in a stock pool; it can be ended all the same.
    stubborn = Slow().runs()
    app.control.terminate(stubborn.id, signal="INT", **ASK)
    app.control.terminate(stubborn.id, signal="TERM", **ASK)
    assert reason(stubborn.result) == "terminated"
    assert [total(add()) for _ in range(4)] == [3] * 4


def add_stamped(stamp):
    call = app.signature(f"{FAMILY}.add", args=(1, 2))
    call.stamp(monitoring_id=stamp)
    return call.apply_async()


def slow_stamped(stamp):
    """A stamped task that runs until it may go, once it has a slot."""
    slow = Slow.__new__(Slow)
    slow.listener = socket.create_server(("127.0.0.1", 0))
    slow.listener.settimeout(DEADLINE)
    call = app.signature(f"{FAMILY}.slow", args=("127.0.0.1:%d" % slow.listener.getsockname()[1],))
    call.stamp(monitoring_id=stamp)
    slow.result = call.apply_async()
    slow.id = slow.result.id
    return slow


def stamps():
    one, other = slow_stamped("stamp-1").runs(), slow_stamped("stamp-2").runs()
    waiting, spared = slow_stamped("stamp-1").result, add_stamped("stamp-3")
    headers = {"monitoring_id": ["stamp-1", "stamp-4"]}
    said = told(app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": headers}, **ASK))
    assert said == {"ok": f"headers {headers} flagged as revoked, but not terminated"}, said
    # It does not wait for a slot.
    assert reason(waiting) == "revoked"
    assert one.may_go()
    assert total(spared) == 3
    said = app.control.revoke_by_stamped_headers({"monitoring_id": ["stamp-2"]}, terminate=True, **ASK)
    assert told(said) == {"ok": "headers {'monitoring_id': {'stamp-2'}} revoked"}, said
    assert reason(other.result) == "terminated"
    said = told(app.control.revoke_by_stamped_headers({"monitoring_id": "nobody"}, terminate=True, **ASK))
    assert said == {"ok": "headers {'monitoring_id': 'nobody'} were not terminated"}, said
    assert reason(add_stamped("stamp-4")) == "revoked"
    assert total(add_stamped("stamp-5")) == 3


def workflows():
    """Whoever waits for a revoked task hears of it, whether it ran or not."""
    family = lambda name, *args, **options: app.signature(f"{FAMILY}.{name}", args=args, **options)  # noqa: E731
    for number, runs in enumerate((True, False)):
        slots = [] if runs else [Slow().runs(), Slow().runs()]
        victim, errback = f"victim-{number}", f"errback-{number}"
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        member = family("slow", address, immutable=True).set(task_id=victim)
        member.link_error(family("add", 20, 22, immutable=True).set(task_id=errback))
        body = chord([family("add", 1, 1), member], app=app)(family("add", 1, 2, immutable=True))
        if runs:
            connection, _ = listener.accept()
        app.control.revoke(victim, terminate=True, **ASK)
        assert reason(app.AsyncResult(victim)) == ("terminated" if runs else "revoked")
        for slot in slots:
            slot.may_go()
        # Without its parents, whose errors Celery raises first.
        assert raised(app.AsyncResult(body.id)) == "ChordError"
        assert total(app.AsyncResult(errback)) == 42
        steps = chain(family("slow", address, immutable=True).set(task_id=f"{victim}-step"), family("add", 1, 2, immutable=True), app=app)
        last = steps.apply_async()
        connection, _ = listener.accept()
        app.control.terminate(f"{victim}-step", **ASK)
        assert reason(app.AsyncResult(f"{victim}-step")) == "terminated"
        assert total(add()) == 3
        assert last.state != "SUCCESS", last.state


# How many cancels are under way before their results are awaited.
WINDOW = 20


def races():
    """Cancels raced against tasks of a millisecond: those that were not cancelled all succeed.

    CANCELS sets how many, SEED the times. There are more where all of them came too early, or too late.
    """
    wanted, dice = int(os.environ.get("CANCELS", "300")), random.Random(int(os.environ.get("SEED", "7")))
    cancels = hits = late = early = 0
    while cancels < wanted or not (hits and late):
        assert cancels < 20 * wanted, (hits, early, late)
        cancels += WINDOW
        pairs = []
        for _ in range(WINDOW):
            victim, innocent = nap(), nap()
            pairs.append((victim, innocent))
            time.sleep(dice.random() * 0.003)
            app.control.revoke(victim.id, terminate=True, signal=dice.choice(["TERM", "KILL", "QUIT"]))
        for victim, innocent in pairs:
            assert innocent.get(timeout=DEADLINE) == "napped", innocent.id
            try:
                assert victim.get(timeout=DEADLINE) == "napped"
                late += 1
            except TaskRevokedError as error:
                hits, early = hits + (str(error) == "terminated"), early + (str(error) == "revoked")
    print(f"{cancels} cancels: {hits} hit a task that ran, {early} came before it, {late} after it", file=sys.stderr)
    assert hits + early + late == cancels
    assert total(add()) == 3


def nap():
    return app.send_task("held.nap")


def shutdown():
    app.control.shutdown(destination=[NODE])


if __name__ == "__main__":
    globals()[SCENARIO]()
    sys.stdout.flush()
    os._exit(0)
