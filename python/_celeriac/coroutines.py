"""Coroutines under Celery's tracer, which knows functions only.

The tracer runs on a thread, one for each task that runs, as in the stock pool of threads; where it calls the task, it gets a
function that lets the coroutine run on the event loop and waits for its end. So every step around the task is Celery's own,
in each of its releases; an own tracer that awaits would have to follow them. The price is a thread for each coroutine that
runs, and two changes of threads for each task.

The request of a task is kept by thread in Celery. Here it is kept by run, which the context of the coroutine carries, so that
`self.request` is the right one on the thread, in the coroutine, in the tasks of `asyncio` that it starts, and in
`asyncio.to_thread`.
"""
import asyncio
import concurrent.futures
import contextvars
import functools
import inspect
import threading

from billiard.exceptions import SoftTimeLimitExceeded

from _celeriac.many import Run

_current = contextvars.ContextVar("celeriac-run", default=None)


def is_coroutine(task):
    """Whether a task is an `async def`, whatever Celery has wrapped around it."""
    return inspect.iscoroutinefunction(inspect.unwrap(task.run))


def can_be_told_apart(task):
    """Whether requests can be kept by run: not with the stacks that `USE_FAST_LOCALS` asks for."""
    return hasattr(task.request_stack, "__ident_func__")


def adapt(app):
    """Lets the tracer of each coroutine wait for it. To be done before tracers are built."""
    from celery import _state

    _state._task_stack.__ident_func__ = _ident
    for task in app.tasks.values():
        task.request_stack.__ident_func__ = _ident
        if is_coroutine(task):
            # Inside of what retries for `autoretry_for`, which is to see what the coroutine raises.
            name = "_orig_run" if hasattr(task, "_orig_run") else "run"
            setattr(task, name, _waiting(getattr(task, name)))


def _ident():
    return _current.get() or threading.get_ident()


def _waiting(function):
    @functools.wraps(function)
    def run(*args, **kwargs):
        result = function(*args, **kwargs)
        current = _current.get()
        if current is None or current.thread != threading.get_ident() or not inspect.iscoroutine(result):
            # Whoever calls it elsewhere awaits it, as a coroutine awaits another.
            return result
        return current.wait_for(result)

    return run


class CoroutineRun(Run):
    """A task whose coroutine runs on a loop, and whose tracer on a thread."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.thread = self.task = self.error = self.value = None
        # What is to be raised in it next instead of a cancellation.
        self.thrown = None
        self.has_begun = False
        self.ended = threading.Event()

    def trace(self, trace, *arguments):
        """Runs the tracer on this thread."""
        self.thread = threading.get_ident()
        token = _current.set(self)
        try:
            return trace(*arguments)
        finally:
            _current.reset(token)

    def wait_for(self, coroutine):
        """What the coroutine returns or raises on the loop."""
        # With the context of this thread.
        self.loop.call_soon_threadsafe(self.start, coroutine)
        self.ended.wait()
        error, self.error = self.error, None
        if error is None:
            return self.value
        if isinstance(error, asyncio.CancelledError) and self.blow is not None:
            raise self.blow
        if isinstance(error, asyncio.CancelledError):
            # It was not stopped: a cancellation of its own is a failure like others.
            raise concurrent.futures.CancelledError() from error
        raise error

    def start(self, coroutine):
        self.task = self.loop.create_task(self.drive(coroutine))

    async def drive(self, coroutine):
        self.has_begun = True
        try:
            if self.thrown or self.blow:
                coroutine.close()
                raise self.thrown or self.blow
            self.value = await _Stoppable(coroutine, self)
        except BaseException as error:
            # `SystemExit` as well, which would end the loop with all others on it.
            self.error = error
            if isinstance(error, _SoftLimit):
                # As callers know it.
                self.error = SoftTimeLimitExceeded(*error.args).with_traceback(error.__traceback__)
        finally:
            self.task = None
            self.ended.set()

    def limit(self):
        """Raises `SoftTimeLimitExceeded` in the coroutine, where it waits."""
        self.thrown = _SoftLimit()
        self.cancel()

    def cancel(self):
        """Cancels the coroutine. One that has not begun looks itself."""
        if self.has_begun and self.task is not None:
            self.task.cancel()

    def instead_of(self, error):
        """What is raised in the coroutine where the loop raises this."""
        if self.thrown is None or not isinstance(error, asyncio.CancelledError):
            return error
        thrown, self.thrown = self.thrown, None
        # It is no cancellation for those who ask, such as `asyncio.timeout`.
        getattr(self.task, "uncancel", int)()
        return thrown


class _SoftLimit(SoftTimeLimitExceeded, asyncio.CancelledError):
    """A soft limit where a coroutine waits. Whatever cleans up after cancellations does so after this too."""


class _Stoppable:
    """Awaits a coroutine, and raises in it what its run says."""

    def __init__(self, coroutine, run):
        self.coroutine, self.run = coroutine, run

    def __await__(self):
        step, value = self.coroutine.send, None
        while True:
            try:
                waits_for = step(value)
            except StopIteration as end:
                return end.value
            try:
                step, value = self.coroutine.send, (yield waits_for)
            except BaseException as error:
                step, value = self.coroutine.throw, self.run.instead_of(error)
