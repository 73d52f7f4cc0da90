"""What kombu sees of the embedded store: the transport of `sqlite:///relative.db` and `sqlite:////absolute/path.db`.

Differences from a broker that is a server:

- A message with an ETA is held by the store's schedule until it is due.
- Bindings of queues are kept in the file, for all processes, and any of them may remove one. A task for an exchange to which no queue is bound is refused, because
  nobody can say where it belongs; what is not a task (events) is dropped then, as AMQP does.
- What is said to everybody (remote control, replies to it, events) reaches those who listen at that moment, for 30 seconds at most:
  queues that are declared as exclusive or to be deleted automatically, and bound to an exchange that is a fan-out or topic one or not
  durable, are not stored (`passing.py`). Other queues that are bound to a fan-out exchange get a copy each, as in AMQP.
- Revoking tasks is state of the store too, whether a worker hears of it or not.
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

from celeriac.passing import PassingQueue, carries
from celeriac.sqlite import bindings, broadcasts, lending, place, queues, revocations, wake
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
        if not self.channel.settle_passing(delivery_tag):
            self.channel.consumer.acknowledge(delivery_tag)
        self._settled(delivery_tag)

    def reject(self, delivery_tag, requeue=False):
        if self.channel.settle_passing(delivery_tag, requeue):
            pass
        elif requeue:
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
        # What is not settled of passing queues: queues and messages by their tags.
        self._unsettled = {}

    # Publishing.

    def basic_publish(self, message, exchange, routing_key, **kwargs):
        self._inplace_augment_message(message, exchange, routing_key)
        declared = self.state.exchanges.get(exchange) or {}
        if declared.get("type") == "fanout":
            return self._broadcast(message, exchange, routing_key)
        found = self._lookup(exchange, routing_key)
        is_heard = carries(declared) and broadcasts.send(self.store, exchange, routing_key or "", message)
        if found:
            self.store.publish([NewMessage(queue, message) for queue in found])
        elif not is_heard and _is_task(message):
            raise ChannelError(
                f"no queue is bound to the exchange {exchange!r} with the routing key {routing_key!r}: send the task to a queue"
            )

    def _lookup(self, exchange, routing_key, default=None):
        found = self._bound(exchange, routing_key) if exchange else ()
        return found or super()._lookup(exchange, routing_key, default)

    def _bound(self, exchange, routing_key):
        """The queues that are bound to an exchange with such a key, by whatever process."""
        found = bindings.find(self.store, exchange, routing_key or "")
        try:
            found.update(self.typeof(exchange).lookup(self.get_table(exchange), exchange, routing_key, None))
        except KeyError:
            pass
        return found

    def _put(self, queue, message, **kwargs):
        self.store.publish([NewMessage(queue, message)])

    def _broadcast(self, message, exchange, routing_key):
        """Tells everybody who listens. A revocation holds for those who do not, too."""
        revoked, terminate = _revoked(message) if exchange.endswith(".pidbox") else ([], False)
        if revoked:
            self.revoke(revoked, False)
        bound = self._bound(exchange, routing_key)
        if bound:
            self.store.publish([NewMessage(queue, message) for queue in bound])
        is_heard = broadcasts.send(self.store, exchange, routing_key or "", message)
        if terminate and not is_heard:
            # Those who hear it do so themselves, and reply.
            self.revoke(revoked, True)

    def revoke(self, tasks, terminate):
        """Removes what waits of these tasks, and lets the workers stop or forget the rest; says of which nothing is left."""
        with self.store.writing() as tx:
            gone = [task for task in tasks if revocations.revoke(tx, task, terminate, _REVOKED_FOR)]
            revocations.tell(tx, gone, _DAY)
        return gone

    # Queues.

    def queue_bind(self, queue, exchange=None, routing_key="", arguments=None, **kwargs):
        declared = self.state.exchanges.get(exchange) or {}
        goes_with_consumer = self.connection.fleeting.get(queue)
        if goes_with_consumer is not None and carries(declared):
            passing = self.connection.passing.get(queue)
            if passing is None:
                passing = self.connection.passing[queue] = PassingQueue(self.store, queue, goes_with_consumer)
            return passing.bind(exchange, declared["type"], routing_key or "")
        if goes_with_consumer is not None:
            self._make(queue)
        if goes_with_consumer is not None or not exchange:
            return super().queue_bind(queue, exchange, routing_key, arguments, **kwargs)
        bindings.add(self.store, queue, exchange, declared.get("type") or "direct", routing_key or "")
        # Known here, but left to the file when something is published: another process may unbind it.
        self.state.binding_declare(queue, exchange, routing_key, arguments)

    def queue_unbind(self, queue, exchange=None, routing_key="", arguments=None, **kwargs):
        if exchange:
            bindings.remove(self.store, queue, exchange, routing_key or "")
        return super().queue_unbind(queue, exchange, routing_key, arguments, **kwargs)

    def exchange_delete(self, exchange, if_unused=False, **kwargs):
        if if_unused and bindings.is_bound(self.store, exchange):
            return
        bindings.remove_exchange(self.store, exchange)
        if exchange in self.state.exchanges:
            super().exchange_delete(exchange, **kwargs)

    def list_bindings(self):
        return list(self.state.bindings)

    def _new_queue(self, queue, auto_delete=False, exclusive=False, **kwargs):
        if auto_delete or exclusive:
            # What it is bound to says what becomes of it.
            self.connection.fleeting[queue] = bool(auto_delete)
        elif not self._has_queue(queue):
            self._make(queue)

    def _make(self, queue):
        with self.store.writing() as tx:
            tx.queue(queue)

    def _has_queue(self, queue, **kwargs):
        if queue in self.connection.fleeting:
            return True
        with self.store.connection() as connection:
            return queues.find(connection, queue) is not None

    def queue_delete(self, queue, if_unused=False, if_empty=False, **kwargs):
        self.connection.fleeting.pop(queue, None)
        passing = self.connection.passing.pop(queue, None)
        if passing is None:
            super().queue_delete(queue, if_unused, if_empty, **kwargs)
            if not (if_empty and self._size(queue)):
                bindings.remove_queue(self.store, queue)
            return
        passing.close()

    def _size(self, queue):
        with self.store.connection() as connection:
            return queues.size(connection, queue)

    def _purge(self, queue):
        passing = self.connection.passing.get(queue)
        if passing is not None:
            return passing.purge()
        return queues.purge(self.store, queue)

    def _delete(self, queue, *args, **kwargs):
        self._purge(queue)

    # Consuming.

    def basic_consume(self, queue, no_ack, *args, **kwargs):
        super().basic_consume(queue, no_ack, *args, **kwargs)
        if no_ack:
            self._unacknowledged.add(queue)
        if queue not in self.connection.passing:
            self._begin().consume(self._stored_queues())

    def _stored_queues(self):
        return [queue for queue in self._active_queues if queue not in self.connection.passing]

    def basic_cancel(self, consumer_tag):
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        # What was handed over and is not settled yet stays ours; the rest is for others.
        while self._taken:
            self.consumer.give_back(_tag(self._taken.pop()[1]), counts=False)
        if self.consumer is not None and not self.closed:
            self.consumer.consume(self._stored_queues())
        passing = self.connection.passing.get(queue)
        if passing is not None and passing.goes_with_consumer and queue not in self._active_queues:
            self.queue_delete(queue)

    def _begin(self):
        if self.consumer is None:
            self.consumer = lending.Consumer(self.store, self.connection.name, self.lease)
        return self.consumer

    def basic_get(self, queue, no_ack=False, **kwargs):
        if queue in self.connection.passing:
            found = self._take_passing(queue, no_ack)
            message = found and self.Message(found, channel=self)
            if message and not no_ack:
                self.qos.append(message, message.delivery_tag)
            return message
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
            consumer.consume(self._stored_queues())

    def _take_passing(self, queue, no_ack):
        found = self.connection.passing[queue].take()
        if found is not None and not no_ack:
            self._unsettled[_tag(found)] = queue, found
        return found

    def settle_passing(self, delivery_tag, requeue=False):
        """Settles what came from a passing queue; says whether it did."""
        if isinstance(delivery_tag, int):
            return False
        queue, message = self._unsettled.pop(delivery_tag, (None, None))
        if requeue and queue in self.connection.passing:
            self.connection.passing[queue].give_back(message)
        return True

    def drain_events(self, timeout=None, callback=None):
        """Hands over one message, if there is one and it may."""
        if not self._consumers or not self.qos.can_consume():
            raise Empty()
        deliver = callback or self.connection._deliver
        for queue in self._active_queues:
            if queue in self.connection.passing:
                message = self._take_passing(queue, queue in self._unacknowledged)
                if message is not None:
                    return deliver(message, queue)
        if self.consumer is None:
            raise Empty()
        if not self._taken:
            self._taken.extend(self.consumer.take(min(_BATCH, self.qos.can_consume_max_estimate() or _BATCH)))
        if not self._taken:
            raise Empty()
        queue, message = self._taken.popleft()
        if queue in self._unacknowledged:
            self.consumer.acknowledge(_tag(message))
        deliver(message, queue)

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
    implements = virtual.Transport.implements.extend(exchange_type=frozenset(["direct", "topic", "fanout"]))
    # Opened with the connection.
    store = None
    # What a thread waits for in `drain_events`.
    _bell = None

    # Exchanges and bindings by file.
    _states = {}

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Queues that may pass, and whether with their last consumer or with this connection; and those that do.
        self.fleeting, self.passing = {}, {}

    def establish_connection(self):
        self.store = open_store(place.path_of(self.client.hostname))
        self.state = self._states.setdefault(self.store.path, self.state)
        self.name = f"celery@{socket.gethostname()}:{os.getpid()}"
        return super().establish_connection()

    def close_connection(self, connection):
        super().close_connection(connection)
        while self.passing:
            self.passing.popitem()[1].close()

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
                heard = [bell for queue in self.passing.values() if queue.name in self._callbacks for bell in queue.bells()]
                if wake.wait_for_any([bell, *heard], self._until_change(left)):
                    bell.silence()
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
    body = message.get("body") or ""
    return "task" in message["headers"] or (b"task" if isinstance(body, bytes) else "task") in body


def _revoked(message):
    """The tasks that a message to all workers revokes, and whether it terminates them."""
    asked = loads(message["body"]) if message.get("content-type") == "application/json" else {}
    if asked.get("method") != "revoke" or asked.get("destination") or asked.get("pattern"):
        return [], False
    arguments = asked.get("arguments") or {}
    tasks = arguments.get("task_id") or []
    return [tasks] if isinstance(tasks, str) else tasks, bool(arguments.get("terminate"))
