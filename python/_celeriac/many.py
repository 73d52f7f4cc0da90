"""A child that runs several tasks at once: the main thread hears the parent, and each task runs somewhere beside it.

A task that is to stop is stopped in its child, as far as that can be done; the others go on.
"""
import json
import os
import signal
import socket
import time

from _celeriac import native
from _celeriac.child import Child, plain
from _celeriac.endings import ending_of, escaped


class Run:
    """A task that runs, from when it was given."""

    def __init__(self):
        # What ends it before its time, and the ending that this is; nothing until then.
        self.blow = self.ending = None


class Many(Child):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.running = {}
        # How many tasks were given whose end the parent has not been told.
        self.unsaid = 0
        self.counting = native.allocate_lock()

    def prepare(self):
        """Makes ready what the main process of a stock worker has before its first task.

        It has no processes of its own then, and is the main process: so it is called, and may start processes.
        Source: celery/worker/consumer/consumer.py, `Consumer.update_strategies`, Celery 5.7.0.
        """
        from celery.app.trace import build_tracer

        for name, task in self.app.tasks.items():
            task.__trace__ = build_tracer(name, task, self.app.loader, self.node, app=self.app)

    def handle_signals(self):
        super().handle_signals()
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    def on_exit(self, signum, frame):
        # An exception would end up in whatever runs in this thread now.
        if not self.is_ending:
            self.is_ending = True
            self.end(-(256 - signum))
        os._exit(70)

    def serve(self):
        """Hears the parent until it was told to stop and the last task is done."""
        while self.hear_frames(self.reader.take()):
            pass

    def hear_frames(self, frames):
        """Obeys; whether there is more to hear."""
        if frames is None:
            if self.is_stopping and not self.unsaid:
                return False
            os._exit(0)
        for head, body in frames:
            self.hear_frame(head, body)
        return not (self.is_stopping and not self.unsaid)

    def hear_frame(self, head, body):
        kind = head["type"]
        if kind == "job":
            with self.counting:
                self.unsaid += 1
            run = self.running[head["id"]] = self.make_run()
            self.begin(head, body, run)
        elif kind == "stop":
            self.is_stopping = True
        elif kind == "cancel":
            run = self.running.get(head["id"])
            if run is not None:
                self.stop(run, head["reason"])
        elif kind == "confirm" and head["id"] in self.running:
            self.say("confirmed", id=head["id"])

    def make_run(self):
        return Run()

    def begin(self, head, body, run):
        """Has this task executed."""
        raise NotImplementedError

    def stop(self, run, reason):
        """Stops a task, if that can be done."""

    def execute(self, head, body, run):
        """Runs a task to its end, and says how it ended."""
        from celery.app.trace import fast_trace_task

        task, began, seconds = head["id"], time.monotonic(), None
        try:
            size = head["headers"]
            message = json.loads(body[:size])
            request = self.request(head, message)
            self.say("started", id=task)
            failed, value, seconds = self.trace(
                run, fast_trace_task, head["task"], task, request, plain(message, body[size:]),
                message.get("content-type", "application/json"), message.get("content-encoding", "utf-8"),
            )
            ending = ending_of(failed, value, head["shows"])
        except BaseException as error:
            ending = run.ending if run.ending is not None and error is run.blow else escaped(error)
        self.finish(task, ending, seconds or time.monotonic() - began)

    def trace(self, run, trace, *arguments):
        if run.blow is not None:
            raise run.blow
        return trace(*arguments)

    def finish(self, task, ending, seconds):
        # First forgotten: once its end has been said, it may be given again.
        self.running.pop(task, None)
        try:
            self.done(task, ending, seconds)
        except OSError:
            os._exit(0)
        with self.counting:
            self.unsaid -= 1
            is_last = self.is_stopping and not self.unsaid
        if is_last:
            # Whoever waits for the parent wakes up.
            self.channel.shutdown(socket.SHUT_RD)

    def end(self, code):
        """The end of the main process of a stock worker, whose programs have exit handlers."""
        import atexit
        import sys

        try:
            self.before_end()
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xff)

    def before_end(self):
        """Does what the stock pool does when it stops."""


def stopped_for(reason):
    """How a task ends that its child has stopped for this reason."""
    if reason["why"] == "hard-time-limit":
        return {"time-limit-exceeded": {"limit": reason["limit"]}}
    return "revoked"
