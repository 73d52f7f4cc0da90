"""Waking those who wait, in this process and in others, without polling.

Beside the file lies a folder, `FILE-wake`. Whoever waits for a topic has a named pipe in it, and whoever commits something of that
topic writes one byte into each pipe of it. A waiter makes its pipe first and looks into the file then; a writer commits first and
lists the pipes then: so no commit is missed. See `crates/store/src/sqlite/wake.rs`.
"""
import errno
import os
import secrets
import select
import stat
import time

READY, RESULTS, REVOKED, BROADCAST, KEYED = "ready", "results", "revoked", "broadcast", "keyed"

# How often to look where there are no named pipes, and how often to look anyway, should somebody have removed one.
_WITHOUT_PIPES, ANYWAY = 0.5, 5.0
# A pipe under construction that is older than this was left by a process that died.
_ABANDONED_AFTER = 60.0


def announce(database, topics):
    """Wakes everybody who waits for one of these topics. To be called after the commit."""
    folder = f"{database}-wake"
    try:
        names = os.listdir(folder) if topics else ()
    except OSError:
        # Without the folder nobody listens. If it cannot be read, neither can the database.
        return
    for name in names:
        if name.partition("-")[0] in topics:
            _ring(os.path.join(folder, name))


def _ring(path):
    try:
        pipe = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # Nobody reads it: it belongs to a process that died.
        if error.errno == errno.ENXIO:
            _remove(path)
        return
    try:
        _write(pipe)
    except BrokenPipeError:
        _remove(path)
    finally:
        os.close(pipe)


def _write(pipe):
    try:
        os.write(pipe, b"\1")
    except BlockingIOError:
        # Full of bytes that will wake it.
        pass


class Bell:
    """One who waits for a topic, in this process: from its making on, no commit is missed."""

    def __init__(self, database, topic):
        self.topic = topic
        self.path = self.reader = self.holder = None
        try:
            self._open(database, topic)
        except OSError:
            self.close()

    def _open(self, database, topic):
        folder = f"{database}-wake"
        mode = stat.S_IMODE(os.stat(database).st_mode) & 0o666
        _make_folder(folder, mode)
        name = f"{topic}-{os.getpid()}-{secrets.token_hex(8)}"
        # Under a name that writers pass over, until there is a reader.
        self.path = unfinished = os.path.join(folder, f".{name}")
        os.mkfifo(unfinished, mode)
        self.reader = os.open(unfinished, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        # Our own writing end keeps the pipe from ending when writers leave.
        self.holder = os.open(unfinished, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.chmod(unfinished, mode)
        path = os.path.join(folder, name)
        os.rename(unfinished, path)
        self.path = path

    def wait(self, timeout=None):
        """Waits until it is rung, at most this long, and a few seconds at most. Says whether it may have been rung."""
        is_rung = wait_for_any([self], timeout)
        if is_rung:
            self.silence()
        return is_rung

    def ring(self):
        """Wakes the one who waits, from another thread."""
        if self.holder is not None:
            _write(self.holder)

    def silence(self):
        """Forgets that it was rung."""
        try:
            while self.reader is not None and len(os.read(self.reader, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    def is_removed(self):
        return self.reader is None or not os.path.exists(self.path)

    def leave(self):
        """Closes what a fork has inherited; the pipe stays with the process that has made it."""
        for descriptor in (self.reader, self.holder):
            if descriptor is not None:
                os.close(descriptor)
        self.path = self.reader = self.holder = None

    def close(self):
        if self.path is not None:
            _remove(self.path)
        self.leave()


def wait_for_any(bells, timeout=None):
    """Waits until one of the bells is rung, as `Bell.wait` does, but leaves it ringing."""
    readers = [bell.reader for bell in bells if bell.reader is not None]
    all_have_pipes = len(readers) == len(bells)
    most = ANYWAY if all_have_pipes else _WITHOUT_PIPES
    patience = most if timeout is None else max(0.0, min(timeout, most))
    return _is_any_readable(readers, patience) or not all_have_pipes


def _is_any_readable(descriptors, patience):
    if not descriptors:
        time.sleep(patience)
        return False
    if hasattr(select, "poll"):
        poll = select.poll()
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(patience * 1000))
    return bool(select.select(descriptors, [], [], patience)[0])


def _make_folder(folder, mode):
    """Makes the folder, searchable for everybody who can read the database, and clears what dead processes left."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        for entry in os.scandir(folder):
            if entry.name.startswith(".") and time.time() - entry.stat().st_mtime > _ABANDONED_AFTER:
                _remove(entry.path)
    else:
        os.chmod(folder, mode | ((mode & 0o444) >> 2))


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        # Somebody else has done so.
        pass
