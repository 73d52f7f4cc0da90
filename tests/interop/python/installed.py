"""The installed package: the binary, and an application on the embedded store that imports nothing of ours. Usage: installed.py"""
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version

BINARY = os.path.join(os.path.dirname(sys.executable), "celeriac")

APPLICATION = """
from celery import Celery

app = Celery("tasks", broker="sqlite:///celeriac.db", backend="sqlite:///celeriac.db")


@app.task
def add(x, y):
    return x + y
"""

PRODUCER = """
from celery import chord
from tasks import add

assert add.delay(2, 3).get(timeout=60) == 5
assert chord([add.si(1, 1), add.si(2, 2)])(add.si(3, 3)).get(timeout=60) == 6
"""


def main():
    said = subprocess.run([BINARY, "--version"], check=True, capture_output=True, text=True).stdout
    assert said.split()[1] == version("celeriac"), (said, version("celeriac"))
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tasks.py"), "w") as application:
            application.write(APPLICATION)
        worker = subprocess.Popen([BINARY, "-A", "tasks", "worker", "-c", "1"], cwd=folder)
        try:
            subprocess.run([sys.executable, "-c", PRODUCER], check=True, cwd=folder, timeout=120)
        finally:
            worker.terminate()
            code = worker.wait(timeout=60)
        assert code == 0, code


if __name__ == "__main__":
    main()
