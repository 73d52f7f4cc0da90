"""One Celery application on a worker of any make: python hosted.py SCENARIO HOST PORT WORKER [ARGUMENT...].

WORKER and its arguments are what stands in front of "--app bench_tasks worker". Prints lines of figures, as bench.py does.
"""
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid

scenario, host, port, *program = sys.argv[1:]
os.environ["BENCH_URL"] = f"redis://{host}:{port}/0"

import bench_tasks
import redis

QUEUE = "celery"
server = redis.Redis(host=host, port=int(port))


def figure(name, unit, value):
    print(f"figure\t{name}\t{unit}\t{value}", flush=True)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_kib(pid):
    """Memory, with what several processes share divided among them."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


class Worker:
    """Two processes for tasks, and nothing but that: unless told to, it neither sends events nor looks at other workers."""

    def __init__(self, *more):
        options = ["--concurrency", "2", "--loglevel", "ERROR"]
        options += more or ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        command = [*program, "--app", "bench_tasks", "worker", *options]
        # Which warns of the rights of root.
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    @property
    def parent(self):
        return self.process.pid

    def processes(self):
        """All of them: the parent and whatever descends from it."""
        found, heads = [], [self.parent]
        while heads:
            head = heads.pop()
            found.append(head)
            children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(head)], capture_output=True, text=True)
            heads.extend(map(int, children.stdout.split()))
        return found


class Messages:
    """Copies of one message as Celery sends it, each with an id of its own."""

    def __init__(self, task):
        task.delay()
        self.pattern = server.rpop(QUEUE).decode()
        self.id = json.loads(self.pattern)["headers"]["id"]

    def send(self, count):
        for begin in range(0, count, 1000):
            copies = [self.pattern.replace(self.id, str(uuid.uuid4())) for _ in range(min(1000, count - begin))]
            server.lpush(QUEUE, *copies)


def wait_until(condition, pause=0.01):
    while not condition():
        time.sleep(pause)


def drain(task, name, count):
    """Rate, processor time and memory between the first fiftieth of the queue and the last."""
    Messages(task).send(count)
    with Worker() as worker:
        left = lambda: server.llen(QUEUE)
        wait_until(lambda: left() < count * 0.98)
        processes = worker.processes()
        usage = lambda: {pid: cpu_seconds(pid) for pid in processes}
        first, began, before = left(), time.monotonic(), usage()
        wait_until(lambda: left() < count * 0.02)
        done, seconds = first - left(), time.monotonic() - began
        spent = {pid: after - before[pid] for pid, after in usage().items()}
        memory = sum(map(proportional_kib, processes))
    total = sum(spent.values())
    figure(f"hosted, {name}", "tasks/s", done / seconds)
    figure(f"hosted, {name}: the parent's part of the processor time", "%", 100 * spent[worker.parent] / total)
    figure(f"hosted, {name}: processor time for one task", "µs", 1e6 * total / done)
    figure(f"hosted, {name}: memory of all processes", "MiB", memory / 1024)


def emptied(task, count, *options):
    """Tasks for each second between the first fiftieth of the queue and the last."""
    Messages(task).send(count)
    with Worker(*options):
        left = lambda: server.llen(QUEUE)
        wait_until(lambda: left() < count * 0.98)
        first, began = left(), time.monotonic()
        wait_until(lambda: left() < count * 0.02)
        return (first - left()) / (time.monotonic() - began)


def events(count, rounds=5):
    """What is left of the rate with events, which nobody hears or somebody never reads: medians of what each round shows."""
    shares = {"unheard": [], "unread": []}
    for turn in range(rounds):
        rates = {}
        # What comes first may fall on another moment of the machine than what comes last.
        for way in ["without", "unheard", "unread"][:: 1 if turn % 2 == 0 else -1]:
            deaf = socket.create_connection((host, int(port))) if way == "unread" else None
            if deaf:
                deaf.sendall(b"PSUBSCRIBE *celeryev*\r\n")
            rates[way] = emptied(bench_tasks.ignored, count, *([] if way == "without" else ["-E"]))
            if deaf:
                deaf.close()
        for way, known in shares.items():
            known.append(100 * rates[way] / rates["without"])
    figure("hosted, with events, of the rate without", "%", statistics.median(shares["unheard"]))
    figure("hosted, with events that somebody never reads, of the rate without", "%", statistics.median(shares["unread"]))


def million():
    """How much the parent has grown when it has run a million, from what it was after ten thousand."""
    messages = Messages(bench_tasks.ignored)
    with Worker() as worker:
        messages.send(10_000)
        wait_until(lambda: not server.llen(QUEUE))
        time.sleep(2)
        before = proportional_kib(worker.parent)
        for _ in range(99):
            wait_until(lambda: server.llen(QUEUE) < 10_000)
            messages.send(10_000)
        wait_until(lambda: not server.llen(QUEUE))
        time.sleep(2)
        after = proportional_kib(worker.parent)
    figure("hosted, a million tasks: memory of the parent after 10,000", "MiB", before / 1024)
    figure("hosted, a million tasks: memory of the parent after all", "MiB", after / 1024)


def too_late(*_):
    # As an error, so that the worker is ended.
    raise TimeoutError(f"{scenario} took more than fifteen minutes")


signal.signal(signal.SIGALRM, too_late)
signal.alarm(900)
is_stock = program[-1] == "celery"
scenarios = {
    "ignored": lambda: drain(bench_tasks.ignored, "results ignored", 4_000 if is_stock else 40_000),
    "results": lambda: drain(bench_tasks.nothing, "with results", 4_000 if is_stock else 30_000),
    "events": lambda: events(4_000 if is_stock else 40_000),
    "million": million,
}
scenarios[scenario]()
