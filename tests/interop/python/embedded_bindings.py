"""Scenarios of bindings on the embedded store. Usage: embedded_bindings.py NAME"""
import subprocess
import sys

from embedded import FILE, URL, app, look, refused, send


def bindings_are_kept():
    from kombu import Exchange, Queue

    refused(lambda: send("rust.add", 1, 1, exchange="nobody", routing_key="knows"), "no queue is bound to the exchange 'nobody'")
    # What another process has bound has its queues.
    bind = """
import sys
from kombu import Connection, Exchange, Queue
with Connection(sys.argv[1]) as connection:
    for queue, exchange, kind, routing_key in [
        ("feeds", "feeds", "topic", "feed.#"), ("all", "feeds", "topic", "#"), ("one", "papers", "direct", "daily"),
        ("news", "news", "fanout", ""), ("more", "news", "fanout", ""),
    ]:
        Queue(queue, Exchange(exchange, type=kind), routing_key=routing_key)(connection.default_channel).declare()
"""
    for _ in range(2):
        subprocess.run([sys.executable, "-c", bind, URL], check=True)
    with app.connection() as connection:
        channel = connection.default_channel
        for exchange, kind in [("feeds", "topic"), ("papers", "direct"), ("news", "fanout")]:
            Exchange(exchange, type=kind)(channel).declare()
        send("rust.add", 1, 1, exchange="feeds", routing_key="feed.tea")
        send("rust.add", 1, 1, exchange="feeds", routing_key="other")
        send("rust.add", 1, 1, exchange="papers", routing_key="daily")
        send("rust.add", 1, 1, exchange="news", routing_key="any")
        # By its own name, too.
        send("rust.add", 1, 1, exchange="more", routing_key="more")
        refused(lambda: send("rust.add", 1, 1, exchange="papers", routing_key="weekly"), "with the routing key 'weekly'")
        counts = {name: channel.queue_declare(name, passive=True).message_count for name in ("feeds", "all", "one", "news", "more")}
        assert counts == {"feeds": 1, "all": 2, "one": 1, "news": 1, "more": 2}, counts
        refused(lambda: channel.queue_declare("nowhere", passive=True), "NOT_FOUND")
        Queue("all", channel=channel).unbind_from(Exchange("feeds", type="topic"), routing_key="#")
        Queue("one", channel=channel).delete()
        assert look("SELECT exchange, routing_key FROM binding ORDER BY 1, 2") == [("feeds", "feed.#"), ("news", ""), ("news", "")]


def bindings_are_changed_by_any_process():
    """Also by one that has not declared the exchange, and for the one that has made the binding."""
    from kombu import Exchange, Queue

    change = """
import sys
from kombu import Connection, Exchange, Queue
url, action, queue, exchange, kind, routing_key = sys.argv[1:]
with Connection(url) as connection:
    queue = Queue(queue, Exchange(exchange, type=kind), routing_key=routing_key)(connection.default_channel)
    if action == "bind":
        queue.declare()
    else:
        queue.unbind_from(queue.exchange, routing_key=routing_key)
"""

    def elsewhere(action, *binding):
        subprocess.run([sys.executable, "-c", change, URL, action, *binding], check=True)

    with app.connection() as connection:
        channel = connection.default_channel
        for kind, wanted in [("direct", "daily"), ("topic", "*"), ("fanout", "")]:
            name = f"{kind}s"
            here = Queue(name, Exchange(name, type=kind), routing_key=wanted)(channel)

            def arrives(name=name):
                send("rust.add", 1, 1, exchange=name, routing_key="daily")
                return channel.queue_purge(name) == 1

            here.declare()
            assert arrives()
            elsewhere("unbind", name, name, kind, wanted)
            if kind == "fanout":
                assert not arrives()
            else:
                refused(arrives, "no queue is bound")
            elsewhere("bind", name, name, kind, wanted)
            assert arrives()
            here.unbind_from(here.exchange, routing_key=wanted)
            assert look("SELECT count(*) FROM binding") == [(0,)]
            here.declare()
            here.exchange.delete(if_unused=True)
            assert arrives()
            here.exchange.delete()
            assert look("SELECT count(*) FROM binding") == [(0,)]


def bindings_are_read_when_they_have_changed():
    from celeriac.sqlite import bindings
    from celeriac.sqlite.store import Store, open_store

    store, other = open_store(FILE), Store(FILE)
    statements = []
    with store.connection() as connection:
        connection.raw.set_trace_callback(statements.append)

    def found(exchange, routing_key=""):
        statements.clear()
        queues = bindings.find(store, exchange, routing_key)
        return queues, sum("FROM binding" in statement for statement in statements)

    bindings.add(store, "one", "news", "fanout", "")
    assert found("news") == ({"one"}, 1)
    assert found("news") == ({"one"}, 0)
    # Nobody says of other stores what they write, and SQLite nothing of what this one does.
    for changing in (other, store):
        bindings.add(changing, "two", "news", "fanout", "")
        assert found("news") == ({"one", "two"}, 1)
        bindings.remove(changing, "two", "news", "")
        assert found("news") == ({"one"}, 1)
        bindings.remove_queue(changing, "one")
        assert found("news") == (set(), 1)
        bindings.add(changing, "one", "news", "fanout", "")
        assert found("news") == ({"one"}, 1)
        # A queue is bound to the exchange of its name.
        name = "made by another" if changing is other else "made here"
        assert found(name, name) == (set(), 1)
        with changing.writing() as tx:
            tx.queue(name)
        assert found(name, name) == ({name}, 1)
        assert found(name, name) == ({name}, 0)
    found("news")
    for number in range(bindings._MOST):
        found("news", str(number))
    assert len(connection.bindings) <= bindings._MOST
    other.close()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
