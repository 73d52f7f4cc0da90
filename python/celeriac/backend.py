"""What Celery sees of the embedded store: the result backend of `sqlite:///relative.db` and `sqlite:////absolute/path.db`.

Waiting does not poll: whoever stores a final result wakes those who wait. Chords are counted in the store, as workers in Rust count
them, so no `celery.chord_unlock` runs and members may run in either language. Differences from Celery's Redis backend: a chord fails
with its first member that fails (Celery waits for all of them first), and results are kept in JSON only.
"""
from celery import states
from celery.backends.base import BaseBackend
from celery.canvas import maybe_signature
from celery.exceptions import ChordError, ImproperlyConfigured, TimeoutError
from celery.result import GroupResult, allow_join_result, result_from_tuple
from celery.utils.functional import _regen
from celery.utils.log import get_logger
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import dumps, loads

from celeriac.sqlite import chords, place, results, sweep
from celeriac.sqlite.errors import Unavailable
from celeriac.sqlite.key import key_of, text_of
from celeriac.sqlite.statements import SQL
from celeriac.sqlite.store import open_store
from celeriac.sqlite.transaction import after, now

logger = get_logger(__name__)


class SqliteBackend(BaseBackend):
    supports_native_join = True
    supports_autoexpire = True
    supports_result_compression = True
    supports_failure_expires = True

    def __init__(self, url=None, **kwargs):
        super().__init__(url=url, **kwargs)
        conf = self.app.conf
        if self.serializer != "json":
            raise ImproperlyConfigured(
                f"result_serializer is {self.serializer!r}, and the embedded store keeps results in JSON: use 'json'"
            )
        failure_expires, chord_expires = conf.get("result_failure_expires"), conf.get("result_chord_expires")
        self.failure_expires = self.expires if failure_expires is None else self.prepare_expires(failure_expires)
        self.chord_expires = self.expires if chord_expires is None else self.prepare_expires(chord_expires)
        self.path = place.path_of(url)
        self._store = None

    @property
    def store(self):
        # Not before it is needed: an application is imported in processes that never look at results.
        if self._store is None:
            self._store = open_store(self.path)
        return self._store

    def exception_safe_to_retry(self, exc):
        return isinstance(exc, Unavailable)

    # Results.

    def _store_result(self, task_id, result, state, traceback=None, request=None, **kwargs):
        meta = self._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = bytes_to_str(task_id)
        self.store_record(task_id, state, self.encode(meta))
        return result

    def store_record(self, task_id, state, record):
        """Stores an encoded record: what `encode` makes of the dictionary that `_store_result` has built."""
        expires = self.failure_expires if state == states.FAILURE else self.expires
        record = record.encode() if isinstance(record, str) else record
        self.store.store_results([results.NewResult(bytes_to_str(task_id), state, record, _lifetime(expires))])

    def _get_task_meta_for(self, task_id):
        with self.store.connection() as connection:
            record = results.get(connection, task_id)
        return {"status": states.PENDING, "result": None} if record is None else self.decode_result(record)

    def task_result_exists(self, task_id):
        with self.store.connection() as connection:
            return results.get(connection, task_id) is not None

    def _forget(self, task_id):
        with self.store.writing() as tx:
            tx.run("result_forget", key_of(task_id))

    def wait_for(self, task_id, timeout=None, interval=0.5, no_ack=True, on_interval=None):
        for _, meta in self.get_many([task_id], timeout=timeout, interval=interval, on_interval=on_interval):
            return meta

    def get_many(
        self, task_ids, timeout=None, interval=0.5, no_ack=True, on_message=None, on_interval=None, max_iterations=None,
        READY_STATES=states.READY_STATES,
    ):
        self._ensure_not_eager()
        ids = {bytes_to_str(task_id) for task_id in task_ids}
        for task_id in list(ids):
            meta = self._cached(task_id)
            if meta is not None:
                ids.discard(task_id)
                yield task_id, meta
        if not ids:
            return
        tick = None if on_interval is None else (on_interval, interval or 0.5)
        for task_id, record in results.wait(self.store, ids, timeout, tick):
            ids.discard(task_id)
            meta = self._cache[task_id] = self.decode_result(record)
            if on_message is not None:
                on_message(meta)
            yield task_id, meta
        if ids:
            raise TimeoutError("The operation timed out.")

    def _cached(self, task_id):
        try:
            meta = self._cache[task_id]
        except KeyError:
            return None
        return meta if meta["status"] in states.READY_STATES else None

    # Groups.

    def _save_group(self, group_id, result):
        self._keep_group(group_id, result, self.expires)
        return result

    def _keep_group(self, group_id, result, expires):
        with self.store.writing() as tx:
            value = dumps(result.as_tuple()).encode()
            tx.run("group_save", key_of(group_id), after(tx.now, _lifetime(expires)), value)
            sweep.groups(tx, 1)

    def _restore_group(self, group_id):
        with self.store.connection() as connection:
            value = connection.value(SQL["group_get"], (key_of(group_id), now()))
        return None if value is None else {"result": result_from_tuple(loads(value), self.app)}

    def _delete_group(self, group_id):
        with self.store.writing() as tx:
            tx.run("group_forget", key_of(group_id))

    # Chords.

    def set_chord_size(self, group_id, chord_size):
        with self.store.writing() as tx:
            chords.begin(tx, group_id, chord_size, _lifetime(self.chord_expires))

    def add_to_chord(self, chord_id, result):
        with self.store.writing() as tx:
            chords.extend(tx, chord_id, 1)

    def apply_chord(self, header_result_args, body, **kwargs):
        """Keeps the shape of a header whose results are groups themselves; others are counted only."""
        self.ensure_chords_allowed()
        if not isinstance(header_result_args[1], _regen):
            header = self.app.GroupResult(*header_result_args)
            if any(isinstance(member, GroupResult) for member in header.results):
                self._keep_group(header.id, header, self.chord_expires)

    def on_chord_part_return(self, request, state, result, **kwargs):
        if not request.group or not request.id:
            return
        value = dumps(self.encode_result(result, state)).encode()
        part = chords.NewPart(request.group, request.id, request.group_index, state, value, _lifetime(self.chord_expires))
        # One that closes its chord is counted only with all that follows from it: who dies in between leaves an open chord, and a
        # member that runs again.
        counted = self._count(part)
        if counted not in (chords.LAST, chords.FAILED):
            return
        with self.store.gathering() as gathered:
            self._close_chord(request, part, counted)
        self._count(part, gathered)

    def _count(self, part, closing=None):
        with self.store.writing() as tx:
            counted = chords.count(tx, part, closing is not None)
            if closing is not None and counted in (chords.LAST, chords.FAILED):
                closing.write(tx)
        return counted

    def _close_chord(self, request, part, counted):
        """Sends the body of a chord, or tells it that a member has failed."""
        callback = maybe_signature(request.chord, app=self.app)
        try:
            callback_args = self._join(request.group, part)
        except ChordError as error:
            logger.exception("Chord %r raised: %r", request.group, error)
            return self.chord_error_from_stack(callback, error)
        except Exception as error:
            logger.exception("Chord %r raised: %r", request.group, error)
            return self.chord_error_from_stack(callback, ChordError(f"Join error: {error!r}"))
        try:
            callback.delay(callback_args)
        except Exception as error:
            logger.exception("Chord callback for %r raised: %r", request.group, error)
            self.chord_error_from_stack(callback, ChordError(f"Callback error: {error!r}"))

    def _join(self, group_id, last):
        """What the members returned, in their order. Raises ChordError if one has failed."""
        with self.store.connection() as connection:
            reported = chords.parts(connection, group_id)
        reported.append((last.member, last.place, last.state, last.result))
        reported.sort(key=lambda part: (part[1], text_of(part[0])))
        for member, _, state, value in reported:
            if state is not None:
                raise self._failed(text_of(member), self.exception_to_python(loads(value)))
        saved = GroupResult.restore(group_id, backend=self, app=self.app)
        if saved is None:
            return [loads(value) for _, _, _, value in reported]
        # A header whose results are groups: what its members returned keeps that shape.
        saved.on_ready()
        with allow_join_result():
            return saved.join_native(timeout=self.app.conf.result_chord_join_timeout, propagate=True)

    def _failed(self, member, error):
        failed = ChordError(f"Dependency {member} raised {error!r}")
        failed.__cause__ = error
        return failed

    def __reduce__(self, args=(), kwargs=None):
        return super().__reduce__(args, dict(kwargs or {}, expires=self.expires, url=self.url))


def _lifetime(expires):
    """Seconds, as settings have them: zero and none are for ever."""
    seconds = expires.total_seconds() if hasattr(expires, "total_seconds") else expires
    return seconds or None
