"""Children that are started as fresh interpreters, where a fork would be dangerous or is not wanted.

As in the spawn pool of Celery 5.7, a child loads the application anew, and the environment says `FORKED_BY_MULTIPROCESSING`.

Source: celery/concurrency/prefork.py, `TaskPool.on_start` and `process_initializer`, Celery 5.7.0.
"""
import os
import pickle
import socket
import sys

from _celeriac import frames

# Tells the bootstrap that it starts a child.
SPAWNED = "CELERIAC_SPAWNED"


def program():
    """What this interpreter was started with."""
    with open("/proc/self/cmdline", "rb") as line:
        return [os.fsdecode(part) for part in line.read().split(b"\0")[:-1]]


def execute(standard_input):
    """Becomes a fresh interpreter that reads what it is from here."""
    os.dup2(standard_input, 0)
    arguments = program()
    environment = dict(os.environ, FORKED_BY_MULTIPROCESSING="1", **{SPAWNED: "1"})
    os.execve(sys.executable or arguments[0], arguments, environment)


def introduce(channel, head, settings, descriptors):
    """Tells a fresh interpreter what it is. `settings` are those that differ from what the application sets itself."""
    import _celeriac

    channel.sendall(_celeriac.sources)
    socket.send_fds(channel, [frames.encode(head, _pickled(settings))], descriptors)


def _pickled(settings):
    """Those that can be; what cannot is in the code of the application."""
    kept = {}
    for name, value in settings.items():
        try:
            kept[name] = pickle.loads(pickle.dumps(value))
        except Exception:
            continue
    return pickle.dumps(kept)


def main(channel):
    """Lives as a child, to its end."""
    from _celeriac import child

    os.environ.pop(SPAWNED)
    reader = frames.Reader(channel)
    frame = reader.read()
    if frame is None:
        os._exit(0)
    head, body = frame
    descriptors = reader.take_descriptors()
    channel.close()

    def load():
        from celery.app.utils import find_app

        from celeriac import names

        names.take_over()
        here = os.getcwd()
        if here not in sys.path:
            sys.path.insert(0, here)
        app = find_app(head["app"])
        app.conf.update(pickle.loads(body))
        app.set_current()
        app.set_default()
        return app

    child.live(load, head["node"], head["parent"], head["birth"], descriptors)
