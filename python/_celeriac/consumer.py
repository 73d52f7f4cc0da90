"""What commands of an application find where they look for the consumer of the worker, which is no object of Python.

It gives what it can give as it is: the application, names, connections, and the queues, of which the parent does what is asked once
the command has returned. For everything else it says what is missing.

Source: celery/worker/consumer/consumer.py, `Consumer`, Celery 5.7.0.
"""
from kombu import Exchange, Queue

_PARENT = "it belongs to the parent, which is no process of Python"
_POOL = f"{_PARENT}: send it pool_grow, pool_shrink or pool_restart, or ask it for stats"
# Why what commands look for is not here, and what to use in its place.
_MISSING = {
    "pool": _POOL,
    "qos": f"{_PARENT}: the setting worker_prefetch_multiplier says how much it takes ahead, and stats how much that is",
    "timer": f"{_PARENT}: ask it what is scheduled, and use a thread for what is to happen later",
    "hub": f"{_PARENT}: use a thread for what is to happen later",
    "event_dispatcher": f"{_PARENT}: send events with app.events.default_dispatcher()",
    "gossip": "there is none: workers here do not elect",
    "autoscaler": "there is none: send pool_grow and pool_shrink",
    "stats": f"{_PARENT}: ask it for stats",
}
# Parts that a worker of Celery may be without, so that commands look whether they are there.
_OPTIONAL = ("event_dispatcher", "gossip", "pool", "autoscaler", "timer", "hub")


class Missing:
    """Nothing, as a command sees that looks before it uses it; one that does not is told what is missing."""

    def __init__(self, path, why):
        vars(self).update(_path=path, _why=why)

    def __bool__(self):
        return False

    def __getattr__(self, name):
        raise AttributeError(f"a command cannot use {self._path}.{name}: {self._why}")


def _missing(path, name):
    why = _MISSING.get(name, _PARENT)
    if name in _OPTIONAL:
        return Missing(f"{path}.{name}", why)
    raise AttributeError(f"a command cannot use {path}.{name}: {why}")


class Consumer:
    def __init__(self, app, worker):
        self.app, self.hostname = app, worker.hostname
        self.controller = Controller(worker, self)
        self.begin([])

    def begin(self, queues):
        """For the next command. Answers the list of what it will have asked of the parent."""
        self.task_consumer = TaskConsumer(self, queues)
        self._wishes = []
        return self._wishes

    def add_task_queue(self, queue, exchange=None, exchange_type=None, routing_key=None, **options):
        if options:
            raise TypeError(f"queues of this worker have no option {min(options)}")
        binding = {"exchange": getattr(exchange, "name", exchange), "exchange_type": exchange_type, "routing_key": routing_key}
        self._wish("add_consumer", queue=queue, **binding)

    def cancel_task_queue(self, queue):
        self._wish("cancel_consumer", queue=queue)

    def _wish(self, method, **arguments):
        self._wishes.append({"method": method, "arguments": {name: str(it) for name, it in arguments.items() if it is not None}})

    def call_soon(self, p, *args, **kwargs):
        """There is no loop that it could be left to."""
        return p(*args, **kwargs)

    def connection_for_read(self, heartbeat=None):
        return self.app.connection_for_read(heartbeat=heartbeat)

    def connection_for_write(self, url=None, heartbeat=None):
        return self.app.connection_for_write(url=url, heartbeat=heartbeat)

    def reset_rate_limits(self):
        """Does nothing: the parent does it."""

    def __getattr__(self, name):
        return _missing("state.consumer", name)


class Controller:
    """The worker without what is the parent's."""

    def __init__(self, worker, consumer):
        vars(self).update(_worker=worker, consumer=consumer)

    def __getattr__(self, name):
        if name in _MISSING or name in ("blueprint", "semaphore", "state"):
            return _missing("state.consumer.controller", name)
        return getattr(self._worker, name)


class TaskConsumer:
    """The queues that tasks are taken from, as they were when the command came."""

    def __init__(self, consumer, names):
        self._consumer, self._names = consumer, names

    @property
    def queues(self):
        known = self._consumer.app.amqp.queues
        return [known.get(name) or Queue(name, Exchange(name), routing_key=name) for name in self._names]

    def consuming_from(self, queue):
        return getattr(queue, "name", queue) in self._names

    def add_queue(self, queue):
        exchange = queue.exchange
        bound = (exchange.name, exchange.type, queue.routing_key) if exchange and exchange.name else ()
        self._consumer.add_task_queue(queue.name, *bound)
        return queue

    def cancel_by_queue(self, queue):
        self._consumer.cancel_task_queue(getattr(queue, "name", queue))

    def consume(self):
        """Does nothing: the parent does it."""

    def __getattr__(self, name):
        return _missing("state.consumer.task_consumer", name)
