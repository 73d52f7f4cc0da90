"""What makes a fork of this process dangerous: threads, which a fork does not copy, and connections, which it shares."""
import os
import socket
import stat
import threading

_SQLITE = b"SQLite format 3\0"


def reasons(ours, known):
    """What stands against a fork, in words. `ours` are descriptors of the template's own, `known` sockets that do no harm."""
    return [*_threads(), *_open_things(set(ours), known)]


def sockets():
    """The sockets that are open, each by its number in the system."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            status = os.fstat(int(name))
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            found.add(status.st_ino)
    return found


def _threads():
    """Threads that Python knows. Others, such as those of libraries that compute, take care of themselves or cannot be seen."""
    mine = threading.current_thread()
    for thread in threading.enumerate():
        if thread is not mine and thread.is_alive():
            yield f"the thread {thread.name}"


def _open_things(ours, known):
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        descriptor = int(name)
        # The first three lead to whoever started the worker.
        if descriptor <= 2 or descriptor in ours:
            continue
        try:
            said = None if os.fstat(descriptor).st_ino in known else _what(descriptor)
        except OSError:
            # Among them is the one that listed the folder.
            continue
        if said:
            yield said


def _what(descriptor):
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):
        return _connection(descriptor)
    if stat.S_ISREG(mode) and os.pread(descriptor, len(_SQLITE), 0) == _SQLITE:
        return f"the open database {os.readlink(f'/proc/self/fd/{descriptor}')}"
    return None


def _connection(descriptor):
    """A connection, if it is one. Datagrams can be sent by many, and a pair without names is within this process."""
    with socket.socket(fileno=os.dup(descriptor)) as it:
        if it.type != socket.SOCK_STREAM or it.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        peer = it.getpeername()
    if isinstance(peer, tuple):
        return f"the connection to {peer[0]} port {peer[1]}"
    return f"the connection to {os.fsdecode(peer)}" if peer else None
