"""Flower, a stock program, watches and steers a worker of ours through its HTTP interface. Usage: drive_flower.py NODE"""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
sys.path.insert(0, APPS)
import watched  # noqa: E402

DEADLINE = 60
NODE = sys.argv[1]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Flower:
    def __init__(self):
        self.port = free_port()
        command = [sys.executable, "-m", "celery", "-A", "watched", "flower", "--address=127.0.0.1", f"--port={self.port}"]
        path = os.pathsep.join(filter(None, [APPS, os.environ.get("PYTHONPATH")]))
        env = {**os.environ, "PYTHONPATH": path, "FLOWER_UNAUTHENTICATED_API": "true"}
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, path, body=None, **arguments):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, data=body, timeout=DEADLINE) as answer:
            return json.loads(answer.read())

    def tell(self, path, **arguments):
        return self.ask(path, b"", **arguments)["message"]


def until(what, holds):
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            found = holds()
        except OSError:
            # It does not listen yet.
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.1)


def children():
    return len(watched.app.control.inspect([NODE], timeout=10).stats()[NODE]["pool"]["processes"])


with Flower() as flower:
    until("Flower sees the worker", lambda: NODE in flower.ask("/api/workers", refresh=1))
    told = flower.ask("/api/workers", refresh=1, workername=NODE)[NODE]
    assert told["active_queues"][0]["name"] == "celery" and "watched.returns" in told["registered"], told
    pool = told["stats"]["pool"]
    assert pool["pools"]["python"] == 2 and pool["max-concurrency"] == sum(pool["pools"].values()), told

    result = watched.returns.delay("x")
    assert result.get(timeout=DEADLINE) == "x"
    task = until("Flower sees its end", lambda: (it := flower.ask("/api/tasks").get(result.id, {})).get("state") == "SUCCESS" and it)
    assert (task["name"], task["result"], task["args"], task["worker"]) == ("watched.returns", "'x'", "('x',)", NODE), task

    assert flower.tell("/api/task/rate-limit/watched.returns", workername=NODE, ratelimit="200/m") == "new rate limit set successfully"
    assert flower.tell("/api/task/timeout/watched.returns", workername=NODE, soft=5, hard=10) == "time limits set successfully"
    # Those of the application, and those of tasks in Rust.
    kinds = len({"python", "prefork"} & set(pool["pools"]))
    before = until("all are there", lambda: (count := children()) == 2 * kinds and count)
    flower.tell(f"/api/worker/pool/grow/{NODE}", n=1)
    until("there is one child more in each pool", lambda: children() == before + kinds)
    flower.tell(f"/api/worker/pool/shrink/{NODE}", n=1)
    until("there is one child less", lambda: children() == before)
    assert flower.tell(f"/api/worker/queue/add-consumer/{NODE}", queue="extra") == "add consumer extra"
    extra = watched.returns.apply_async(["from there"], queue="extra")
    assert extra.get(timeout=DEADLINE) == "from there"
    assert flower.tell(f"/api/worker/queue/cancel-consumer/{NODE}", queue="extra") == "no longer consuming from extra"

    # What the worker has and has not started yet: the tasks before it take until they go beyond their limit.
    long = [watched.takes_too_long.delay() for _ in range(6)]
    victim = watched.returns.delay("never")
    until("Flower sees it", lambda: victim.id in flower.ask("/api/tasks"))
    flower.tell(f"/api/task/revoke/{victim.id}")
    until("it is revoked", lambda: victim.state == "REVOKED")
    assert until("Flower sees that", lambda: flower.ask("/api/tasks").get(victim.id, {}).get("state") == "REVOKED")
    assert flower.tell(f"/api/worker/shutdown/{NODE}") == "Shutting down!"
    del long
