"""Queues that pass with whoever consumes from them: of pidboxes, replies and events.

Nothing of them is stored. What they are bound to is heard from then on, as broadcasts of the store; what comes while they are not
looked at for more than 30 seconds is lost.
"""
import logging
import uuid
from collections import deque

from celeriac.sqlite import bindings, broadcasts, messages, wake

_log = logging.getLogger(__name__)


def carries(exchange):
    """Whether what is sent to an exchange, as it was declared, is told to those who listen; other exchanges have queues of the file only.

    Those for replies are direct ones that are not durable: kombu/pidbox.py, `Mailbox._get_reply_exchange`, kombu 5.3.4 to 5.7.0.
    """
    return exchange.get("type") in ("fanout", "topic") or exchange.get("durable") is False


class PassingQueue:
    def __init__(self, store, name, goes_with_consumer):
        self.store, self.name, self.goes_with_consumer = store, name, goes_with_consumer
        # Those who listen for it, by what they listen to, each with the routing keys that it wants.
        self._listeners = {}
        # Heard and not handed over yet.
        self._heard = deque()

    def bind(self, exchange, kind, routing_key):
        """Listens to what the exchange sends to such bindings. One that is there already stays."""
        if kind == "direct":
            topics = (wake.KEYED if routing_key else wake.BROADCAST,)
            self._listen(exchange, broadcasts.pattern_of(routing_key), topics, routing_key)
        else:
            self._listen(exchange, "*", (wake.BROADCAST, wake.KEYED), None if kind == "fanout" else routing_key)

    def _listen(self, exchange, keys, topics, wanted):
        if (exchange, keys) not in self._listeners:
            self._listeners[exchange, keys] = broadcasts.Listener(self.store, exchange, keys, topics), set()
        self._listeners[exchange, keys][1].add(wanted)

    def bells(self):
        return [bell for listener, _ in self._listeners.values() for bell in listener.bells]

    def take(self):
        """The next message, as kombu's virtual transports have it, or none."""
        while not self._heard:
            for listener, wanted in self._listeners.values():
                for routing_key, head, body in listener.take():
                    if any(_matches(pattern, routing_key) for pattern in wanted):
                        self._hear(listener.exchange, routing_key, head, body)
            if not any(listener.has_more() for listener, _ in self._listeners.values()):
                break
        return self._heard.popleft() if self._heard else None

    def _hear(self, exchange, routing_key, head, body):
        try:
            message = messages.as_kombu(head, body, self.name, str(uuid.uuid4()), False)
        except (ValueError, AttributeError, TypeError) as error:
            _log.warning("a broadcast to %s is passed over: it is no message (%s)", exchange, error)
            return
        message["properties"]["delivery_info"].update(exchange=exchange, routing_key=routing_key)
        self._heard.append(message)

    def give_back(self, message):
        message["properties"]["delivery_info"]["redelivered"] = True
        self._heard.appendleft(message)

    def purge(self):
        """Forgets what waits, and says how much."""
        count = 0
        while self.take() is not None:
            count += 1
        return count

    def close(self):
        while self._listeners:
            listener, _ = self._listeners.popitem()[1]
            listener.close()


def _matches(wanted, routing_key):
    return wanted is None or bindings.matches("topic", wanted, routing_key)
