"""One write transaction, seen from what is done in it."""
import time

from celeriac.sqlite.statements import SQL

# Kept for ever.
FOREVER = 2**63 - 1


def now():
    """Microseconds since the Unix epoch."""
    return time.time_ns() // 1000


def after(moment, seconds):
    """The moment so many seconds later; none is never."""
    return FOREVER if seconds is None else min(FOREVER, moment + int(seconds * 1_000_000))


class Transaction:
    """What the steps of one transaction have in common."""

    def __init__(self, connection):
        self.connection = connection
        self.now = now()
        # Topics whose waiters are to be woken after the commit.
        self.touched = set()
        self._stored = self._last = None

    def run(self, name, *parameters):
        """Runs a statement once and says how many rows it changed."""
        return self.connection.run(SQL[name], parameters).rowcount

    def insert(self, name, *parameters):
        """Inserts a row and answers its number."""
        return self.connection.run(SQL[name], parameters).lastrowid

    def rows(self, name, *parameters):
        return self.connection.rows(SQL[name], parameters)

    def row(self, name, *parameters):
        return self.connection.row(SQL[name], parameters)

    def value(self, name, *parameters):
        return self.connection.value(SQL[name], parameters)

    def number(self):
        """A number that was never given out before, higher than all before it and not below the clock's microseconds."""
        if self._last is None:
            self._stored = self.value("number_read")
            # One below the clock: a message published now is not younger than one that is due now.
            self._last = max(self._stored, self.now - 1)
        self._last += 1
        return self._last

    def queue(self, name):
        """The id of a queue, which is made if it is not there."""
        found = self.value("queue_find", name)
        if found is not None:
            return found
        self.connection.bindings.clear()
        return self.insert("queue_create", name)

    def seal(self):
        """The last thing before the commit."""
        if self._last is not None:
            self.run("number_write", self._last)
