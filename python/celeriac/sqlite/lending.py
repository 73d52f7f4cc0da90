"""Consuming: messages are lent to a consumer for as long as its lease is renewed.

The same rules as in `crates/store/src/sqlite/fetch`, `lending.rs` and `lease.rs`.
"""
import logging
import os
import threading
import uuid

from celeriac.sqlite import messages, sweep, wake
from celeriac.sqlite.errors import StoreError
from celeriac.sqlite.statements import SQL
from celeriac.sqlite.transaction import after, now

# For how long deliveries are ours, in seconds, and how often that is renewed meanwhile.
LEASE, _RENEWALS = 30.0, 3
# Messages that are moved from the schedule to their queues in one transaction. More of them follow in the next.
_DUE_STEP = 2000
# A batch takes no further message once it has this many bytes.
_BATCH_BYTES = 16 << 20

_log = logging.getLogger(__name__)


class Consumer:
    """Takes messages from queues. What it holds and has not settled goes back to them when it is closed, or its lease runs out."""

    def __init__(self, store, worker, lease=LEASE):
        self.store, self.worker, self.lease = store, worker, lease
        # The names of its queues by their ids, in the order they were named.
        self.queues = {}
        # A process that was forked has this object, and not what it holds.
        self._process = os.getpid()
        with store.writing() as tx:
            self.id = self._register(tx)
        self._closed = threading.Event()
        threading.Thread(target=self._renew_on, name="celeriac-lease", daemon=True).start()

    def _register(self, tx):
        consumer = tx.insert("consumer_create", self.worker, after(tx.now, self.lease))
        for queue in self.queues:
            tx.run("consumer_queue", consumer, queue)
        return consumer

    def consume(self, queues):
        """Takes from these queues from now on."""
        with self.store.writing() as tx:
            self.queues = {tx.queue(name): name for name in queues}
            tx.run("consumer_remove_queues", self.id)
            for queue in self.queues:
                tx.run("consumer_queue", self.id, queue)

    def take(self, limit):
        """Takes up to so many: the highest priorities, then the longest waiting. Answers names of queues, and messages as kombu's
        virtual transports have them."""
        # A consumer that was woken for another one's work must not take the write lock from it.
        if not self._has_work():
            return []
        with self.store.writing() as tx:
            if tx.row("consumer_exists", self.id) is None:
                # The lease was lost, and with it what was held.
                self.id = self._register(tx)
            self._reap(tx)
            _make_due_ready(tx)
            found = [self._message(tx, row) for row in self._claim(tx, limit)]
        return [message for message in found if message is not None]

    def _has_work(self):
        change = self.next_change()
        if change is not None and change <= now():
            return True
        with self.store.connection() as connection:
            return any(connection.row(SQL["ready_any"], (queue,)) for queue in self.queues)

    def next_change(self):
        """When something changes without anybody doing anything: a message is due, or another consumer's lease runs out."""
        with self.store.connection() as connection:
            due = connection.value(SQL["due_first"])
            expiry = connection.value(SQL["consumer_next_expiry"], (self.id,))
        return min((moment for moment in (due, expiry) if moment is not None), default=None)

    def _claim(self, tx, limit):
        last, lent = tx.value("claim_last_tag") or 0, 0
        for queue, share in self._shares(tx, limit):
            lent += tx.run("claim_lend", self.id, queue, share)
        rows, size = [], 0
        for row in tx.rows("claim_read", last) if lent else ():
            if size >= _BATCH_BYTES:
                tx.run("claim_unlend", rows[-1][0])
                break
            size += len(row[4]) + len(row[5])
            rows.append(row)
        # The tags of a queue are in the order of its messages: its last one ends what was taken of it.
        for queue, (_, rank, message, *_) in {row[6]: row for row in rows}.items():
            tx.run("claim_remove", queue, rank, message)
        return sorted(rows, key=lambda row: row[1:3])

    def _shares(self, tx, limit):
        """How many to take from the head of each queue."""
        if len(self.queues) == 1:
            return [(queue, limit) for queue in self.queues]
        heads = [(*head, queue) for queue in self.queues for head in tx.rows("claim_candidates", queue, limit)]
        chosen = [queue for _, _, queue in sorted(heads)[:limit]]
        return [(queue, chosen.count(queue)) for queue in self.queues if queue in chosen]

    def _message(self, tx, row):
        tag, _, message, deliveries, head, body, queue = row
        try:
            found = messages.as_kombu(head, body, self.queues[queue], tag, deliveries > 1)
        except (ValueError, AttributeError, TypeError) as error:
            reason = f"the stored bytes are not a message ({error}): look at what published them, then drop them"
            tx.run("settle_failed", tag, tx.number(), uuid.uuid4().bytes, tx.now, "undecodable", reason, b"{}")
            _acknowledge(tx, tag)
            return None
        task = tx.value("message_task", message)
        if task is not None and tx.row("revoked_is", task, tx.now) is not None:
            # Stock workers know no store that says so. Of an expired task they store that it is revoked, and tell whoever waits for it.
            found["headers"]["expires"] = "1970-01-01T00:00:00+00:00"
        return self.queues[queue], found

    def acknowledge(self, tag):
        """Removes a message for good, if it is still ours."""
        with self.store.writing() as tx:
            _acknowledge(tx, tag)

    def give_back(self, tag, counts=True):
        """Lets others have a message, if it is still ours; that delivery counts or does not."""
        with self.store.writing() as tx:
            tx.run("settle_back", tag, int(not counts))
            tx.run("settle_tag", tag)
            tx.touched.add(wake.READY)

    def _renew_on(self):
        while not self._closed.wait(self.lease / _RENEWALS):
            try:
                with self.store.writing() as tx:
                    renewed = tx.run("consumer_extend", self.id, after(tx.now, self.lease))
                    self._reap(tx)
                    sweep.step(tx)
                if not renewed:
                    _log.warning("the lease of %s was lost: what it holds is delivered again", self.worker)
            except StoreError:
                _log.exception("the lease of %s could not be renewed", self.worker)

    def _reap(self, tx):
        """Ends every other consumer whose lease ran out."""
        for consumer, worker in tx.rows("consumer_expired", tx.now, self.id):
            returned = _remove(tx, consumer, 0)
            _log.warning("the lease of %s ran out: %s deliveries went back to their queues", worker, returned)

    def close(self):
        """Gives back what it holds; these deliveries do not count."""
        if os.getpid() != self._process:
            return
        self._closed.set()
        with self.store.writing() as tx:
            _remove(tx, self.id, 1)


def _acknowledge(tx, tag):
    tx.run("settle_message", tag)
    tx.run("settle_tag", tag)


def _remove(tx, consumer, subtract):
    returned = tx.run("consumer_give_back", consumer, subtract)
    for name in ("consumer_take_away", "consumer_remove", "consumer_remove_queues"):
        tx.run(name, consumer)
    if returned:
        tx.touched.add(wake.READY)
    return returned


def _make_due_ready(tx):
    """Moves what is due to its queue, for everybody."""
    first = tx.value("due_first")
    if first is None or first > tx.now:
        return
    moved = tx.run("due_to_ready", tx.now, _DUE_STEP)
    due, message = tx.row("due_last", tx.now, moved)
    tx.run("due_remove", due, message)
    tx.touched.add(wake.READY)
