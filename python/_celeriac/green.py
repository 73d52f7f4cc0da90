"""The children of `-P gevent` and `-P eventlet`: each task runs in a greenlet.

The stock pools end a greenlet that is terminated, that of gevent also one beyond its hard time limit. Here both do both, and
raise the soft limit too.

Source: celery/concurrency/gevent.py and celery/concurrency/eventlet.py, Celery 5.7.0.
"""
from _celeriac import frames, native
from _celeriac.many import Many, stopped_for


class _Reader(frames.Reader):
    """Lets other greenlets run while there is nothing to read."""

    def __init__(self, channel, wait):
        super().__init__(channel)
        self.wait = wait

    def _receive(self):
        self.wait(self.channel.fileno())
        return super()._receive()


class _Green(Many):
    def start(self):
        self.reader = _Reader(self.channel, self.wait_for)
        super().start()

    def start_beat(self, seconds):
        # Not a greenlet: one task that keeps the others waiting would stop it.
        native.start_new_thread(self.beat, (seconds,))

    def prepare(self):
        from celery._state import _set_task_join_will_block

        super().prepare()
        _set_task_join_will_block(False)

    def stop(self, run, reason):
        why = reason["why"]
        if run.blow is not None or why == "shutdown":
            return
        if why == "soft-time-limit":
            from billiard.exceptions import SoftTimeLimitExceeded

            return self.throw(run, SoftTimeLimitExceeded())
        run.blow = self.timeout(reason) if why == "hard-time-limit" else self.exit()
        run.ending = stopped_for(reason)
        self.throw(run, run.blow)

    def trace(self, run, trace, *arguments):
        # From here on it can be thrown at.
        run.has_begun = True
        return super().trace(run, trace, *arguments)

    def throw(self, run, error):
        if getattr(run, "has_begun", False):
            self.throw_at(run.greenlet, error)
        elif run.blow is None:
            run.blow = error

    def exit(self):
        from greenlet import GreenletExit

        return GreenletExit()


class Gevent(_Green):
    def wait_for(self, descriptor):
        from gevent import socket

        socket.wait_read(descriptor)

    def begin(self, head, body, run):
        import gevent

        run.greenlet = gevent.spawn(self.execute, head, body, run)

    def throw_at(self, greenlet, error):
        greenlet.kill(error, block=False)

    def timeout(self, reason):
        from gevent import Timeout

        limit = reason["limit"]
        return Timeout(limit["secs"] + limit["nanos"] / 1e9)


class Eventlet(_Green):
    def prepare(self):
        import eventlet.hubs
        from celery import signals

        # That of the template waits with a descriptor which both would have.
        eventlet.hubs.use_hub()
        super().prepare()
        signals.eventlet_pool_started.send(sender=self)

    def wait_for(self, descriptor):
        from eventlet import hubs

        hubs.trampoline(descriptor, read=True)

    def begin(self, head, body, run):
        import eventlet
        from celery import signals

        signals.eventlet_pool_apply.send(sender=self, target=self.execute, args=(head, body), kwargs={})
        run.greenlet = eventlet.spawn(self.execute, head, body, run)

    def throw_at(self, greenlet, error):
        from eventlet import greenthread

        greenthread.kill(greenlet, error)

    def timeout(self, reason):
        from eventlet import Timeout

        # Without seconds, because one that has them starts to count.
        return Timeout(None)

    def before_end(self):
        from celery import signals

        signals.eventlet_pool_preshutdown.send(sender=self)
        signals.eventlet_pool_postshutdown.send(sender=self)
