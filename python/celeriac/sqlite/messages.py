"""Messages: kombu's become rows, and rows become kombu's."""
from datetime import datetime

from kombu.utils.json import dumps, loads

from celeriac.sqlite import wake
from celeriac.sqlite.errors import TooLarge
from celeriac.sqlite.key import key_of

# The largest message or result that is taken, in bytes, headers included.
LIMIT = 64 << 20
# The bits of a rank that hold the age of a message: what came first has less. Above them, 9 - priority.
_AGE_BITS = 55
_AGE_MASK = (1 << _AGE_BITS) - 1
# What is left out of a head: its default is that of JSON.
_DEFAULTS = {"content-type": "application/json", "content-encoding": "utf-8"}
# What kombu's virtual transports add for themselves.
_TRANSPORTS_OWN = ("body_encoding", "delivery_tag")


class NewMessage:
    """A message as it is stored, made of one as kombu's virtual transports have it."""

    def __init__(self, queue, message):
        headers = {name: value for name, value in message["headers"].items() if value is not None}
        properties = {
            name: value for name, value in message["properties"].items()
            if value is not None and name not in _TRANSPORTS_OWN
        }
        head = {"headers": headers, "properties": properties}
        for name, default in _DEFAULTS.items():
            if message.get(name) not in (None, default):
                head[name] = message[name]
        task = headers.get("id")
        self.queue = queue
        self.task = None if task is None else key_of(task)
        self.priority = _priority(properties.get("priority"))
        self.due = _due(headers.get("eta"))
        self.head = dumps(head, separators=(",", ":")).encode()
        body = message["body"]
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        size = len(self.head) + len(self.body)
        if size > LIMIT:
            raise TooLarge(f"the message of task {task} has {size} bytes, and the store takes {LIMIT}")


def _priority(value):
    return max(0, min(9, value)) if isinstance(value, int) else 0


def _due(eta):
    """The moment of an ETA in microseconds. One without an offset from UTC is the worker's to understand."""
    if not isinstance(eta, str):
        return None
    try:
        moment = datetime.fromisoformat(eta[:-1] + "+00:00" if eta.endswith("Z") else eta)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return int(moment.timestamp()) * 1_000_000 + moment.microsecond


def insert(tx, messages):
    """Makes the rows of these messages."""
    for message in messages:
        queue, number = tx.queue(message.queue), tx.number()
        due = message.due if message.due is not None and message.due > tx.now else None
        age = min(number if due is None else due, _AGE_MASK)
        rank = (9 - message.priority) << _AGE_BITS | age
        tx.run("publish_message", number, message.task, queue, rank, due, message.head, message.body)
        if due is None:
            tx.run("publish_ready", queue, rank, number)
        else:
            tx.run("publish_delayed", due, number, queue, rank)
    if messages:
        # Those who wait for the next due time have to look at it anew, too.
        tx.touched.add(wake.READY)


def as_kombu(head, body, queue, tag, redelivered):
    """A stored message as kombu's virtual transports hand it over."""
    head = loads(head)
    properties = head.get("properties") or {}
    delivery = properties.get("delivery_info") or {}
    delivery = {"exchange": "", "routing_key": queue, **delivery, "redelivered": redelivered}
    return {
        "body": body,
        "headers": head.get("headers") or {},
        "properties": {**properties, "delivery_info": delivery, "delivery_tag": tag},
        **{name: head.get(name) or default for name, default in _DEFAULTS.items()},
    }
