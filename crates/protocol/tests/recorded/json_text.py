"""JSON as CPython and kombu read and write it."""

import datetime as dt
import decimal
import itertools
import json
import random
import struct
import uuid

from kombu.utils import json as kombu_json

from common import UTC, write


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
