"""What a worker tells of itself."""
import os
import time

from steering.common import ASK, ASK_NOW, FAMILY, NODE, Slow, add, app, celery, inspect, leftovers, told, total
from waiting import DEADLINE, until


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


def errors():
    replies = app.control.broadcast("query_task", reply=True, timeout=10, limit=1)
    assert replies == [{NODE: {"error": "TypeError(\"query_task() missing 1 required positional argument: 'ids'\")"}}], replies
    assert inspect("ping") == {"ok": "pong"}
    assert app.control.enable_events(reply=True, timeout=10, limit=1) == [{NODE: {"ok": "task events enabled"}}]
    assert app.control.heartbeat(reply=True, timeout=10, limit=1) == [{NODE: None}]
    assert app.control.autoscale(3, 1, reply=True, timeout=10, limit=1) == [{NODE: {"error": "ValueError('Autoscale not enabled')"}}]
