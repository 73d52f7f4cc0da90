"""Records what Celery and kombu put on the wire, for the tests of celeriac-protocol.

    python -m venv venv
    venv/bin/pip install celery==5.7.0 kombu==5.7.0 msgpack==1.2.4 backports.zstd==1.7.0
    venv/bin/python record.py

Writes one JSON file per subject beside itself, each with the versions that wrote it. Ids, times and the producer's
name are fixed, so a second run with the same versions changes nothing.
"""

import datetime as dt
import decimal
import itertools
import json
import platform
import random
import struct
import uuid
from importlib.metadata import version
from pathlib import Path

import celery
import kombu
import kombu.compression
import kombu.serialization
from celery import Celery, chain, chord, group, signature
from celery.backends.base import KeyValueStoreBackend, compress_payload
from celery.canvas import StampingVisitor
from celery.result import AsyncResult, GroupResult
from celery.utils.saferepr import saferepr
from celery.utils.time import maybe_iso8601
from kombu.utils import json as kombu_json

HERE = Path(__file__).parent
NOW = dt.datetime(2026, 11, 23, 12, 30, 0, 250000, tzinfo=dt.timezone.utc)
UTC = dt.timezone.utc

ids = (str(uuid.UUID(int=0xCE1E81AC << 96 | 4 << 76 | 8 << 60 | n)) for n in itertools.count(1))


