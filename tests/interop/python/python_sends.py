"""Scenarios of a producer in Python and a worker in Rust. Usage: python_sends.py NAME"""
import datetime
import decimal
import os
import subprocess
import sys
import time
import uuid

import celery.exceptions
from celery import chord, group

from tasks import app

DEADLINE = 60


def get(result):
    return result.get(timeout=DEADLINE)


def send(name, *args, **options):
    return app.send_task(name, args, **options)


def results_are_read_in_python():
    result = send("rust.add", 2, 3)
    assert get(result) == 5
    assert (result.state, result.successful(), result.failed()) == ("SUCCESS", True, False)
    assert result.date_done is not None
    assert get(app.send_task("rust.add", (), {"x": 2, "y": 3})) == 5
    assert get(app.send_task("rust.add", (2,), {"y": 3})) == 5


def arguments_of_every_kind_arrive():
    values = [
        None, True, 0, -1, 2**53, 2**63, -(2**70), 1.5, 1e300, "", "ünïcode \U0001f600 \x00", [], {}, [[1], {"a": [None]}],
        {"key": {"nested": ["x"] * 100}},
    ]
    for value in values:
        echoed = get(send("rust.echo", value))
        assert echoed == value and type(echoed) is type(value), (value, echoed)
    rich = [
        uuid.UUID("12345678123456781234567812345678"), decimal.Decimal("1.10"), b"\x00\xff binary",
        datetime.datetime(2026, 11, 23, 12, 30, tzinfo=datetime.timezone.utc), datetime.date(2026, 11, 23),
    ]
    for value in rich:
        echoed = get(send("rust.echo", value))
        assert echoed == value, (value, echoed)


def a_failure_has_its_class_and_message():
    result = send("rust.fail", "no leaves: ü")
    error = result.get(timeout=DEADLINE, propagate=False)
    assert type(error).__name__ == "OutOfTea" and str(error) == "no leaves: ü", repr(error)
    assert result.state == "FAILURE" and result.failed()


def a_failure_is_raised_in_the_callers_process():
    try:
        get(send("rust.fail", "x"))
    except Exception as error:
        assert type(error).__name__ == "OutOfTea"
    else:
        raise AssertionError("nothing was raised")
    try:
        get(send("rust.add", "x", 1))
    except Exception as error:
        assert "x" in str(error), error
    else:
        raise AssertionError("a wrong argument was taken")


def retries_are_counted():
    assert get(send("rust.stubborn", 3)) == 3


def a_countdown_and_an_eta_are_kept():
    start = time.time()
    assert get(send("rust.add", 1, 1, countdown=1)) == 2
    assert 1 <= time.time() - start < 10, time.time() - start
    eta = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    assert get(send("rust.add", 1, 1, eta=eta)) == 2
    assert datetime.datetime.now(datetime.timezone.utc) >= eta


def an_expired_task_is_revoked():
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=5)
    try:
        get(send("rust.add", 1, 1, expires=past))
    except celery.exceptions.TaskRevokedError:
        pass
    else:
        raise AssertionError("an expired task ran")
    assert get(send("rust.add", 1, 1, expires=3600)) == 2


def priorities_order_the_queue():
    # Celery on Redis counts from 0, which comes first, to 9; the program in Rust sees 9 to 0. Everywhere else 9 comes first.
    seen = [get(send("rust.whoami", priority=priority))["priority"] for priority in (0, 3, 9)]
    assert seen == ([9, 6, 0] if app.conf.broker_url.startswith("redis") else [0, 3, 9]), seen


def a_revoked_task_does_not_run():
    # It waits for its time, and is revoked before that comes.
    result = send("rust.add", 1, 1, countdown=5)
    environment = dict(os.environ, CELERIAC_BROKER_URL=os.environ["CELERY_BROKER_URL"])
    subprocess.run([os.environ["RUST_TASKS"], "revoke", result.id], check=True, env=environment)
    try:
        get(result)
    except celery.exceptions.TaskRevokedError:
        pass
    else:
        raise AssertionError("a revoked task ran")


