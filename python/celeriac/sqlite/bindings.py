"""Bindings of queues to exchanges, as every process that publishes to an exchange reads them.

Workers write them too: `crates/store/src/sqlite/bindings.rs`.
"""
from kombu.transport.virtual.exchange import TopicExchange

from celeriac.sqlite import queues
from celeriac.sqlite.statements import SQL

_topics = TopicExchange(None)


# Exchanges and routing keys of which a connection keeps what it has found.
_MOST = 64


def add(store, queue, exchange, kind, routing_key):
    """Binds a queue, which is made if it is not there."""
    if _goes_without_saying(queue, exchange, kind, routing_key):
        return
    with store.connection() as connection:
        # Producers declare what they send to, again and again.
        if connection.row(SQL["binding_any"], (exchange, kind, routing_key, queue)):
            return
    _change(store, lambda tx: tx.run("binding_add", exchange, kind, routing_key, tx.queue(queue)))


def remove(store, queue, exchange, routing_key):
    _change(store, lambda tx: tx.run("binding_remove", exchange, routing_key, queue))


def remove_queue(store, queue):
    """Removes all bindings of a queue."""
    _change(store, lambda tx: tx.run("binding_remove_queue", queue))


def is_bound(store, exchange):
    """Whether any queue is bound to an exchange."""
    with store.connection() as connection:
        return bool(connection.rows(SQL["binding_list"], (exchange,)))


def remove_exchange(store, exchange):
    """Removes all bindings to an exchange."""
    _change(store, lambda tx: tx.run("binding_remove_exchange", exchange))


def _change(store, change):
    with store.writing() as tx:
        tx.connection.bindings.clear()
        change(tx)


def find(store, exchange, routing_key):
    """The queues that get what is published to this exchange with this key: looked for again if anybody has written since."""
    with store.connection() as connection:
        # The version comes first: what is written between the two looks is found now, and looked for once more next time. It does not tell
        # of what this connection writes: transactions that change bindings or queues forget what was found.
        version, kept = connection.value("PRAGMA data_version"), connection.bindings
        found, found_at = kept.get((exchange, routing_key), (None, None))
        if found_at != version:
            found = _look(connection, exchange, routing_key)
            if len(kept) >= _MOST:
                kept.clear()
            kept[exchange, routing_key] = found, version
    return set(found)


def _look(connection, exchange, routing_key):
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
