"""Frames: a JSON head and a raw body each, as the Rust side cuts its sockets into pieces.

length (u32, of all that follows), head length (u32), head, body; integers are big-endian.
"""
import array
import json
import select
import socket
import struct

VERSION = 4

_PREFIX = struct.Struct(">II")
_MOST_DESCRIPTORS = 8


def encode(head, body=b""):
    """The bytes of a frame."""
    return encoded(json.dumps(head, separators=(",", ":")).encode(), body)


def encoded(head, body=b""):
    """The same with a head in JSON."""
    if b"\\ud" in head:
        # A surrogate without its other half is no text to the Rust side, and names of files that Python cannot decode have such.
        head = json.dumps(json.loads(head), ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    return b"".join((_PREFIX.pack(4 + len(head) + len(body), len(head)), head, body))


def started(task):
    """The frame that says that a task runs from now on. Written out, because there is one for each task; so is the next."""
    return encoded(b'{"started":{"id":%s}}' % json.dumps(task).encode())


def done(task, ending, seconds, memory, body):
    """The frame that says how a task has ended."""
    head = b'{"done":{"id":%s,"ending":%s,"left":null,"runtime":{"secs":%d,"nanos":%d},"memory":%s}}' % (
        json.dumps(task).encode(), json.dumps(ending).encode(), int(seconds), int(seconds % 1 * 1e9),
        b"null" if memory is None else b"%d" % memory,
    )
    return encoded(head, body)


def decode(data, start):
    """The head and body of the frame that begins there and is all that follows."""
    _, head = _PREFIX.unpack_from(data, start)
    start += 8
    return json.loads(data[start:start + head]), data[start + head:]


class Reader:
    """Reads whole frames from a socket, with the descriptors that came along."""

    def __init__(self, channel):
        self.channel = channel
        self.received = bytearray()
        self.descriptors = []

    def read(self):
        """The next head and body; None once the other side has closed."""
        while True:
            frame = self._cut()
            if frame is not None:
                return frame
            if not self._receive():
                return None

    def take(self):
        """The frames that are there, at least one; None once the other side has closed."""
        taken = []
        while not taken:
            while (frame := self._cut()) is not None:
                taken.append(frame)
            if not taken and not self._receive():
                return None
        return taken

    def has_one(self):
        """Whether something has been received and not been read."""
        return bool(self.received)

    def has_more(self, patience):
        """Whether there is something to read, now or within so many seconds."""
        if self.received:
            return True
        poll = select.poll()
        poll.register(self.channel, select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def take_descriptors(self):
        taken, self.descriptors = self.descriptors, []
        return taken

    def _cut(self):
        received = self.received
        if len(received) < 8:
            return None
        length, head = _PREFIX.unpack_from(received)
        if len(received) < 4 + length:
            return None
        text = bytes(received[8:8 + head])
        body = bytes(received[8 + head:4 + length])
        del received[:4 + length]
        return json.loads(text), body

    def _receive(self):
        space = socket.CMSG_SPACE(_MOST_DESCRIPTORS * array.array("i").itemsize)
        try:
            data, control, _, _ = self.channel.recvmsg(1 << 16, space)
        except (ConnectionResetError, BrokenPipeError):
            return False
        for level, kind, raw in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                numbers = array.array("i")
                numbers.frombytes(raw[:len(raw) - len(raw) % numbers.itemsize])
                self.descriptors.extend(numbers)
        self.received += data
        return bool(data)