def a_result_may_be_ignored():
    result = send("rust.add", 1, 1, ignore_result=True)
    assert get(send("rust.add", 2, 2)) == 4
    assert app.backend.get_task_meta(result.id)["status"] == "PENDING"


def headers_and_stamps_arrive():
    seen = get(send("rust.whoami", headers={"tenant": {"name": "a", "numbers": [1, 2]}}))
    assert seen["tenant"] == {"name": "a", "numbers": [1, 2]}, seen
    stamped = app.signature("rust.whoami")
    stamped.stamp(team="tea")
    seen = get(stamped.apply_async())
    assert seen["stamps"] == {"team": ["tea"]} or seen["stamps"] == {"team": "tea"}, seen
    assert seen["stamped_headers"] == ["team"], seen


def bodies_may_be_compressed():
    text = "leaf " * 10_000
    for compression in ("zlib", "zstd", "bzip2"):
        assert get(send("rust.echo", text, compression=compression)) == text


def bodies_may_be_message_pack():
    for value in ([1, "ü", None, 1.5], {"a": {"b": []}}, "x" * 100_000):
        assert get(send("rust.echo", value, serializer="msgpack")) == value


def protocol_1_is_understood():
    app.conf.task_protocol = 1
    assert get(send("rust.add", 2, 3)) == 5
    assert get(send("rust.add", 2, 3, countdown=0.5)) == 5


def many_tasks_come_back():
    results = group(app.signature("rust.add", (n, n)) for n in range(500)).apply_async()
    assert sum(results.get(timeout=DEADLINE)) == sum(2 * n for n in range(500))


# The scenarios below belong to a test that looks at what they leave or does something beside them.


def half_of_many():
    results = [(n, app.send_task("shared.add", (n, n))) for n in range(250)]
    kinds = set()
    for n, result in results:
        total, kind = get(result)
        assert total == 2 * n, (n, total)
        kinds.add(kind)
    assert kinds <= {"rust", "python"}, kinds


def waiting_is_not_polling():
    reads_during_nap(0)
    short, long = reads_during_nap(0), reads_during_nap(2)
    assert long <= short + 2, (short, long)


def reads_during_nap(seconds):
    before = reads()
    assert get(app.send_task("shared.nap", (seconds,))) == "rust"
    return reads() - before


def reads():
    """How often anybody has read a result. The scripts of the worker read with GET too, a few times for each task."""
    stats = app.backend.client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("get", "mget"))


def one_for_later():
    start = time.time()
    assert get(send("rust.add", 1, 1, countdown=3)) == 2
    assert time.time() - start >= 3


def one_that_asks_for_a_retry():
    send("rust.later", headers={"tenant": {"name": "a"}}, expires=7200, ignore_result=True, priority=3)


def chords_that_succeed():
    for number in range(30):
        header = [app.signature("shared.add", (n, number)) for n in range(10)]
        chord(header)(app.signature("elsewhere.gather", kwargs={"number": number}, queue="bodies"))


def chords_that_fail():
    sent = []
    for number in range(20):
        header = [app.signature("shared.add", (n, number)) for n in range(10)]
        header[number % 10] = app.signature("shared.fail", (f"no leaves in {number}",))
        body = app.signature("elsewhere.gather", kwargs={"number": number}, queue="bodies")
        # Nobody here knows the errback, so it is sent as a task and not called by whoever finds the failure.
        body.on_error(app.signature("elsewhere.note", kwargs={"number": number}, queue="errbacks"))
        sent.append((number, chord(header)(body)))
    for number, result in sent:
        error = result.get(timeout=DEADLINE, propagate=False)
        assert result.state == "FAILURE" and type(error).__name__ == "ChordError", repr(error)
        # The member's id, its class and what it said.
        assert "Dependency" in str(error) and f"no leaves in {number}" in str(error), str(error)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
