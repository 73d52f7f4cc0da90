"""One connection to the file, and how it waits for others."""
import random
import sqlite3
import time
from contextlib import contextmanager

from celeriac.sqlite import place

# What remains of a log file after it was written back, in bytes.
_LOG_SIZE_LIMIT = 64 << 20
# Cached pages, in KiB; taken as they are needed.
_CACHE_KIB = 2048
# Prepared statements kept: all there are.
_STATEMENTS = 160
# SQLite has no queue of those who wait for a lock, so they have to try. The first naps are shorter than a commit; jitter keeps two waiters
# from missing the same gaps.
_SHORTEST_NAP, _LONGEST_NAP = 0.000_05, 0.002


class Connection:
    """Used by one thread at a time, not necessarily the one that has opened it."""

    def __init__(self, path, deadline):
        self.path, self.deadline = path, deadline
        try:
            self.raw = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=_STATEMENTS,
            )
            self.run("PRAGMA synchronous = NORMAL")
            self.run(f"PRAGMA journal_size_limit = {_LOG_SIZE_LIMIT}")
            self.run(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self.run("PRAGMA temp_store = MEMORY")
        except sqlite3.Error as error:
            raise place.explain(path, error) from error
        # Which file it is, once it is there.
        self.file = None
        # What it has found of bindings: `bindings.py`.
        self.bindings = {}

    def close(self):
        self.raw.close()

    def patiently(self, action):
        """Does something that others may be in the way of, until the deadline."""
        until = time.monotonic() + self.deadline
        attempt = 0
        while True:
            try:
                return action()
            except sqlite3.Error as error:
                if not place.is_busy(error) or time.monotonic() >= until:
                    raise place.explain(self.path, error) from error
            nap = min(_SHORTEST_NAP * 2 ** min(attempt // 8, 8), _LONGEST_NAP)
            time.sleep(nap * (0.5 + random.random()))
            attempt += 1

    def run(self, sql, parameters=()):
        return self.patiently(lambda: self.raw.execute(sql, parameters))

    def rows(self, sql, parameters=()):
        return self.patiently(lambda: self.raw.execute(sql, parameters).fetchall())

    def row(self, sql, parameters=()):
        found = self.rows(sql, parameters)
        return found[0] if found else None

    def value(self, sql, parameters=()):
        """The first column of the first row; none if there is no row."""
        found = self.row(sql, parameters)
        return found and found[0]

    @contextmanager
    def reading(self):
        """One look: what others commit meanwhile is not seen."""
        self.run("BEGIN")
        try:
            yield
        finally:
            self.run("COMMIT")

    @contextmanager
    def writing(self):
        """A write transaction, which is taken back if anything goes wrong."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            # Some errors have rolled back by themselves.
            if self.raw.in_transaction:
                self.raw.execute("ROLLBACK")
            raise
