"""Results as Celery's key-value backends store them."""

import datetime as dt
import decimal
import uuid

import celery.exceptions
import kombu.serialization
from celery.backends.base import KeyValueStoreBackend, decompress_payload
from celery.result import AsyncResult, GroupResult
from kombu.utils import json as kombu_json

from common import UTC, make_app, new_id, write


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
        task_id = new_id()
        encoded = backend.encode_result(result, state)
        backend.store_result(task_id, encoded, state, traceback=traceback, request=request or Request())
        [value] = backend.stored.values()
        if isinstance(value, str):
            cases.append({"name": name, "task_id": task_id, "state": state, "text": value})
        else:
            cases.append({"name": name, "task_id": task_id, "state": state, "hex": value.hex()})
        if "result_compression" in settings or "result_serializer" in settings:
            payload = decompress_payload(value)
            meta = kombu.serialization.loads(payload, backend.content_type, backend.content_encoding, accept=[backend.content_type])
            cases[-1]["decoded"] = kombu_json.dumps(meta)

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
