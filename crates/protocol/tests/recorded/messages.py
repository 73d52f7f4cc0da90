"""Messages as Celery publishes them through a virtual transport."""

import base64
import datetime as dt
import decimal
import json
import uuid

import celery.app.amqp
import kombu
import kombu.compression
import kombu.serialization
from celery import chain, chord, group
from celery.canvas import StampingVisitor
from kombu.transport.memory import Channel
from kombu.utils import json as kombu_json

from common import UTC, add_tasks, ids, make_app, new_id, write


def published():
    """Collects what is published: the message as a virtual transport stores it."""
    messages = []

    def put(self, queue, message, **_):
        messages.append((queue, kombu_json.dumps(message)))

    Channel._put = put
    # As the Redis and SQS transports; the memory transport's own setting would leave the body unwrapped.
    Channel.body_encoding = "base64"
    Channel._next_delivery_tag = lambda self: next(ids)
    return messages


def record_messages():
    celery.app.amqp.anon_nodename = lambda: "gen4711@producer"
    cases = []

    def case(name, send, **settings):
        app = make_app(**settings)
        type(app).thread_oid = "5e41e1cd-0000-4000-8000-000000000000"
        messages = published()

        send(app, *add_tasks(app))
        if not messages:
            raise RuntimeError(f"{name} sent nothing")
        for at, (queue, envelope) in enumerate(messages):
            raw = json.loads(envelope)
            body = raw["body"]
            payload = base64.b64decode(body)
            if compression := raw["headers"].get("compression"):
                payload = kombu.compression.decompress(payload, compression)
            decoded = kombu.serialization.loads(
                payload, raw["content-type"], raw["content-encoding"], accept=[raw["content-type"]]
            )
            cases.append(
                {
                    "name": name if len(messages) == 1 else f"{name} ({at + 1})",
                    "queue": queue,
                    "envelope": envelope,
                    "decoded": kombu_json.dumps(decoded),
                }
            )

    def send(args=(), kwargs=None, **options):
        return lambda app, add, total: add.apply_async(args, kwargs, task_id=new_id(), **options)

    case("plain", send((2, 2)))
    case("no arguments", send())
    case("keyword arguments", send((2,), {"y": 3}))
    case("countdown", send((2, 2), countdown=90))
    case("eta with an offset", send((2, 2), eta=dt.datetime(2026, 11, 23, 14, 0, tzinfo=dt.timezone(dt.timedelta(hours=2)))))
    case("eta without an offset", send((2, 2), eta=dt.datetime(2026, 11, 23, 14, 0, 0, 123456)))
    case("expires in seconds", send((2, 2), expires=3600))
    case("expires at a time", send((2, 2), expires=dt.datetime(2026, 12, 24, tzinfo=UTC)))
    case("priority", send((2, 2), priority=7))
    case("queue", send((2, 2), queue="slow"))
    case("exchange and routing key", send(
        (2, 2), queue=kombu.Queue("topics", kombu.Exchange("tasks", "topic"), "slow.#"), routing_key="slow.one"))
    case("headers", send((2, 2), headers={"tenant": "a", "trace": {"id": 7, "flags": [True, None]}}))
    case("time limits", send((2, 2), time_limit=30, soft_time_limit=12.5))
    case("shadow", send((2, 2), shadow="shown"))
    case("retries", send((2, 2), retries=3))
    case("root and parent", send((2, 2), root_id=new_id(), parent_id=new_id()))
    case("ignored result", send((2, 2), ignore_result=True))
    case("reply to", send((2, 2), reply_to="replies"))
    case("own representations", send((2, 2), argsrepr="(<secret>)", kwargsrepr="{}"))
    case("not persistent", send((2, 2), delivery_mode=1))
    case("expiration of the broker", send((2, 2), expiration=60))
    case("correlation", send((2, 2), headers={"compression_hint": None}))
    case("unicode", send(("Zürich \U0001f600", "'quoted'"), {"z": "\\ \n \u2028"}))
    case("typed values", send((
        dt.datetime(2026, 11, 23, 12, 30, tzinfo=UTC), dt.date(2026, 11, 23), dt.time(12, 30, 15), decimal.Decimal("1.50"),
        uuid.UUID(int=7), b"bytes", b"\xff\x00", float("nan"), 2**80, 1e16, (1, 2), None, True,
    )))
    case("callback", lambda app, add, total: add.apply_async((2, 2), task_id=new_id(), link=add.s(16)))
    case("callbacks and errback", lambda app, add, total: add.apply_async(
        (2, 2), task_id=new_id(), link=[add.s(16), add.si(1, 1).set(queue="slow", countdown=5)], link_error=total.s()))
    case("group", lambda app, add, total: group(
        [add.s(i, i).set(task_id=new_id()) for i in range(3)]).apply_async(task_id=new_id()))
    case("chain", lambda app, add, total: chain(
        add.s(1, 1).set(task_id=new_id()), add.s(2).set(task_id=new_id()), add.s(3).set(task_id=new_id())).apply_async())
    case("chord", lambda app, add, total: chord(
        [add.s(i, i).set(task_id=new_id()) for i in range(2)], total.s().set(task_id=new_id())).apply_async(task_id=new_id()))
    case("chain into a group", lambda app, add, total: chain(
        add.s(1, 1).set(task_id=new_id()),
        group(add.s(i).set(task_id=new_id()) for i in range(2))).apply_async(task_id=new_id()))

    class Stamper(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"tenant": "a", "stamped_headers": ["tenant"]}

    def stamped(app, add, total):
        sig = add.s(2, 2).set(task_id=new_id())
        sig.stamp(Stamper())
        sig.apply_async()

    def stamped_chain(app, add, total):
        sig = chain(add.s(2, 2).set(task_id=new_id()), add.s(4).set(task_id=new_id()))
        sig.stamp(tenant=["a", "b"], run=7)
        sig.apply_async()

    case("stamps", stamped)
    case("stamps of a chain", stamped_chain)
    for compression in ("zlib", "gzip", "bzip2", "zstd"):
        case(f"compressed with {compression}", send((2, "x" * 300), compression=compression))
    case("msgpack", send((2, b"\xff\x00", "ü"), {"z": 1.5}, serializer="msgpack"))
    case("msgpack, compressed", send((2, b"\xff" * 200), serializer="msgpack", compression="zlib"))
    case("protocol 1", send((2,), {"y": 3}), task_protocol=1)
    case("protocol 1, everything", lambda app, add, total: add.apply_async(
        (2,), {"y": 3}, task_id=new_id(), countdown=90, expires=3600, retries=2, time_limit=30, soft_time_limit=10,
        link=add.s(16), link_error=total.s(), group_id=new_id(), headers={"tenant": "a"}, priority=5), task_protocol=1)
    case("protocol 1, msgpack", send((2, 2), serializer="msgpack"), task_protocol=1)
    case("by name", lambda app, add, total: app.send_task("other.task", (1,), {"k": [1, {"deep": None}]}, task_id=new_id()))
    write("messages", cases)
