"""A stock producer in a Django project. Usage: drive_django.py NAME"""
import os
import sys
import time

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "..", "..", "examples", "django"))
os.environ["DJANGO_SETTINGS_MODULE"] = "proj.settings"
os.environ["DATABASE"] = os.path.abspath("db.sqlite3")

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from visits import tasks  # noqa: E402
from visits.models import Visit  # noqa: E402

DEADLINE = 60


def migrate():
    call_command("migrate", verbosity=0)


def visits():
    results = [tasks.visit.delay(f"http://host/{number}") for number in range(200)]
    were_open = [result.get(timeout=DEADLINE) for result in results]
    assert were_open == [False] * 200, "the fixup closes the connection around each task"
    assert Visit.objects.count() == 200
    assert Visit.objects.values("process").distinct().count() == 2, "both children have worked"


def transactions():
    tasks.visit_after_commit.delay("http://commit").get(timeout=DEADLINE)
    until = time.monotonic() + DEADLINE
    while not Visit.objects.filter(url="http://commit/second").exists():
        assert time.monotonic() < until, "the second task has not run"
        time.sleep(0.01)
    failed = tasks.visit_and_fail.delay("http://failed")
    assert isinstance(failed.get(timeout=DEADLINE, propagate=False), ValueError)
    assert not Visit.objects.filter(url="http://failed").exists()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.stdout.flush()
    os._exit(0)
