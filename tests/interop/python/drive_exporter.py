"""celery-prometheus-exporter, a stock program, makes metrics of what a worker of ours tells. Usage: drive_exporter.py NODE"""
import os
import socket
import subprocess
import sys
import time
import urllib.request

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
sys.path.insert(0, APPS)
import watched  # noqa: E402

DEADLINE = 60

with socket.create_server(("127.0.0.1", 0)) as listener:
    address = "127.0.0.1:%d" % listener.getsockname()[1]
program = "from celery_prometheus_exporter import main; main()"
command = [sys.executable, "-c", program, "--broker", os.environ["CELERY_BROKER_URL"], "--addr", address, "--enable-events"]
exporter = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def page():
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE) as answer:
            return answer.read().decode()
    except OSError:
        # It does not listen yet.
        return ""


def until(*lines):
    deadline = time.monotonic() + DEADLINE
    while True:
        told = page().splitlines()
        if all(line in told for line in lines):
            return
        assert exporter.poll() is None, f"it has ended: {exporter.returncode}"
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {lines}\n" + "\n".join(told)
        time.sleep(0.1)


try:
    # It has seen the worker, and has asked it for events.
    until("celery_workers 1.0")
    assert watched.returns.delay("x").get(timeout=DEADLINE) == "x"
    watched.fails.delay()
    until(
        'celery_tasks_by_name{name="watched.returns",state="SUCCESS"} 1.0',
        'celery_tasks_by_name{name="watched.fails",state="FAILURE"} 1.0',
        'celery_tasks_runtime_seconds_count{name="watched.returns"} 1.0',
    )
finally:
    exporter.kill()
    exporter.wait()
