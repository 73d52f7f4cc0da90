"""A stock producer of the applications in apps/. Usage: drive_apps.py NAME"""
import os
import sqlite3
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps"))

from celery import chain, chord, group  # noqa: E402

DEADLINE = 60


def raised(result):
    try:
        value = result.get(timeout=DEADLINE)
    except Exception as error:
        return type(error).__name__, str(error)
    raise AssertionError(f"it returned {value!r}")


def noted(what, times=1):
    """Waits until tasks have noted this so often."""
    until = time.monotonic() + DEADLINE
    # It is made with the first note.
    while not os.path.exists("notes") or open("notes").read().count(f"{what} ") < times:
        assert time.monotonic() < until, f"nobody noted {what}"
        time.sleep(0.01)


def save_urls(count):
    from urls import save

    names = [f"http://host/{number}" for number in range(count)]
    results = [save.delay(name) for name in names]
    assert [result.get(timeout=DEADLINE) for result in results] == names


def urls():
    save_urls(10_000)


def some_urls():
    save_urls(1_000)


def urls_are_saved():
    rows = sqlite3.connect("urls.sqlite").execute("SELECT url, pid FROM urls").fetchall()
    assert len(rows) == 10_000, len(rows)
    assert len({pid for _, pid in rows}) == 2, "both children have worked"


def outcomes():
    import moods

    assert moods.add.delay(2, 3).get(timeout=DEADLINE) == 5
    assert raised(moods.fail.delay("bad")) == ("ValueError", "bad")
    # As names of files are that Python cannot decode.
    assert moods.add.delay("a\udcff", "b").get(timeout=DEADLINE) == "a\udcffb"
    assert raised(moods.fail.delay("bad \udcff")) == ("ValueError", "bad \udcff")
    assert moods.stubborn.delay(2).get(timeout=DEADLINE) == 2
    assert moods.patient.delay().get(timeout=DEADLINE) == "cleaned up"
    name, text = raised(moods.endless.delay())
    assert name == "TimeLimitExceeded", (name, text)
    name, text = raised(moods.killed.delay())
    assert name == "WorkerLostError", (name, text)
    name, text = raised(moods.exits.delay())
    assert name == "WorkerLostError", (name, text)
    assert len(moods.large.delay(3_000_000).get(timeout=DEADLINE)) == 3_000_000
    # Nothing of what came before has hurt the next ones.
    who = moods.whoami.apply_async(priority=3)
    told = who.get(timeout=DEADLINE)
    pid = told.pop("pid")
    assert pid != os.getpid()
    assert told == {
        "id": who.id, "hostname": "apps@interop", "retries": 0, "redelivered": False, "routing_key": "celery",
        "is_eager": False, "called_directly": False, "priority": 3,
    }, told
    moods.sends_itself.delay(True)
    ignored = moods.ignores.delay()
    rejected = moods.rejects.delay()
    # It is not there to be redelivered, and that is told.
    assert raised(rejected) == ("Reject", "('no', False)"), raised(rejected)
    noted("ignores")
    noted("sends_itself")
    for n in range(20):
        assert moods.add.delay(n, 1).get(timeout=DEADLINE) == n + 1
    assert ignored.state == "PENDING", ignored.state


def soft_limits():
    import moods

    # However soon it comes, it is heard: within the task, or before that begins.
    results = [moods.hasty.delay() for _ in range(50)]
    for result in results:
        name, text = raised(result)
        assert name in ("SoftTimeLimitExceeded", "WorkerLostError") and "SoftTimeLimitExceeded" in name + text, (name, text)
    assert raised(moods.hard_to_read.delay())[0] == "SoftTimeLimitExceeded"


def a_long_one_among_short_ones():
    """Children are given short tasks ahead, and none of these waits for the long one that is among them."""
    import moods

    first = [moods.waits_for.delay(os.path.abspath("first")) for _ in range(2)]
    short = [moods.add.delay(n, 1) for n in range(1000)]
    long = moods.waits_for.delay(os.path.abspath("second"))
    short += [moods.add.delay(n, 1) for n in range(1000)]
    open("first", "w").close()
    assert [result.get(timeout=DEADLINE) for result in first] == ["seen"] * 2
    assert [result.get(timeout=DEADLINE) for result in short] == [n + 1 for n in range(1000)] * 2
    assert not long.ready()
    open("second", "w").close()
    assert long.get(timeout=DEADLINE) == "seen"


def lost_and_found():
    import moods

    assert moods.killed_once.delay(os.path.abspath("killed-once")).get(timeout=DEADLINE) == "again"
    assert moods.rejects_once.delay(os.path.abspath("rejected-once")).get(timeout=DEADLINE) == "again"


def canvas():
    import moods

    assert chain(moods.add.s(1, 2), moods.add.s(3)).delay().get(timeout=DEADLINE) == 6
    assert sorted(group(moods.add.s(n, n) for n in range(4)).delay().get(timeout=DEADLINE)) == [0, 2, 4, 6]
    assert moods.replaced.delay(2, 3).get(timeout=DEADLINE) == 5
    assert chord([moods.replaced.s(n, n) for n in range(4)], moods.large.si(3)).delay().get(timeout=DEADLINE) == "xxx"


def mixed():
    import moods

    # A task of the Rust program, between tasks of the application.
    steps = chain(moods.add.s(1, 2), moods.app.signature("rust.add", args=(10,)), moods.add.s(100))
    assert steps.delay().get(timeout=DEADLINE) == 113
    members = [moods.add.s(1, 1), moods.app.signature("rust.add", args=(2, 2))]
    assert chord(members, moods.large.si(2)).delay().get(timeout=DEADLINE) == "xx"


def still_works():
    import moods

    assert moods.add.delay(20, 22).get(timeout=DEADLINE) == 42


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.stdout.flush()
    os._exit(0)
