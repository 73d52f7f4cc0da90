"""Results: stored, read, waited for, forgotten."""
import time
from contextlib import closing

from celeriac.sqlite import sweep, wake
from celeriac.sqlite.errors import TooLarge
from celeriac.sqlite.key import key_of
from celeriac.sqlite.messages import LIMIT
from celeriac.sqlite.statements import SQL
from celeriac.sqlite.transaction import after, now

# How firmly a record stands: any other replaces it, a final one does, nothing does.
_OPEN, _FINAL, _SUCCESS = range(3)
_FINALITY = {"SUCCESS": _SUCCESS, "FAILURE": _FINAL, "REVOKED": _FINAL}
# New results read in one go.
_FEED_STEP = 1000


class NewResult:
    """A result as it is stored: the record is JSON as Celery's key-value backends write it, compressed or not."""

    def __init__(self, task, state, record, expires=None):
        if len(record) > LIMIT:
            raise TooLarge(f"the result of task {task} has {len(record)} bytes, and the store takes {LIMIT}")
        self.key, self.record, self.expires = key_of(task), record, expires
        self.finality = _FINALITY.get(state, _OPEN)


def insert(tx, results):
    """Stores these, as far as what is there gives way."""
    minutes = {}
    for result in results:
        number, expires_at = tx.number(), after(tx.now, result.expires)
        tx.run("result_store", number, result.key, result.finality, expires_at, result.record, tx.now)
        first, _ = minutes.get(sweep.minute(expires_at), (number, number))
        minutes[sweep.minute(expires_at)] = first, number
        if result.finality != _OPEN:
            tx.touched.add(wake.RESULTS)
    for minute, (first, last) in minutes.items():
        tx.run("result_expiry", minute, first, last)
    if minutes:
        sweep.results(tx, len(results))


def get(connection, task):
    """The record of a task; none if there is none, or it has expired."""
    return connection.value(SQL["result_get"], (key_of(task), now()))


def wait(store, tasks, timeout=None, tick=None):
    """The final records of these tasks with their ids, as they come; after the timeout no more of them.

    `tick`, if given, is a pair: a function that is called whenever so many seconds have passed without a new one.
    """
    keys = {key_of(task): task for task in tasks}
    until = None if timeout is None else time.monotonic() + timeout
    with closing(_Feed(store)) as feed:
        found = feed.final(list(keys))
        while True:
            for key, record in found:
                if key in keys:
                    yield keys.pop(key), record
            if not keys:
                return
            left = None if until is None else until - time.monotonic()
            if left is not None and left <= 0:
                return
            found = feed.next(keys, left if tick is None else min(tick[1], tick[1] if left is None else left))
            if not found and tick is not None:
                tick[0]()


class _Feed:
    """Reads what is new since it was made."""

    def __init__(self, store):
        # The pipe comes first, then the look: what is stored after the look rings.
        self.store, self.bell = store, store.listen(wake.RESULTS)
        self.looked = time.monotonic()
        with store.connection() as connection:
            self.last = connection.value(SQL["result_last"]) or 0

    def final(self, keys):
        with self.store.connection() as connection:
            moment = now()
            found = ((key, connection.value(SQL["result_get_final"], (key, moment))) for key in keys)
            return [(key, record) for key, record in found if record is not None]

    def next(self, keys, timeout):
        """Waits until something is new, at most this long; answers what of it is final and of these keys."""
        rung, moment = self.bell.wait(timeout), time.monotonic()
        if not rung and moment - self.looked < wake.ANYWAY:
            return []
        self.looked, new = moment, set()
        with self.store.connection() as connection:
            while True:
                rows = connection.rows(SQL["result_feed"], (self.last, _FEED_STEP))
                new.update(key for _, key in rows if key in keys)
                if rows:
                    self.last = rows[-1][0]
                if len(rows) < _FEED_STEP:
                    break
        return self.final(new)

    def close(self):
        self.store.leave(self.bell)
