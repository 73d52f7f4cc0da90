"""One store, as the threads of this process share it."""
import atexit
import os
import threading
from collections import defaultdict, deque
from contextlib import contextmanager

from celeriac.sqlite import messages, place, results, schema, wake
from celeriac.sqlite.connection import Connection
from celeriac.sqlite.errors import StoreError
from celeriac.sqlite.transaction import Transaction

# How long one step may take, waiting for other processes included, in seconds.
DEADLINE = 5.0
# Connections and named pipes that are kept while nobody uses them.
_SPARE = 4

# The stores of this process by their files.
_open = {}
_opening = threading.Lock()
# What is never closed. SQLite's locks are those of a process: closing what a fork has inherited would end those of the parent; and
# closing a file that was replaced would remove the log of the one that lies there now.
_abandoned = []


def open_store(path):
    """The store in this file, which is created if it is not there.

    Raises StoreError, which says what is wrong with the file or its folder.
    """
    path = os.path.realpath(path)
    with _opening:
        store = _open.get(path)
        if store is None:
            schema.check_library()
            store = Store(path)
            with store.connection():
                pass
            _open[path] = store
    return store


class Store:
    """A file. Every thread may use it; a child that was forked has its own connections."""

    def __init__(self, path, deadline=DEADLINE):
        self.path, self.deadline = path, deadline
        self._begin()

    def _begin(self):
        self._connections, self._bells = deque(), defaultdict(deque)
        self._mine = threading.local()

    @contextmanager
    def connection(self):
        """A connection that nobody else uses meanwhile."""
        connection = self._take()
        try:
            yield connection
        except BaseException:
            # Nobody knows how it is.
            connection.close()
            raise
        if len(self._connections) < _SPARE:
            self._connections.append(connection)
        else:
            connection.close()

    def _take(self):
        while True:
            try:
                connection = self._connections.pop()
            except IndexError:
                return self._connect()
            if connection.file == place.identity(self.path):
                return connection
            # The file was removed or replaced; SQLite itself does not notice.
            _abandoned.append(connection)

    def _connect(self):
        connection = Connection(self.path, self.deadline)
        try:
            schema.migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        connection.file = place.identity(self.path)
        return connection

    @contextmanager
    def writing(self):
        """A write transaction; whom it concerns is woken once it is committed."""
        with self.connection() as connection:
            with connection.writing():
                tx = Transaction(connection)
                yield tx
                tx.seal()
        wake.announce(self.path, tx.touched)

    def publish(self, new):
        """Publishes messages: once this returns, they are in the file. While this thread gathers, they wait for that."""
        gathered = getattr(self._mine, "gathered", None)
        if gathered is not None:
            gathered.messages.extend(new)
            return
        with self.writing() as tx:
            messages.insert(tx, new)

    def store_results(self, new):
        """Stores results, as far as what is there gives way: a success stays, and what is final gives way to what is final only.

        While this thread gathers, they wait for that.
        """
        gathered = getattr(self._mine, "gathered", None)
        if gathered is not None:
            gathered.results.extend(new)
            return
        with self.writing() as tx:
            results.insert(tx, new)

    @contextmanager
    def gathering(self):
        """What this thread publishes and stores meanwhile is gathered instead, for one transaction."""
        before = getattr(self._mine, "gathered", None)
        gathered = self._mine.gathered = Gathered()
        try:
            yield gathered
        finally:
            self._mine.gathered = before

    def listen(self, topic):
        """A bell for this topic; to be left when it is not needed any more."""
        while self._bells[topic]:
            try:
                bell = self._bells[topic].pop()
            except IndexError:
                break
            if not bell.is_removed():
                bell.silence()
                return bell
            bell.close()
        return wake.Bell(self.path, topic)

    def leave(self, bell):
        spare = self._bells[bell.topic]
        if bell.is_removed() or len(spare) >= _SPARE:
            bell.close()
        else:
            spare.append(bell)

    def close(self):
        """Closes what nobody uses; the last one to close the file writes its log back."""
        for spare in self._bells.values():
            while spare:
                spare.pop().close()
        while self._connections:
            self._connections.pop().close()

    def forked(self):
        """In a child that was forked: leaves to the parent what is the parent's."""
        _abandoned.extend(self._connections)
        for spare in self._bells.values():
            for bell in spare:
                bell.leave()
        self._begin()


class Gathered:
    """Messages and results for one transaction."""

    def __init__(self):
        self.messages, self.results = [], []

    def write(self, tx):
        results.insert(tx, self.results)
        messages.insert(tx, self.messages)


def _after_fork():
    global _opening
    _opening = threading.Lock()
    for store in _open.values():
        store.forked()


@atexit.register
def _at_exit():
    for store in list(_open.values()):
        try:
            store.close()
        except StoreError:
            # What is not closed in order leaves its log, which harms nothing.
            pass


os.register_at_fork(after_in_child=_after_fork)
