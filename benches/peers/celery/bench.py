"""One scenario on Celery: python bench.py SCENARIO HOST PORT. Prints "figure<TAB>name<TAB>unit<TAB>value" lines."""
import os
import signal
import subprocess
import sys
import tempfile
import time

scenario, host, port = sys.argv[1:4]
os.environ["BENCH_URL"] = f"redis://{host}:{port}/0"
folder = tempfile.TemporaryDirectory()
os.environ["BENCH_DELAYS"] = os.path.join(folder.name, "delays")

import bench_tasks
import redis
from celery import group

server = redis.Redis(host=host, port=int(port))


def figure(name, unit, value):
    print(f"figure\t{name}\t{unit}\t{value}", flush=True)


class Worker:
    def __init__(self, *options):
        command = [sys.executable, "-m", "celery", "--app", "bench_tasks", "worker", "--loglevel", "ERROR", *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def fill(count, task):
    for _ in range(count // 1000):
        group(task.s() for _ in range(1000)).apply_async(add_to_parent=False)


def results():
    return sum(1 for _ in server.scan_iter("celery-task-meta-*", count=10_000))


def drain(count, *options):
    """The rate between the first hundredth of the results and the last: the start of Python is not in it."""
    with Worker(*options):
        while (done := results()) < count // 100:
            time.sleep(0.01)
        began, first = time.monotonic(), done
        while (done := results()) < count:
            time.sleep(0.05)
        return (done - first) / (time.monotonic() - began)


def send_single():
    bench_tasks.nothing.delay()
    began = time.monotonic()
    for _ in range(2000):
        bench_tasks.nothing.delay()
    figure("send one by one", "tasks/s", 2000 / (time.monotonic() - began))


def send_bulk():
    bench_tasks.nothing.delay()
    began = time.monotonic()
    fill(5000, bench_tasks.nothing)
    figure("send in bulk", "tasks/s", 5000 / (time.monotonic() - began))


def drain_nothing():
    fill(5000, bench_tasks.nothing)
    figure("drain of no-op tasks with results", "tasks/s", drain(5000, "--concurrency", "2"))


def ten_ms():
    fill(5000, bench_tasks.ten_milliseconds)
    rate = drain(5000, "--pool", "threads", "--concurrency", "100")
    figure("10 ms tasks at concurrency 100", "tasks/s", rate)


def latency():
    with Worker("--concurrency", "2"):
        bench_tasks.nothing.delay().get(timeout=60)
        for _ in range(1000):
            time.sleep(0.01)
            bench_tasks.ping.delay(time.time())
        while server.llen("celery"):
            time.sleep(0.01)
        time.sleep(1)
    with open(os.environ["BENCH_DELAYS"]) as file:
        delays = sorted(float(line) for line in file)
    figure("start latency at 100 tasks/s, median", "ms", delays[len(delays) // 2])
    figure("start latency at 100 tasks/s, 99%", "ms", delays[int(len(delays) * 0.99)])


def idle():
    with Worker("--concurrency", "2") as worker:
        bench_tasks.nothing.delay().get(timeout=60)
        time.sleep(3)
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(worker.process.pid)], capture_output=True, text=True)
        total = 0
        for pid in [worker.process.pid, *map(int, children.stdout.split())]:
            with open(f"/proc/{pid}/status") as status:
                total += next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    figure("idle worker, resident memory", "MiB", total / 1024)


def too_late(*_):
    # As an error, so that the worker is ended.
    raise TimeoutError(f"{scenario} took more than ten minutes")


signal.signal(signal.SIGALRM, too_late)
signal.alarm(600)
scenarios = {
    "send-single": send_single, "send-bulk": send_bulk, "drain": drain_nothing,
    "ten-ms": ten_ms, "latency": latency, "idle": idle,
}
scenarios[scenario]()
