"""The child of `async def` tasks: all of them run on one event loop, in its main thread.

It is a child of the prefork pool in everything else. The loop is the current one while `worker_process_init` and
`worker_process_shutdown` are sent, and does not run then: their receivers may run coroutines to their end on it.
"""
import asyncio
from concurrent.futures import ThreadPoolExecutor

from _celeriac import coroutines
from _celeriac.child import Child
from _celeriac.many import Many, stopped_for


class Stopped(BaseException):
    """Ends the tracer of a task that was stopped."""


def new_event_loop(conf):
    """The kind of loop that the setting `worker_event_loop` names: `asyncio`, or `uvloop`."""
    name = conf.get("worker_event_loop") or "asyncio"
    if name == "asyncio":
        return asyncio.new_event_loop()
    if name != "uvloop":
        raise ValueError(f"worker_event_loop is asyncio or uvloop, not {name!r}")
    import uvloop

    return uvloop.new_event_loop()


class Loop(Many):
    end = Child.end

    def prepare(self):
        self.loop = new_event_loop(self.app.conf)
        asyncio.set_event_loop(self.loop)
        coroutines.adapt(self.app)
        self.executor = ThreadPoolExecutor(self.birth["jobs"])
        Child.prepare(self)

    def serve(self):
        self.loop.add_reader(self.channel.fileno(), self.hear_readable)
        if self.reader.received:
            self.loop.call_soon(self.hear_readable)
        self.loop.run_forever()
        self.loop.remove_reader(self.channel.fileno())

    def hear_readable(self):
        if not self.hear_frames(self.reader.take()):
            self.loop.stop()

    def make_run(self):
        return coroutines.CoroutineRun(self.loop)

    def begin(self, head, body, run):
        self.executor.submit(self.execute, head, body, run)

    def trace(self, run, trace, *arguments):
        return run.trace(super().trace, run, trace, *arguments)

    def stop(self, run, reason):
        why = reason["why"]
        if run.blow is not None or why == "shutdown":
            return
        if why == "soft-time-limit":
            return run.limit()
        run.blow, run.ending = Stopped(), stopped_for(reason)
        run.cancel()
