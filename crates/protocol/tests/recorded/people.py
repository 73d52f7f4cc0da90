"""What people read: representations and times; and signatures as data."""

import datetime as dt
import decimal
import uuid

from celery import chain, chord, group, signature
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601
from kombu.utils import json as kombu_json

from common import NOW, UTC, add_tasks, make_app, write


def record_repr():
    def value(text):
        return kombu_json.loads(text)

    args = [
        [], [1], [2, 2], [None, True, 1.5, -0.0, 1e16], ["text"], ["it's"], ['"both\' kinds"'], ["new\nline\\"], ["ü\U0001f600"],
        [[1, [2, [3, [4]]]]], [{"a": {"b": {"c": {"d": 1}}}}], [{}, [], ""], ["x" * 20], ["x " * 20], [b"bytes"], [b"\xff\x00"],
        [b"x" * 50], [decimal.Decimal("1.50")], [uuid.UUID(int=7)], [dt.datetime(2026, 11, 23, 12, 30, tzinfo=UTC)],
        [dt.datetime(2026, 11, 23, 12, 30, 15, 5)], [dt.datetime(2026, 11, 23, tzinfo=dt.timezone(dt.timedelta(hours=-2, minutes=-30)))],
        [dt.date(2026, 1, 2), dt.time(0, 0), dt.time(12, 30, 15), dt.time(1, 2, 3, 4)], [2**80, float("nan"), float("-inf")],
        list(range(40)), [{"key": n} for n in range(12)], [[n] for n in range(20)], ["a", ["b", {"c": ["d", "e"]}], "f"],
        [{"it's": 1, "long key " * 5: 2}], [["one"], ["two"], ["three"]], [1, [2]], [[]], [[[[]]]], ["ab cd ef gh ij kl mn op"],
    ]
    kwargs = [{}, {"y": 3}, {"a": 1, "b": [1, 2], "c": {"d": "e"}}, {"k" * 30: "v" * 30, "other": None}, {f"key{n}": n for n in range(30)}]
    limits = (1024, 128, 40, 20, 10, 5, 3, 1)
    cases = []
    for arg in args:
        # As a consumer sees them: decoded, with lists for tuples inside.
        arg = value(kombu_json.dumps(arg))
        for limit in limits:
            cases.append({"args": kombu_json.dumps(arg), "limit": limit, "repr": saferepr(tuple(arg), limit)})
    for kwarg in kwargs:
        for limit in limits:
            cases.append({"kwargs": kombu_json.dumps(kwarg), "limit": limit, "repr": saferepr(kwarg, limit)})
    write("saferepr", cases)

    values = ["", "a", "it's", 'a "b"', "'\"", "\\ \n\r\t\x00\x7f\x1f", "ü\U0001f600", "\u00ad", 1, -5, 1.5, None, True, [1, "a"], {"a": [None]},
              b"x", b"\xff'", b"it's", decimal.Decimal("1.50"), uuid.UUID(int=7), dt.date(2026, 1, 2), "\ud800"]
    write("repr", [{"json": kombu_json.dumps(v), "repr": repr(v)} for v in values])


def record_timestamps():
    cases = []
    for moment in (
        dt.datetime(1970, 1, 1, tzinfo=UTC), NOW, dt.datetime(2026, 11, 23, 12, 30, tzinfo=UTC), dt.datetime(1, 1, 1, tzinfo=UTC),
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), dt.datetime(2000, 2, 29, tzinfo=UTC), dt.datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
        dt.datetime(1900, 3, 1, tzinfo=UTC), dt.datetime(2100, 2, 28, 23, tzinfo=UTC),
    ):
        micros = (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)
        cases.append({"micros": micros, "written": moment.isoformat()})
    for text in (
        "2026-11-23T12:30:00+00:00", "2026-11-23T12:30:00Z", "2026-11-23T12:30:00.5Z", "2026-11-23T12:30:00.123456789+02:00", "2026-11-23 12:30:00",
        "2026-11-23", "2026-11-23T12:30", "20261123T123000Z", "2026-11-23T12:30:00-0530", "2026-11-23T12:30:00+02", "2026-02-30", "2026-13-01",
        "2026-11-23T25:00:00", "2026-11-23T12:60", "2026-11-23T12:30:61", "not a date", "2026-11-23T", "2026-11-23T12:30:00+25:00",
        "2026-11-23T12:30:00.", "0000-01-01", "2026-02-29", "2024-02-29T00:00:00,25", "2026-11-23T12:30:00 +00:00", "2026-11-2",
    ):
        try:
            moment = maybe_iso8601(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            cases.append({"text": text, "micros": (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) // dt.timedelta(microseconds=1)})
        except Exception as error:
            cases.append({"text": text, "error": type(error).__name__})
    write("timestamps", cases)


def record_signatures():
    app = make_app()
    add, total = add_tasks(app)

    cases = []

    def case(name, sig):
        cases.append({"name": name, "text": kombu_json.dumps(sig)})

    case("plain", add.s(2, 2))
    case("immutable", add.si(2, 2))
    case("keyword arguments", add.s(2, y=3))
    case("options", add.s(2, 2).set(queue="slow", countdown=5, priority=3, expires=dt.datetime(2026, 12, 24, tzinfo=UTC)))
    linked = add.s(2, 2)
    linked.link(add.s(16))
    linked.link_error(total.s())
    case("linked", linked)
    case("by name", signature("other.task", args=(1,), app=app))
    case("group", group(add.s(i, i) for i in range(3)))
    case("chain", chain(add.s(1, 1), add.s(2), add.s(3)))
    case("chord", chord([add.s(i, i) for i in range(2)], total.s()))
    case("chord of chains", chord([chain(add.s(1, 1), add.s(i)) for i in range(2)], total.s() | add.s(1)))
    case("map", add.map([1, 2, 3]))
    case("starmap", add.starmap([(1, 2), (3, 4)]))
    case("chunks", add.chunks([(1, 2), (3, 4)], 1))
    stamped = add.s(1)
    stamped.stamp(tenant="a")
    case("stamped", stamped)
    write("signatures", cases)
