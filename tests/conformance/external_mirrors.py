"""What tests read of the worker in their own process, kept up to date with the external worker."""
import os
import threading
import time

from redis import Redis

# Where the store of our worker keeps revocations; crates/store/src/redis/keys.rs, `own`.
_REVOKED = "celeriac:{tasks}:revoked"


class Events(threading.Thread):
    """Listens to the events of the external worker: counts them, and mirrors the tasks that have succeeded.

    Some tests wait until an id is in `celery.worker.state.successful_requests`, which only a worker in their process fills. The
    same fact is public as the event `task-succeeded`.
    """

    def __init__(self, broker_url):
        super().__init__(daemon=True, name="conformance-events")
        self.broker_url = broker_url
        self.count = 0
        self.kinds = {}
        self.errors = []
        self.is_stopping = False
        self.ready = threading.Event()

    def run(self):
        from celery import Celery

        app = Celery("conformance-events", broker=self.broker_url, set_as_current=False)
        app.conf.accept_content = ["json", "pickle"]

        class Receiver(app.events.Receiver):
            def on_consume_ready(receiver, connection, channel, consumers, **kwargs):
                self.ready.set()

            @property
            def should_stop(receiver):
                return self.is_stopping

            @should_stop.setter
            def should_stop(receiver, value):
                pass

        while not self.is_stopping:
            try:
                with app.connection_for_read() as connection:
                    receiver = Receiver(connection, handlers={"*": self.see})
                    for _ in receiver.itercapture(limit=None, timeout=None, wakeup=False):
                        pass
            except Exception as error:
                self.errors.append(repr(error))
                time.sleep(0.2)

    def see(self, event):
        from celery.worker import state

        kind = event.get("type", "?")
        if not kind.startswith("task-"):
            return
        self.count += 1
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if kind == "task-succeeded":
            state.successful_requests.add(event["uuid"])


class RevokedStamps(dict):
    """`celery.worker.state.revoked_stamps`, whose emptying replaces the external worker.

    The suite empties the map of the worker in its process between two steps. No command of remote control does that. A new
    process of a stock worker has an empty one; ours keeps revocations in its store, so they are removed from there, too.
    """

    def __init__(self, replace):
        super().__init__()
        self.replace = replace

    def clear(self):
        super().clear()
        with Redis.from_url(os.environ["TEST_BROKER"]) as store:
            for stamp, _ in store.zscan_iter(_REVOKED, match="celeriac-stamp:*"):
                store.zrem(_REVOKED, stamp)
        self.replace("revoked_stamps.clear()")
