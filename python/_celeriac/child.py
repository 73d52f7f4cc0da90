"""A child: runs one task at a time under Celery's own tracer.

The next one may lie ready (see `jobs`): then the end of one task and the start of the next are said at once.

The main thread does everything but the signs of life. What the parent says while a task runs (that it is to stop, or whether
it runs) comes with SIGUSR1, whose handler reads it: so no thread stands between the socket and the task.

Source: celery/concurrency/prefork.py, `process_initializer`, and billiard/pool.py, `Worker`, Celery 5.7.0 and billiard 4.3.2.
"""
import json
import multiprocessing
import os
import signal
import sys
import threading
import time

from _celeriac import frames, jobs, linux, native, results
from _celeriac.endings import ending_of, escaped

# How long the handler of SIGUSR1 waits for the frame that the signal announces, and may have overtaken. One that takes
# longer is heard at the next sign of life.
_ANNOUNCED = 0.2
# The priority that is consumed last on Redis. Source: kombu/transport/redis.py, `Channel.priority`, kombu 5.7.0.
_LOWEST = 9
# The exit code of a process that is told to end a second time, as billiard has it.
_TOLD_TWICE = 70


def live(load, node, parent, birth, descriptors):
    """Lives as a child, to its end. Never returns. `load` gives the application."""
    inherited, stdout, stderr, *ahead = descriptors
    for descriptor, place in ((stdout, 1), (stderr, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    # What comes over a socket would be inherited by programs that a task starts.
    for descriptor in (inherited, *ahead):
        os.set_inheritable(descriptor, False)
    channel = native.socket(fileno=inherited)
    os.setpgid(0, 0)
    _wait_for_parent(parent)
    linux.die_with_parent(parent)
    from _celeriac import pools

    child = pools.child_of(birth)(load, node, birth, channel)
    if ahead:
        child.jobs = jobs.Jobs(native.socket(fileno=ahead[0]))
    code = 0
    try:
        child.start()
        child.serve()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    child.end(code)


def _wait_for_parent(parent):
    """Waits until the process in between is gone."""
    deadline = time.monotonic() + 10
    while os.getppid() != parent and time.monotonic() < deadline:
        time.sleep(0.001)


class Child:
    def __init__(self, load, node, birth, channel):
        self.load, self.node, self.birth, self.channel = load, node, birth, channel
        self.reader = frames.Reader(channel)
        self.sending = native.allocate_lock()
        # Where jobs lie that it may take, if the parent gives it some ahead.
        self.jobs = None
        # Jobs that came over the channel while a task ran, and what is said together with the next thing.
        self.given, self.outbox = [], []
        # What takes the results of tasks, if the parent does.
        self.hand_over = None
        # The id of the task that runs.
        self.current = None
        # What its soft limit has raised in it.
        self.limited = None
        # Whether it ends after this task, and whether it ends now.
        self.is_stopping = self.is_ending = False
        # Whether the parent has said something since it was last heard, and whether it is being heard.
        self.is_announced = self.is_hearing = False

    def say(self, what, **details):
        self.send(frames.encode({what: details}))

    def send(self, *pieces):
        with self.sending:
            self.channel.sendall(b"".join(pieces))

    def flush(self):
        """Says what it has left unsaid."""
        if self.outbox:
            pieces, self.outbox = self.outbox, []
            self.send(*pieces)

    def start(self):
        """Greets the parent, and does what a child of the stock pool does before its first task."""
        self.say("hello", version=frames.VERSION, pid=os.getpid())
        frame = self.reader.read()
        # The worker may have ended meanwhile.
        if frame is None or frame[0]["type"] == "stop":
            os._exit(0)
        self.welcome = frame[0]
        beat = self.welcome["beat"]
        seconds = beat["secs"] + beat["nanos"] / 1e9
        self.start_beat(seconds)
        self.say("phase", phase="import")
        self.app = self.load()
        # kombu counts priorities the other way on Redis, and the parent has turned them.
        self.is_turned = self.app.connection_for_read().get_transport_cls().driver_type == "redis"
        self.say("phase", phase="init")
        self.prepare()
        self.handle_signals()
        self.say("ready", jobs=self.birth["jobs"], memory=linux.resident_memory())

    def start_beat(self, seconds):
        threading.Thread(target=self.beat, args=(seconds,), name="celeriac-beat", daemon=True).start()

    def prepare(self):
        """Makes ready what tasks find in a child of the stock pool."""
        from billiard import util
        from celery.concurrency import prefork

        self.take_name()
        # Celery lets go of connections that its parent has opened.
        util._run_after_forkers()
        prefork.process_initializer(self.app, self.node)
        if self.welcome["takes_results"]:
            self.hand_over = results.HandOver.of(self.app)

    def take_name(self):
        from billiard import process

        me = process.BaseProcess(name=self.birth["name"])
        me.daemon = True
        me.index = self.birth["index"]
        process._current_process, process._children = me, set()
        # The records of `logging` have the name from here.
        multiprocessing.current_process().name = self.birth["name"]

    def handle_signals(self):
        for name in ("SIGTERM", "SIGHUP", "SIGQUIT"):
            signal.signal(getattr(signal, name), self.on_exit)
        signal.signal(signal.SIGUSR1, self.on_announced)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def on_exit(self, signum, frame):
        if self.is_ending:
            os._exit(_TOLD_TWICE)
        self.is_ending = True
        raise SystemExit(-(256 - signum))

    def on_announced(self, signum, frame):
        """The parent has something to say of the task that runs."""
        self.is_announced = True
        self.hear()

    def hear(self):
        """Reads what has been announced; not while no task runs, and not in the middle of itself."""
        if self.is_hearing or self.current is None:
            return
        self.is_hearing = True
        try:
            while self.is_announced:
                self.is_announced = False
                patience = _ANNOUNCED
                while self.reader.has_more(patience):
                    self.obey(self.reader.read())
                    patience = 0
        finally:
            self.is_hearing = False

    def obey(self, frame):
        if frame is None:
            os._exit(0)
        head = frame[0]
        if head["type"] == "stop":
            self.is_stopping = True
        elif head["type"] == "job":
            self.given.append(frame)
        elif head.get("id") != self.current:
            # It is about a task that has ended.
            return
        elif head["type"] == "confirm":
            self.say("confirmed", id=head["id"])
        elif head["type"] == "cancel":
            self.cancel(head["reason"])

    def cancel(self, reason):
        if reason["why"] == "soft-time-limit":
            from billiard.exceptions import SoftTimeLimitExceeded

            self.limited = SoftTimeLimitExceeded()
            raise self.limited

    def beat(self, seconds):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGQUIT})
        while True:
            native.sleep(seconds)
            try:
                self.say("beat", memory=linux.resident_memory())
            except OSError:
                os._exit(0)
            if self.current is not None and self.reader.has_more(0):
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

    def serve(self):
        """Runs tasks until it is told to stop."""
        from celery.app.trace import fast_trace_task

        while self.given or not self.is_stopping:
            job = self.take()
            if job is None:
                self.flush()
                if self.jobs is not None and not self.reader.has_one() and self.jobs.wait(self.channel):
                    continue
                self.obey(self.reader.read())
            else:
                self.run(*job, fast_trace_task)
        self.flush()

    def take(self):
        """The next job, if there is one."""
        if self.given:
            return self.given.pop(0)
        return self.jobs.take() if self.jobs is not None else None

    def run(self, head, body, trace):
        size = head["headers"]
        task, began, outcome = head["id"], time.monotonic(), None
        # Before the parent knows that it runs, and may have something to say of it.
        self.is_announced, self.limited = False, None
        self.outbox.append(frames.started(task))
        self.flush()
        message = json.loads(body[:size])
        request = self.request(head, message)
        if self.hand_over:
            self.hand_over.begin(task)
        self.current = task
        try:
            # What came between these two.
            self.hear()
            outcome = trace(
                head["task"], task, request, plain(message, body[size:]),
                message.get("content-type", "application/json"), message.get("content-encoding", "utf-8"),
            )
        except BaseException as error:
            self.current = None
            if isinstance(error, SystemExit):
                # The task has lost its process, whoever wanted that. The parent knows, and says how the task has ended.
                raise
            if outcome is None:
                # What reads the arguments says of any error that they can't be read, also of this one.
                # Source: kombu/serialization.py, `_reraise_errors`, kombu 5.7.0.
                return self.done(task, escaped(self.limited or error), time.monotonic() - began)
        self.current = None
        failed, value, seconds = outcome
        record = self.hand_over.end() if self.hand_over else None
        if self.limited is not None and not failed and value is None:
            # It came before the tracer knew its task, and then stores nothing and says that all went well.
            # Source: celery/app/trace.py, `trace_task`, which handles an error only if there is a `task_request`, Celery 5.7.0.
            return self.done(task, escaped(self.limited), time.monotonic() - began)
        ending = ending_of(failed, value, head["shows"])
        self.done(task, ending, seconds or time.monotonic() - began, record or b"")

    def request(self, head, message):
        """What tasks see of their call.

        Source: celery/worker/request.py, `Request.__init__` and `_request_dict`, Celery 5.7.0.
        """
        properties = message.get("properties") or {}
        delivery = properties.get("delivery_info") or {}
        if self.is_turned and properties.get("priority") is not None:
            properties["priority"] = _LOWEST - properties["priority"]
        request = dict(message.get("headers") or {})
        request.update(
            properties=properties,
            reply_to=properties.get("reply_to"),
            correlation_id=properties.get("correlation_id"),
            hostname=self.node,
            delivery_info={
                "exchange": delivery.get("exchange", ""),
                "routing_key": delivery.get("routing_key", head["queue"]),
                "priority": properties.get("priority"),
                "redelivered": head["redelivered"],
            },
        )
        return request

    def done(self, task, ending, seconds, record=b""):
        memory = linux.resident_memory() if self.welcome["measures"] else None
        frame = frames.done(task, ending, seconds, memory, record)
        if self.jobs is None:
            self.send(frame)
        else:
            # With the start of the next one, or before it waits for that.
            self.outbox.append(frame)

    def end(self, code):
        """The orderly end of a child of the stock pool: no exit handlers of the interpreter."""
        from celery.concurrency import prefork

        try:
            self.flush()
            prefork.process_destructor(os.getpid(), code)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xff)


def plain(message, body):
    """The body of a message, which its sender may have compressed."""
    compression = (message.get("headers") or {}).get("compression")
    if not compression:
        return body
    from kombu.compression import decompress

    return decompress(body, compression)
