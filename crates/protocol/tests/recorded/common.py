"""What every recording shares: the clock, the ids, the app and the file it is written to."""

import datetime as dt
import itertools
import json
import platform
import sys
import uuid
from importlib.metadata import version
from pathlib import Path

from celery import Celery

HERE = Path(__file__).parent
UTC = dt.timezone.utc
NOW = dt.datetime(2026, 11, 23, 12, 30, 0, 250000, tzinfo=UTC)

ids = (str(uuid.UUID(int=0xCE1E81AC << 96 | 4 << 76 | 8 << 60 | n)) for n in itertools.count(1))


def new_id():
    return next(ids)


def write(name, cases):
    """Writes the cases of one subject, one to a line; with --check compares them with what is written there."""
    if "--check" in sys.argv:
        return compare(name, cases)
    versions = {
        "celery": version("celery"),
        "kombu": version("kombu"),
        "msgpack": version("msgpack"),
        "python": platform.python_version(),
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    head = json.dumps(versions)
    (HERE / f"{name}.json").write_text(f'{{"written_by": {head},\n"cases": [\n{lines}\n]}}\n')
    print(f"{name}: {len(cases)} cases")


def compare(name, cases):
    """Ends the program unless the file of this subject holds these cases."""
    recorded = json.loads((HERE / f"{name}.json").read_text())["cases"]
    # As the file would hold them: tuples are lists there.
    now = json.loads(json.dumps(list(cases)))
    different = [pair for pair in itertools.zip_longest(recorded, now) if repr(pair[0]) != repr(pair[1])]
    if different:
        was, now = different[0]
        raise SystemExit(f"{name}: {len(different)} cases differ; the first\n  was {was}\n  is  {now}")
    print(f"{name}: {len(recorded)} cases are as recorded")


def make_app(**settings):
    app = Celery("recorded", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(settings)
    app.now = lambda: NOW
    return app


def add_tasks(app):
    """The tasks of the recordings."""

    @app.task(name="proj.add")
    def add(x=0, y=1, *more, **named):
        return x + y

    @app.task(name="proj.total")
    def total(numbers):
        return sum(numbers)

    return add, total
