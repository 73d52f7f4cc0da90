"""Bindings of queues to exchanges, as every process that publishes to an exchange reads them.

Workers write them too: `crates/store/src/sqlite/bindings.rs`.
"""
from kombu.transport.virtual.exchange import TopicExchange

from celeriac.sqlite import queues
from celeriac.sqlite.statements import SQL

_topics = TopicExchange(None)


def add(store, queue, exchange, kind, routing_key):
    """Binds a queue, which is made if it is not there."""
    if _goes_without_saying(queue, exchange, kind, routing_key):
        return
    with store.connection() as connection:
        # Producers declare what they send to, again and again.
        if connection.row(SQL["binding_any"], (exchange, kind, routing_key, queue)):
            return
    with store.writing() as tx:
        tx.run("binding_add", exchange, kind, routing_key, tx.queue(queue))


def remove(store, queue, exchange, kind, routing_key):
    with store.writing() as tx:
        tx.run("binding_remove", exchange, kind, routing_key, queue)


def remove_queue(store, queue):
    """Removes all bindings of a queue."""
    with store.writing() as tx:
        tx.run("binding_remove_queue", queue)


def find(store, exchange, routing_key):
    """The queues that get what is published to this exchange with this key."""
    with store.connection() as connection:
        bound = connection.rows(SQL["binding_list"], (exchange,))
        found = {queue for kind, wanted, queue in bound if matches(kind, wanted, routing_key)}
        if exchange == routing_key and queues.find(connection, exchange) is not None:
            found.add(exchange)
    return found


def matches(kind, wanted, routing_key):
    """Whether a message of this routing key goes where a binding of an exchange of this kind says."""
    if kind == "fanout" or wanted == routing_key:
        return True
    return kind == "topic" and _topics._match(_topics.key_to_pattern(wanted), routing_key) is not None


def _goes_without_saying(queue, exchange, kind, routing_key):
    """Every queue is bound to the direct exchange of its own name."""
    return kind == "direct" and queue == exchange == routing_key
