"""What kombu sees of the embedded store: the transport of `sqlite:///relative.db` and `sqlite:////absolute/path.db`.

Differences from a broker that is a server:

- A message with an ETA is held by the store's schedule until it is due.
- Bindings live in the process that has declared them. A task for an exchange to which nothing is bound here is refused, because nobody
  can say where it belongs; what is not a task (events) is dropped then, as AMQP does.
- There are no broadcasts. Revoking tasks is state of the store; other remote control is refused, and so are fan-out queues. A stock
  worker therefore starts without remote control, mingle and gossip by itself.
- A worker's deliveries are its own for as long as its process renews their lease (30 s, or the transport option `lease`); closing the
  connection gives them back at once.
"""
import os
import socket
import sqlite3
import time
from collections import deque
from queue import Empty

from kombu.exceptions import ChannelError
from kombu.transport import virtual
from kombu.utils.json import loads

from celeriac.sqlite import lending, place, queues, revocations, wake
from celeriac.sqlite.errors import StoreError, Unavailable
from celeriac.sqlite.messages import NewMessage
from celeriac.sqlite.store import open_store
from celeriac.sqlite.transaction import now

# For how long a revocation is remembered, in seconds; as the worker's setting `task_revoke_expires`.
_REVOKED_FOR = 7 * 24 * 60 * 60
# For how long it is told of a task that it was revoked.
_DAY = 24 * 60 * 60
# How long to wait for room, in seconds: workers before Celery 5.7 settle between two calls of `drain_events` what has ended meanwhile.
_FULL = 0.1
# Messages taken in one transaction, at most; those that are not handed over yet are lent already.
_BATCH = 16


class QoS(virtual.QoS):
    """Settles with the store, which returns by itself what is never settled."""

    restore_at_shutdown = False

    def ack(self, delivery_tag):
        self.channel.consumer.acknowledge(delivery_tag)
        self._settled(delivery_tag)

    def reject(self, delivery_tag, requeue=False):
        if requeue:
            self.channel.consumer.give_back(delivery_tag)
        else:
            self.channel.consumer.acknowledge(delivery_tag)
        self._settled(delivery_tag)

    def _settled(self, delivery_tag):
        super().ack(delivery_tag)
        # There is room again. A pool settles in another thread than the one that waits for messages.
        self.channel.connection.look_again()


class Channel(virtual.Channel):
    QoS = QoS
    do_restore = False
    # Bodies are kept as they are.
    body_encoding = None
    from_transport_options = ("deadletter_queue", "lease")
    # For how long deliveries are this channel's if nobody renews that, in seconds.
    lease = lending.LEASE
    # The lease of what this channel holds, once it consumes.
    consumer = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.store = self.connection.store
        # Lent and not handed over yet, with their queues.
        self._taken = deque()
        # Queues whose messages are settled as they are handed over.
        self._unacknowledged = set()

    # Publishing.

    def basic_publish(self, message, exchange, routing_key, **kwargs):
        self._inplace_augment_message(message, exchange, routing_key)
        if exchange and self.state.exchanges.get(exchange, {}).get("type") == "fanout":
            return self._broadcast(message, exchange)
        found = self._lookup(exchange, routing_key)
        if not found and _is_task(message):
            raise ChannelError(
                f"no queue of this process is bound to the exchange {exchange!r} with the routing key {routing_key!r}, and the embedded "
                "store keeps no bindings: send the task to a queue"
            )
        self.store.publish([NewMessage(queue, message) for queue in found])

    def _put(self, queue, message, **kwargs):
        self.store.publish([NewMessage(queue, message)])

    def _broadcast(self, message, exchange):
        """What would go to every worker: a revocation is state of the store, and the rest cannot be done."""
        asked = loads(message["body"]) if message.get("content-type") == "application/json" else {}
        method, arguments = asked.get("method"), asked.get("arguments") or {}
        if method is None:
            raise _refused(f"a message to all queues of {exchange}")
        if method != "revoke" or asked.get("destination") or asked.get("pattern"):
            raise _refused(f"the command {method} to workers" if method != "revoke" else "revoking on some workers only")
        terminate = bool(arguments.get("terminate"))
        if terminate and arguments.get("signal") not in (None, "SIGTERM", "TERM"):
            raise _refused(f"terminating with {arguments['signal']}")
        tasks = arguments["task_id"]
        self.revoke([tasks] if isinstance(tasks, str) else tasks, terminate)

    def revoke(self, tasks, terminate):
        """Removes what waits of these tasks, and lets the workers stop or forget the rest; says of which nothing is left."""
        with self.store.writing() as tx:
            gone = [task for task in tasks if revocations.revoke(tx, task, terminate, _REVOKED_FOR)]
            revocations.tell(tx, gone, _DAY)
        return gone

    # Queues.

    def queue_bind(self, queue, exchange=None, routing_key="", arguments=None, **kwargs):
        if self.state.exchanges.get(exchange, {}).get("type") == "fanout":
            raise _refused(f"binding the queue {queue} to the fan-out exchange {exchange}")
        return super().queue_bind(queue, exchange, routing_key, arguments, **kwargs)

    def _new_queue(self, queue, **kwargs):
        if not self._has_queue(queue):
            with self.store.writing() as tx:
                tx.queue(queue)

    def _has_queue(self, queue, **kwargs):
        with self.store.connection() as connection:
            return queues.find(connection, queue) is not None

    def _size(self, queue):
        with self.store.connection() as connection:
            return queues.size(connection, queue)

    def _purge(self, queue):
        return queues.purge(self.store, queue)

    def _delete(self, queue, *args, **kwargs):
        self._purge(queue)

    # Consuming.

    def basic_consume(self, queue, no_ack, *args, **kwargs):
        super().basic_consume(queue, no_ack, *args, **kwargs)
        if no_ack:
            self._unacknowledged.add(queue)
        self._begin().consume(self._active_queues)

    def basic_cancel(self, consumer_tag):
        super().basic_cancel(consumer_tag)
        # What was handed over and is not settled yet stays ours; the rest is for others.
        while self._taken:
            self.consumer.give_back(_tag(self._taken.pop()[1]), counts=False)
        if self.consumer is not None and not self.closed:
            self.consumer.consume(self._active_queues)

    def _begin(self):
        if self.consumer is None:
            self.consumer = lending.Consumer(self.store, self.connection.name, self.lease)
        return self.consumer

    def basic_get(self, queue, no_ack=False, **kwargs):
        consumer = self._begin()
        consumer.consume([queue])
        try:
            for _, found in consumer.take(1):
                message = self.Message(found, channel=self)
                if no_ack:
                    consumer.acknowledge(message.delivery_tag)
                else:
                    self.qos.append(message, message.delivery_tag)
                return message
            return None
        finally:
            consumer.consume(self._active_queues)

    def drain_events(self, timeout=None, callback=None):
        """Hands over one message, if there is one and it may."""
        if not self._consumers or not self.qos.can_consume():
            raise Empty()
        if not self._taken:
            self._taken.extend(self.consumer.take(min(_BATCH, self.qos.can_consume_max_estimate() or _BATCH)))
        if not self._taken:
            raise Empty()
        queue, message = self._taken.popleft()
        if queue in self._unacknowledged:
            self.consumer.acknowledge(_tag(message))
        (callback or self.connection._deliver)(message, queue)

    def is_full(self):
        """Whether it takes nothing before something is settled."""
        return bool(self._consumers) and not self.qos.can_consume()

    def close(self):
        if not self.closed and self.consumer is not None:
            self.consumer.close()
            self.consumer = None
            self._taken.clear()
        super().close()


