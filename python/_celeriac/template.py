"""The template: loads the application, says what it asks for, and forks the children in which its tasks run.

One thread, one socket: everything is asked and answered in turn. See `pool/prefork/template` on the Rust side.
"""
import gc
import json
import os
import sys
import traceback
import warnings

from _celeriac import frames, linux, native  # noqa: F401, the last before anything is patched

# How long a fresh interpreter may take until it reads what it is, in seconds.
_INTRODUCES = 30


def main(channel):
    """Lives as a template, to its end."""
    parent = int(os.environ.pop("CELERIAC_CHILD_OF"))
    linux.die_with_parent(parent)
    reader = frames.Reader(channel)
    try:
        import celery
    except ImportError as error:
        why = f"{sys.executable} has no Celery: {error}"
        channel.sendall(frames.encode({"type": "hello", "version": frames.VERSION, "pid": os.getpid(), "why": why}))
        os._exit(1)
    hello = {"type": "hello", "version": frames.VERSION, "pid": os.getpid(), "celery": celery.__version__, "why": None}
    channel.sendall(frames.encode(hello))
    from _celeriac import command

    asked = reader.read()
    if asked is None:
        os._exit(0)
    try:
        template = Template(channel, reader, parent, json.loads(asked[1]))
    except command.Refused as error:
        channel.sendall(frames.encode({"type": "failed", "why": str(error), "code": error.code, "traceback": None}))
        os._exit(1)
    except BaseException as error:
        said = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        why = {"type": "failed", "why": f"{type(error).__name__}: {error}", "traceback": said}
        channel.sendall(frames.encode(why))
        os._exit(1)
    template.serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class Template:
    """An application that has been loaded."""

    def __init__(self, channel, reader, parent, start):
        self.channel, self.reader, self.parent = channel, reader, parent
        import celery

        from _celeriac import command, commands, describe, starts, told

        # For an option of the command line, not for the setting; before anything of the application is imported.
        celery.maybe_patch_concurrency(["celery", *start["argv"]])
        from celeriac import names

        # The package may not be installed where the application is.
        names.take_over()
        self.name = next(given for given in start["argv"] if given.startswith("--app="))[len("--app="):]
        self.worker = command.make_worker(start["argv"])
        self.app = self.worker.app
        self.starts = starts.Starts(self.worker)
        self.worker.after_setup()
        self.worker.redirect()
        self.told = told.Told(self.app, self.worker)
        self.commands = commands.Commands(self.app, self.worker)
        description = json.dumps(describe.describe(self.app, self.worker)).encode()
        channel.sendall(frames.encode({"type": "app"}, description))

    def serve(self):
        """Obeys until the parent has closed the socket."""
        while True:
            frame = self.reader.read()
            if frame is None:
                return
            head, _ = frame
            if head["type"] == "fork":
                self.fork(head)
            elif head["type"] == "signal":
                self.send_signal(head["name"], head.get("data") or {})
                self.say(type="signalled", name=head["name"])
            elif head["type"] == "tell":
                with self.starts.of_celery_are_known():
                    done = self.told.hear(head, frame[1])
                self.say(type="told", done=done)
            elif head["type"] == "command":
                came, reply, wishes = self.commands.obey(head["method"], json.loads(frame[1]), head["queues"])
                self.channel.sendall(frames.encode({"type": "obeyed", "came": came, "wishes": wishes}, reply))

    def say(self, **head):
        self.channel.sendall(frames.encode(head))

    def send_signal(self, name, data):
        from celery import signals

        sender = self.worker.hostname if name == "worker_shutting_down" else self.worker
        getattr(signals, name).send(sender=sender, **data)

    def fork(self, head):
        """Forks a child that is the Rust parent's: the process in between ends at once."""
        from celery import signals

        number = head["number"]
        descriptors = self.reader.take_descriptors()
        spawns = self.starts.spawns(head["runs"], [self.channel.fileno(), *descriptors])
        if spawns:
            head["name"] = head["name"].replace("ForkPoolWorker", "SpawnPoolWorker")
        try:
            signals.worker_before_create_process.send(sender=self.worker)
            # What has been loaded is never collected in a child: looking at it would give each a copy of its own.
            gc.collect()
            gc.freeze()
            sys.stdout.flush()
            sys.stderr.flush()
            pid = self.spawn(head, descriptors) if spawns else self.fork_child(head, descriptors)
        except OSError as error:
            self.say(type="fork-failed", number=number, why=str(error))
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        self.say(type="forked", number=number, pid=pid, name=head["name"])

    def fork_child(self, head, descriptors):
        def live():
            self.channel.close()
            from _celeriac import child

            child.live(lambda: self.app, self.worker.hostname, self.parent, head, descriptors)

        return self.fork_twice(live)

    def spawn(self, head, descriptors):
        import socket

        from _celeriac import spawn

        ours, theirs = socket.socketpair()
        with ours, theirs:
            pid = self.fork_twice(lambda: spawn.execute(theirs.fileno()))
            theirs.close()
            child = {"app": self.name, "node": self.worker.hostname, "parent": self.parent, "birth": head}
            ours.settimeout(_INTRODUCES)
            spawn.introduce(ours, child, self.app.conf.changes, descriptors)
        return pid

    def fork_twice(self, live):
        """Starts a process that is the Rust parent's, and does this."""
        told, tell = os.pipe()
        with warnings.catch_warnings():
            # Whether threads stand against it has been looked at.
            warnings.simplefilter("ignore", DeprecationWarning)
            between = os.fork()
        if between == 0:
            try:
                pid = os.fork()
                if pid:
                    os.write(tell, pid.to_bytes(4, "big"))
                    os._exit(0)
                os.close(told)
                os.close(tell)
                live()
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        os.close(tell)
        with open(told, "rb") as pipe:
            pid = pipe.read(4)
        os.waitpid(between, 0)
        if len(pid) < 4:
            raise OSError("the process in between could not fork")
        return int.from_bytes(pid, "big")