def write(name, cases):
    """Writes the cases of one subject, one to a line."""
    versions = {
        "celery": celery.__version__,
        "kombu": kombu.__version__,
        "msgpack": version("msgpack"),
        "python": platform.python_version(),
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    head = json.dumps(versions)
    (HERE / f"{name}.json").write_text(f'{{"written_by": {head},\n"cases": [\n{lines}\n]}}\n')
    print(f"{name}: {len(cases)} cases")


# Messages -----------------------------------------------------------------------------------------------------------


def make_app(**settings):
    app = Celery("recorded", broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(settings)
    app.now = lambda: NOW
    return app


def published(app):
    """Collects what the app publishes: the message as a virtual transport stores it."""
    from kombu.transport.memory import Channel

    messages = []

    def put(self, queue, message, **_):
        messages.append((queue, kombu_json.dumps(message)))

    Channel._put = put
    # As the Redis and SQS transports; the memory transport's own setting would leave the body unwrapped.
    Channel.body_encoding = "base64"
    Channel._next_delivery_tag = lambda self: next(ids)
    return messages


def record_messages():
    import celery.app.amqp
    import celery.app.base

    celery.app.amqp.anon_nodename = lambda: "gen4711@producer"
    cases = []

    def case(name, send, **settings):
        app = make_app(**settings)
        type(app).thread_oid = "5e41e1cd-0000-4000-8000-000000000000"
        messages = published(app)

        @app.task(name="proj.add")
        def add(x=0, y=1, *more, **named):
            return x + y

        @app.task(name="proj.total")
        def total(numbers):
            return sum(numbers)

        send(app, add, total)
        if not messages:
            raise RuntimeError(f"{name} sent nothing")
        for at, (queue, envelope) in enumerate(messages):
            raw = json.loads(envelope)
            body = raw["body"]
            import base64

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

    def new_id():
        return next(ids)

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


# Results ------------------------------------------------------------------------------------------------------------


class Recording(KeyValueStoreBackend):
    """Keeps what would be stored."""

    supports_native_join = True
    supports_result_compression = True

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.stored = {}

    def get(self, key):
        return None

    def set(self, key, value):
        self.stored[key] = value

    def expire(self, key, value):
        pass


class Nested(Exception):
    class Inner(Exception):
        pass


class Request:
    """What a backend reads of the request of a running task."""

    group = None
    parent_id = None
    children = []
    delivery_info = {"routing_key": "celery", "exchange": ""}
    hostname = "worker@host"
    task = "proj.add"
    args = [2, 2]
    kwargs = {"y": 1}
    retries = 0

    def __init__(self, **fields):
        self.__dict__.update(fields)


def record_results():
    cases = []

    def case(name, result, state, traceback=None, request=None, **settings):
        app = make_app(**settings)
        backend = Recording(app=app)
        task_id = next(ids)
        encoded = backend.encode_result(result, state)
        backend.store_result(task_id, encoded, state, traceback=traceback, request=request or Request())
        [value] = backend.stored.values()
        if isinstance(value, str):
            cases.append({"name": name, "task_id": task_id, "state": state, "text": value})
        else:
            cases.append({"name": name, "task_id": task_id, "state": state, "hex": value.hex()})
        if "result_compression" in settings or "result_serializer" in settings:
            payload = celery.backends.base.decompress_payload(value)
            meta = kombu.serialization.loads(payload, backend.content_type, backend.content_encoding, accept=[backend.content_type])
            cases[-1]["decoded"] = kombu_json.dumps(meta)

    import celery.backends.base

    def raised(exc):
        try:
            raise exc
        except Exception as error:
            return error

    case("success", 4, "SUCCESS")
    case("success without a value", None, "SUCCESS")
    case("success with structure", {"a": [1, 2.5, None, True], "b": {"ü": "\U0001f600"}}, "SUCCESS")
    case("success with typed values", [dt.datetime(2026, 11, 23, tzinfo=UTC), b"\xff", decimal.Decimal("0.10"), uuid.UUID(int=9)], "SUCCESS")
    case("success with NaN and a huge integer", [float("nan"), float("-inf"), 2**70], "SUCCESS")
    case("failure", raised(ValueError("no", 7)), "FAILURE", traceback="Traceback (most recent call last):\n...\nValueError: no\n")
    case("failure without arguments", raised(KeyError()), "FAILURE", traceback="T")
    case("failure with a nested class", raised(Nested.Inner("deep")), "FAILURE")
    case("failure with an argument that JSON lacks", raised(RuntimeError(object, {"a": {1, 2}})), "FAILURE")
    case("failure with unicode", raised(ValueError("Zürich 'x'")), "FAILURE")
    case("os error", raised(FileNotFoundError(2, "No such file or directory", "/nowhere")), "FAILURE")
    case("retry", raised(celery.exceptions.Retry("again", ValueError("no"))), "RETRY", traceback="T")
    case("retried exception", raised(ConnectionError("refused")), "RETRY", traceback="T")
    case("revoked", raised(celery.exceptions.TaskRevokedError("terminated")), "REVOKED")
    case("time limit", raised(celery.exceptions.TimeLimitExceeded(30)), "FAILURE")
    case("worker lost", raised(celery.exceptions.WorkerLostError("Worker exited prematurely: signal 9 (SIGKILL) Job: 3.")), "FAILURE")
    case("chord error", raised(celery.exceptions.ChordError("Dependency x raised ValueError('no')")), "FAILURE")
    case("started", {"pid": 4711, "hostname": "worker@host"}, "STARTED")
    case("progress", {"current": 10, "total": 100}, "PROGRESS")
    app = make_app()
    child = AsyncResult("child-1", app=app, parent=AsyncResult("parent-1", app=app))
    children = [child, GroupResult("group-1", [AsyncResult("a", app=app), AsyncResult("b", app=app)], app=app)]
    case("children", 4, "SUCCESS", request=Request(children=children))
    case("a result as result", AsyncResult("replaced", app=app), "SUCCESS")
    case("group and parent", 4, "SUCCESS", request=Request(group="group-7", parent_id="parent-7"))
    case("extended", 4, "SUCCESS", request=Request(stamps={"tenant": ["a"]}, stamped_headers=["tenant"]), result_extended=True)
    case("extended failure", raised(ValueError("no")), "FAILURE", result_extended=True)
    case("msgpack", {"a": b"\xff", "b": 1.5}, "SUCCESS", result_serializer="msgpack")
    for compression in ("zlib", "bzip2", "zstd"):
        case(f"compressed with {compression}", "x" * 300, "SUCCESS", result_compression=compression)
    write("results", cases)


# JSON ---------------------------------------------------------------------------------------------------------------


def record_json_values():
    """What kombu writes for values that JSON has no form for, or more than one."""
    values = {
        "datetime": dt.datetime(2026, 11, 23, 12, 30, 0, 5, tzinfo=UTC),
        "naive datetime": dt.datetime(2026, 11, 23, 12, 30),
        "date": dt.date(2026, 11, 23),
        "time": dt.time(12, 30, 15, 250000),
        "decimal": decimal.Decimal("1E+5"),
        "uuid": uuid.UUID(int=0x0123456789ABCDEF << 64),
        "bytes": b"text",
        "empty bytes": b"",
        "binary": bytes(range(250, 256)),
        "unicode bytes": "ü".encode(),
        "nested": {"a": [b"x", {"b": dt.date(2026, 1, 1)}]},
        "a wrapper of an unknown type": [{"__type__": "fraction", "__value__": "1/2", "more": 1}],
        "surrogate": "\ud800x\udfff\U0001f600",
        "control characters": "".join(map(chr, range(0x20))) + "\x7f\x80\u2028",
        "escapes": '"\\/\b\f\n\r\t',
        "tuple": (1, (2, ()), []),
        "empty": {"a": {}, "b": [], "": ""},
        "integers": [0, -1, 2**63 - 1, -(2**63), 2**63, -(2**63) - 1, 2**64, 10**40, -(10**40)],
        "constants": [None, True, False, float("nan"), float("inf"), float("-inf")],
        "deep": json.loads("[" * 100 + "]" * 100),
    }
    cases = [{"name": name, "text": kombu_json.dumps(value)} for name, value in values.items()]
    try:
        kombu_json.dumps(dt.timedelta(seconds=5))
    except TypeError as error:
        cases.append({"name": "timedelta", "refused": str(error)})
    write("json_values", cases)


def float_texts():
    rng = random.Random(20261123)
    chosen = [0.0, -0.0, 1.0, -1.0, 0.1, 1e15, 1e16, 1e17, 123456789012345680.0, 9007199254740993.0, 1e-4, 1e-5, 1.5e-5,
              5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e22, 1e21, 1e23, 0.30000000000000004, 100.0, 1e100,
              9999999999999998.0, 0.0001234, 0.00012339999999999999, 123e-7]
    drawn = (struct.unpack("<d", rng.getrandbits(64).to_bytes(8, "little"))[0] for _ in range(400))
    near = (rng.uniform(-1, 1) * 10 ** rng.randint(-7, 19) for _ in range(400))
    return [f for f in itertools.chain(chosen, drawn, near) if f == f and abs(f) != float("inf")]


def record_floats():
    write("floats", [{"bits": struct.pack(">d", f).hex(), "text": json.dumps(f)} for f in float_texts()])


TEXTS = [
    # Numbers.
    "0", "-0", "-0.0", "00", "01", "-01", "1.", ".5", "1.5", "1e5", "1E+5", "1e-5", "1e", "1e+", "1.e5", "1.5e400", "-1e400",
    "1e-400", "+1", "-", "--1", "0x10", "1_000", "1 2", "9223372036854775807", "9223372036854775808", "-9223372036854775808",
    "-9223372036854775809", "18446744073709551616", "1" * 400, "1" * 4300, "1" * 4301, "-" + "1" * 4300, "0.1e1", "0e0", "0E0",
    "1.0", "123456789.123456789", "5e-324", "2e308", "0.1", "1e16", "12345678901234567890.5", "\u0661", "1\u0661", "NaN",
    "-NaN", "nan", "Infinity", "-Infinity", "+Infinity", "-Infinit", "Infinit", "inf", "NaNa", "-I", "-i",
    # Words.
    "null", "nul", "nulll", "Null", "None", "true", "tru", "True", "TRUE", "false", "fals", "undefined",
    # White space and framing.
    "", " ", "\n", " 1 ", "\t\r\n[ 1 , 2 ]\n", "\u00a01", "\ufeff1", "\x0b1", "1\x00", "[1]x", "[1] [2]", "// x\n1", "'x'",
    # Strings.
    '""', '"a"', '"', '"a', '"\\"', '"\\""', '"\\\\"', '"\\/"', '"\\b\\f\\n\\r\\t"', '"\\a"', '"\\u"', '"\\u00"', '"\\u00g0"',
    '"\\u0041"', '"\\U0041"', '"\\u00e9"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\ude00"', '"\\ud83d\\u0041"', '"\\ud83dx"',
    '"\\ud83d\\ud83d\\ude00"', '"\\ud83d\\n"', '"\\ud83d\\u00"', '"\\ud83d\\u"', '"\\u0000"', '"\x01"', '"\n"', '"\t"', '"\x7f"',
    '"\u00e9"', '"\U0001f600"', '"\u2028\u2029"', '"\\x41"', '"\\ "', '"\\', '"\\u+041"', '"\\u 041"', '"\\u0_41"', '"\\u004',
    '"\\udc00\\ud800"', '"\\uD83D\\uDE00"', '"\\ud800\\ud800"', '"\\uffff\\ufffe"',
    # Lists.
    "[]", "[ ]", "[1]", "[1,2]", "[1,]", "[,1]", "[1 2]", "[", "]", "[1", "[[]", "[[]]", "[1,[2,[3]]]", "[1]]", "[null,true,NaN]",
    "[" * 300 + "]" * 300, "[" * 100000,
    # Objects.
    "{}", "{ }", '{"a":1}', '{"a" : 1 , "b" : 2}', '{"a":1,}', '{,"a":1}', '{"a"}', '{"a":}', "{a:1}", "{'a':1}", "{1:2}", '{"a":1',
    '{"a":1 "b":2}', '{"a":1,"a":2}', '{"a":1,"b":2,"a":3}', '{"":0}', '{"\\u0061":1,"a":2}', '{"a":{"b":{}}}', "{", "}", '{"a":1}}',
    '{"' + '":1,"'.join(map(str, range(60))) + '":1}', '{"' + '":1,"'.join(str(n % 40) for n in range(60)) + '":2}',
    # Wrappers of kombu.
    '{"__type__":"datetime","__value__":"2026-11-23T12:30:00+00:00"}', '{"__value__":"2026-11-23","__type__":"date"}',
    '{"__type__":"time","__value__":"12:30:00"}', '{"__type__":"decimal","__value__":"1.50"}',
    '{"__type__":"bytes","__value__":"\\u00fc"}', '{"__type__":"base64","__value__":"/wA="}', '{"__type__":"base64","__value__":""}',
    '{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000007"}}',
    '{"__type__":"uuid","__value__":{"hex":"00000000-0000-0000-0000-000000000007"}}',
    '[{"__type__":"bytes","__value__":"x"},{"a":{"__type__":"date","__value__":"2026-01-31"}}]',
    '{"__type__":"bytes","__value__":"x","more":1}', '{"__type__":"bytes"}', '{"__value__":"x"}',
]

# Wrappers that kombu refuses and we keep as the dictionaries that they are.
TEXTS += [
    '{"__type__":"fraction","__value__":"1/2"}', '{"__type__":"uuid","__value__":{"hex":"xyz"}}',
    '{"__type__":"bytes","__value__":5}', '{"__type__":"date","__value__":[]}', '{"__type__":"uuid","__value__":"x"}',
]


def record_json_texts():
    """What CPython and kombu make of a text: the same value written again, or an error."""
    rng = random.Random(7)
    broken = []
    for text in TEXTS:
        if 1 < len(text) < 80:
            for _ in range(3):
                at = rng.randrange(len(text))
                broken.append(text[:at] + rng.choice(['"', "\\", "{", "]", ",", ":", "0", "e", "-", " ", "\\u", ""]) + text[at + 1:])
    cases = []
    for text in TEXTS + broken:
        try:
            made = kombu_json.dumps(kombu_json.loads(text.encode()))
            cases.append({"text": text, "again": made})
        except (Exception, RecursionError) as error:
            try:
                # Only a wrapper was wrong.
                cases.append({"text": text, "kept": json.dumps(json.loads(text))})
            except (Exception, RecursionError):
                cases.append({"text": text, "error": type(error).__name__})
    write("json_texts", cases)


def record_json_bytes():
    """What is not UTF-8."""
    cases = []
    for data in (b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', b"\xfe\xff\x001", b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x98\x80"'):
        try:
            cases.append({"hex": data.hex(), "again": kombu_json.dumps(kombu_json.loads(data))})
        except Exception as error:
            cases.append({"hex": data.hex(), "error": type(error).__name__})
    write("json_bytes", cases)


# MessagePack and compression ----------------------------------------------------------------------------------------


def record_msgpack():
    pack, unpack = kombu.serialization.registry._encoders["msgpack"].encoder, kombu.serialization.registry._decoders["application/x-msgpack"]
    values = [
        None, True, False, 0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x100000000, 2**63 - 1, 2**63, 2**64 - 1,
        -1, -0x20, -0x21, -0x80, -0x81, -0x8000, -0x8001, -0x80000000, -0x80000001, -(2**63), 0.0, -0.0, 1.5, 1e300, float("inf"),
        "", "a", "x" * 31, "x" * 32, "x" * 255, "x" * 256, "x" * 65535, "x" * 65536, "ü\U0001f600", b"", b"\xff", b"x" * 255, b"x" * 256,
        b"x" * 65536, [], [1], list(range(15)), list(range(16)), list(range(70000)), {}, {"a": 1}, {str(n): n for n in range(15)},
        {str(n): n for n in range(16)}, {str(n): n for n in range(66000)}, [[], {"a": [b"x", None]}], [(2, 2), {}, {"callbacks": None}],
    ]
    cases = []
    for value in values:
        packed = pack(value)
        if len(packed) > 2000:
            # Long ones are told by their start and length; the test makes the rest.
            cases.append({"long": str(type(value).__name__), "len": len(value), "start": packed[:24].hex(), "size": len(packed)})
            continue
        assert unpack(packed) == json.loads(json.dumps(value)) if "bytes" not in str(type(value)) and not has_bytes(value) else True
        cases.append({"json": kombu_json.dumps(value), "hex": packed.hex()})
    for text in ("c1", "91", "a1", "c4", "d9ff", "dd7fffffff", "df7fffffff", "0000", "8101ff", "81c40161c0", "a1ff", "d40500", "c70105ff",
                 "d6ff00000001", "d7ff0000000400000000", "c70cff0000000100000000ffffffff", "c70cff000003e8ffffffffffffffff", "ca3fc00000",
                 "c6ffffffff", "db00000001", "dc0001c0", "de0001a161c0", "d9016b", "92c0", "c801", "c90000000005", "82a16101a16102", ""):
        data = bytes.fromhex(text)
        try:
            import msgpack

            value = unpack(data)
            if isinstance(value, msgpack.Timestamp):
                value = value.to_datetime()
            if isinstance(value, msgpack.ExtType) or isinstance(value, dict) and any(isinstance(key, bytes) for key in value):
                raise TypeError("not for us")
            cases.append({"hex": text, "read": kombu_json.dumps(value)})
        except Exception as error:
            cases.append({"hex": text, "error": type(error).__name__})
    for value in (2**64, -(2**63) - 1, "\ud800", dt.date(2026, 1, 1), decimal.Decimal(1)):
        try:
            pack(value)
        except Exception as error:
            cases.append({"refused": type(error).__name__, "json": kombu_json.dumps(value)})
    write("msgpack", cases)


def has_bytes(value):
    if isinstance(value, dict):
        return any(map(has_bytes, value.values()))
    return isinstance(value, bytes) or isinstance(value, (list, tuple)) and any(map(has_bytes, value))


def record_compression():
    plain = b'[[2, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]' * 3
    cases = []
    for name in ("zlib", "gzip", "bzip2", "bzip", "zstd", "zstandard"):
        data, content_type = kombu.compression.compress(plain, name)
        cases.append({"name": name, "content_type": content_type, "plain": plain.decode(), "hex": data.hex()})
        payload = compress_payload(plain, name)
        cases.append({"name": name, "content_type": content_type, "plain": plain.decode(), "payload": payload.hex()})
    write("compression", cases)


# For people ---------------------------------------------------------------------------------------------------------


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

    @app.task(name="proj.add")
    def add(x=0, y=1, *more, **named):
        return x + y

    @app.task(name="proj.total")
    def total(numbers):
        return sum(numbers)

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


if __name__ == "__main__":
    random.seed(0)
    # Signatures draw ids of their own.
    import celery.app.base
    import celery.canvas
    import kombu.utils.uuid

    for module in (celery.app.base, celery.canvas, kombu.utils.uuid):
        module.uuid = lambda *_: next(ids)
    for record in (record_messages, record_results, record_json_values, record_json_texts, record_json_bytes, record_floats,
                   record_msgpack, record_compression, record_repr, record_timestamps, record_signatures):
        record()
