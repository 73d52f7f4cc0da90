"""MessagePack and compression under kombu's settings."""

import datetime as dt
import decimal
import json

import kombu.compression
import kombu.serialization
import msgpack
from celery.backends.base import compress_payload
from kombu.utils import json as kombu_json

from common import write


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