class Transport(virtual.Transport):
    Channel = Channel
    can_parse_url = True
    driver_type = driver_name = "sqlite"
    connection_errors = (*virtual.Transport.connection_errors, Unavailable)
    channel_errors = (*virtual.Transport.channel_errors, StoreError)
    # Opened with the connection.
    store = None
    # What a thread waits for in `drain_events`.
    _bell = None

    # Exchanges and bindings by file.
    _states = {}

    def establish_connection(self):
        self.store = open_store(place.path_of(self.client.hostname))
        self.state = self._states.setdefault(self.store.path, self.state)
        self.name = f"celery@{socket.gethostname()}:{os.getpid()}"
        return super().establish_connection()

    def driver_version(self):
        return sqlite3.sqlite_version

    def drain_events(self, connection, timeout=None):
        """Hands over the next message, or raises `socket.timeout`: once the time is up, and soon if only settling would make room."""
        until = None if timeout is None else time.monotonic() + timeout
        # The bell comes first, then the look: what is published after the look rings.
        bell = self._bell = self.store.listen(wake.READY)
        try:
            while True:
                try:
                    return self.cycle.get(self._deliver)
                except Empty:
                    left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    raise socket.timeout()
                if any(channel.is_full() for channel in self.channels):
                    bell.wait(_FULL if left is None else min(left, _FULL))
                    raise socket.timeout()
                bell.wait(self._until_change(left))
        finally:
            self._bell = None
            self.store.leave(bell)

    def look_again(self):
        """Lets the thread that waits in `drain_events`, if there is one, look whether it may take more."""
        bell = self._bell
        if bell is not None:
            bell.ring()

    def _until_change(self, left):
        """How long to wait at most: until something changes without anybody doing anything, or the time is up."""
        consumers = [channel.consumer for channel in self.channels if channel.consumer is not None]
        changes = [change for change in (consumer.next_change() for consumer in consumers) if change is not None]
        waits = [max(0.0, (change - now()) / 1e6) for change in changes] + ([] if left is None else [left])
        return min(waits, default=None)


def _tag(message):
    return message["properties"]["delivery_tag"]


def _is_task(message):
    return "task" in message["headers"] or "task" in (message.get("body") or "")


def _refused(what):
    return StoreError(f"the embedded store carries no broadcasts: {what} is not possible; use `celeriac inspect` and `celeriac revoke`")
