"""Broadcasts: rows that everybody who listens reads, and nobody takes away.

The same rules as in `crates/store/src/sqlite/broadcasts.rs` and `listener.rs`: who listens is a row with a lease, what nobody listens to
is not written, and what is written is kept for a moment.
"""
import logging
import os
import time

from celeriac.sqlite import messages, sweep, wake
from celeriac.sqlite.statements import SQL
from celeriac.sqlite.transaction import after, now

# How long a broadcast is kept for those who listen, and for how long one who does not look counts as such, in seconds.
_KEPT_FOR = _LEASE = 30.0
_RENEW_EVERY = 10.0
# How much of one exchange is kept, in bytes; what a broadcast counts for at the least; and the largest.
_KEPT_BYTES = 32 << 20
_LEAST_WEIGHT = _KEPT_BYTES // 1024
_LARGEST = 4 << 20
# How many are removed at most to make room for one.
_TRIM_STEP = 2 * _LARGEST // _LEAST_WEIGHT
# Broadcasts read in one go.
_FEED_STEP = 16

_log = logging.getLogger(__name__)


def send(store, exchange, routing_key, message):
    """Tells whoever listens, and says whether somebody does. What is too large is told to nobody."""
    with store.connection() as connection:
        if not _is_heard(connection, exchange, routing_key):
            return False
    new = messages.NewMessage(None, message)
    size = len(new.head) + len(new.body)
    if size > _LARGEST:
        _log.warning("a broadcast to %s is passed over: it has %s bytes", exchange, size)
        return False
    with store.writing() as tx:
        # Whoever listened may have left meanwhile.
        heard = _is_heard(tx.connection, exchange, routing_key)
        if heard:
            _insert(tx, exchange, routing_key, new, max(size, _LEAST_WEIGHT))
    return heard


def _is_heard(connection, exchange, routing_key):
    return connection.row(SQL["listener_any"], (exchange, routing_key, now())) is not None


def _insert(tx, exchange, routing_key, new, weight):
    ends = (tx.value("broadcast_last", exchange) or 0) + weight
    expires_at = after(tx.now, _KEPT_FOR)
    tx.run("broadcast_add", tx.number(), exchange, routing_key, expires_at, ends, new.head, new.body)
    if tx.value("broadcast_first", exchange) <= ends - _KEPT_BYTES:
        tx.run("broadcast_trim", exchange, ends - _KEPT_BYTES, _TRIM_STEP)
    sweep.broadcasts(tx, 1)
    tx.touched.add(wake.KEYED if routing_key else wake.BROADCAST)


def pattern_of(routing_key):
    """What matches this routing key alone, for GLOB."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in routing_key)


class Listener:
    """Hears what is sent to an exchange, from its making on, for as long as it is asked every few seconds."""

    def __init__(self, store, exchange, keys, topics=(wake.BROADCAST, wake.KEYED)):
        """`keys` is a pattern of GLOB that routing keys have to match; `topics` is what may be sent to such."""
        self.store, self.exchange, self.keys = store, exchange, keys
        # A process that was forked has this object, and is not the one that listens.
        self._process = os.getpid()
        # They come first: what is sent after the row is there rings them.
        self.bells = [wake.Bell(store.path, topic) for topic in topics]
        with store.writing() as tx:
            sweep.listeners(tx)
            self.id = tx.insert("listener_add", exchange, keys, after(tx.now, _LEASE))
            # What comes after this number is sent after this.
            self._read_until = tx.number()
        self._renewed = self._looked = time.monotonic()
        self._may_have_more = False

    def take(self):
        """What was sent since the last time: routing keys, heads and bodies. Asks the file only if it may have something."""
        moment = time.monotonic()
        if moment - self._renewed >= _RENEW_EVERY:
            self._renew(moment)
        # Every one of them, or one would ring on.
        rung = [bell.wait(0) for bell in self.bells]
        if not (self._may_have_more or any(rung) or moment - self._looked >= wake.ANYWAY):
            return []
        self._looked = moment
        with self.store.connection() as connection:
            found = connection.rows(SQL["broadcast_feed"], (self.exchange, self._read_until, now(), _FEED_STEP))
        self._may_have_more = len(found) == _FEED_STEP
        if found:
            self._read_until = found[-1][0]
        return [(routing_key, head, body) for _, routing_key, _, head, body in found]

    def has_more(self):
        """Whether it is worth asking again at once."""
        return self._may_have_more

    def _renew(self, moment):
        with self.store.writing() as tx:
            tx.run("listener_renew", self.id, self.exchange, self.keys, after(tx.now, _LEASE))
            sweep.listeners(tx)
            sweep.broadcasts(tx, 0)
        self._renewed = moment

    def close(self):
        if os.getpid() != self._process:
            for bell in self.bells:
                bell.leave()
            return
        for bell in self.bells:
            bell.close()
        with self.store.writing() as tx:
            tx.run("listener_remove", self.id)
            tx.run("broadcast_unheard", self.exchange, tx.now)
