"""Celery's own programs ask a worker of ours and a stock one, side by side. Usage: drive_shapes.py SCENARIO NODE

Both run the tasks of apps/held.py: ours from the queue `celery`, the stock one from `stock`.
"""
import json
import os
import socket
import subprocess
import sys

from celery.worker.control import Panel

from waiting import DEADLINE, until

# What every worker knows, before an application adds its own.
COMMANDS = {kind: {name for name, info in Panel.meta.items() if info.type == kind and info.visible} for kind in ("inspect", "control")}

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
sys.path.insert(0, APPS)
import held  # noqa: E402

SCENARIO, NODE = sys.argv[1:3]
STOCK = "stock@shapes"
ENV = {**os.environ, "PYTHONPATH": APPS}
CELERY = [sys.executable, "-m", "celery", "-A", "held"]


def celery(*arguments):
    """Runs `celery`; its exit code and what it said."""
    ended = subprocess.run([*CELERY, *arguments], env=ENV, stdout=subprocess.PIPE, text=True, timeout=DEADLINE)
    return ended.returncode, ended.stdout


def ask(kind, command, *arguments):
    """What our worker and the stock one reply, to one and the same question."""
    code, said = celery(kind, command, *arguments, "--json", "--timeout", "10", "--destination", f"{NODE},{STOCK}")
    assert code == 0, (command, code, said)
    replies = json.loads(said.strip().splitlines()[0])
    if kind == "control":
        replies = {node: reply for each in replies for node, reply in each.items()}
    assert sorted(replies) == sorted([NODE, STOCK]), (command, replies)
    return replies[NODE], replies[STOCK]


# Maps whose keys depend on what there is: their values have one shape.
OPEN = {"total", "conf", "query_task", "inqueues", "kwargs"}


def shape(value, name=""):
    """The keys and types of a reply."""
    if isinstance(value, dict):
        if name in OPEN:
            return {"each": shapes(value.values()) if name != "conf" else "any"}
        return {key: shape(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return shapes(value)
    # A number that happens to be whole is as good as any.
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


def shapes(values):
    found = []
    for value in values:
        if (it := shape(value)) not in found:
            found.append(it)
    return found


def kind_of(error):
    """The class of the exception that a reply names."""
    return error["error"].split("(")[0] if set(error) == {"error"} and "(" in error["error"] else None


def start_stock():
    worker = subprocess.Popen(
        [*CELERY, "worker", "-Q", "stock", "-n", STOCK, "-c", "2", "-l", "error", "-E"], env=ENV, stdout=subprocess.DEVNULL
    )
    until("the stock worker is there", lambda: held.app.control.ping([STOCK], timeout=0.5))
    return worker


class Busy:
    """Both workers run two tasks, have one more, and one for later."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(DEADLINE)
        address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.ids, self.connections = [], []
        for queue in ("celery", "stock"):
            ids = [held.slow.apply_async([address], queue=queue).id for _ in range(3)]
            held.app.send_task("held.add", (1, 2), queue=queue, countdown=3600)
            self.ids.append(ids[0])
        self.connections = [self.listener.accept()[0] for _ in range(4)]
        for command in ("reserved", "scheduled"):
            until(f"both have {command} tasks", lambda: all(ask("inspect", command)))


# How each command is called; those that have no arguments that change anything are left out.
ARGUMENTS = {
    "add_consumer": ["more"], "autoscale": ["3", "1"], "cancel_consumer": ["more"], "memdump": ["5"], "pool_grow": ["1"],
    "pool_shrink": ["1"], "rate_limit": ["held.add", "5/s"], "registered": ["name", "max_retries"], "revoke": ["nobody"],
    "revoke_by_stamped_headers": ["tenant=red"], "terminate": ["KILL", "nobody"], "time_limit": ["held.add", "5", "10"],
}
# What is asked of both, in this order.
ASKED = {
    "inspect": [
        "active", "active_queues", "clock", "conf", "memsample", "memdump", "objgraph", "ping", "query_task", "registered", "report",
        "reserved", "revoked", "scheduled", "stats",
    ],
    "control": [
        "add_consumer", "autoscale", "cancel_consumer", "disable_events", "enable_events", "election", "heartbeat", "pool_grow",
        "pool_shrink", "pool_restart", "rate_limit", "revoke", "revoke_by_stamped_headers", "terminate", "time_limit",
    ],
}


def as_known(command, ours, theirs):
    """The reply of the stock worker, without what is known to differ; each is asserted."""
    if command == "memsample" and theirs is None:
        # A stock worker needs a package for it.
        return "1.0MB"
    if command == "stats":
        # It says how often AMQP would beat, also on Redis.
        assert ours["broker"]["heartbeat"] is None and theirs["broker"]["heartbeat"] is not None, (ours, theirs)
        # Ours has pools of tasks in Rust beside that of the application.
        pools = ours["pool"]["pools"]
        assert pools["python"] + pools["prefork"] + pools["async"] == ours["pool"]["max-concurrency"], ours
        pool = {**theirs["pool"], "pools": pools}
        return {**theirs, "broker": {**theirs["broker"], "heartbeat": None}, "pool": pool}
    if command == "pool_shrink":
        # A busy child ends its task first, where a stock worker refuses.
        assert ours == {"ok": "pool will shrink"} and "All processes busy" in theirs["error"], (ours, theirs)
        return ours
    return theirs


def commands():
    """Every command of `celery inspect` and `celery control` is answered in the shape that a stock worker gives it."""
    for kind, asked in ASKED.items():
        # That one does not reply; `drive_control.py` has it.
        known = COMMANDS[kind] - {"shutdown"}
        assert set(asked) == known, (kind, known ^ set(asked))
    stock = start_stock()
    try:
        busy = Busy()
        held.app.control.revoke("listed")
        differences = []
        for kind, asked in ASKED.items():
            for command in asked:
                arguments = busy.ids if command == "query_task" else ARGUMENTS.get(command, [])
                ours, theirs = ask(kind, command, *arguments)
                theirs = as_known(command, ours, theirs)
                of_ours, of_theirs = shape(ours, command), shape(theirs, command)
                if of_ours != of_theirs or isinstance(ours, dict) and kind_of(ours) != kind_of(theirs):
                    differences.append(f"{command}: {of_ours}\n  and of Celery: {of_theirs}\n  {ours}\n  {theirs}"[:3000])
        assert not differences, "\n".join(differences)
        del busy
    finally:
        stock.kill()
        stock.wait()


def programs():
    """`celery status` and `celery events --dump`."""
    code, said = celery("status", "--timeout", "10", "--destination", NODE)
    assert code == 0 and f"{NODE}: OK" in said and "1 node online." in said, (code, said)
    dump = subprocess.Popen([*CELERY, "events", "--dump"], env=ENV, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(dump.stdout.readline, "")
        assert any(f"{NODE} [" in line and "heartbeat" in line for line in lines)
        call = held.app.send_task("held.add", (1, 2))
        said = []
        for line in lines:
            said.append(line)
            if "task succeeded" in line and call.id in line:
                break
        said = "".join(said)
        assert all(f"task {what}: held.add({call.id})" in said for what in ("received", "started", "succeeded")), said
    finally:
        dump.kill()
        dump.wait()


if __name__ == "__main__":
    globals()[SCENARIO]()
    sys.stdout.flush()
    os._exit(0)
