"""Jobs that lie ready for a child: it takes the next one without asking, and the parent may take one back before that.

See `pool/prefork/ahead.rs` on the Rust side.
"""
import select
import socket

from _celeriac import frames

# The largest packet: number, frame and a body of 16 KiB. Larger jobs come over the channel.
_PACKET = 1 << 18
_NUMBER = 8


class Jobs:
    def __init__(self, packets):
        self.packets = packets

    def take(self):
        """The head and body of the next job, which is this child's from now on; None if there is none."""
        try:
            packet = self.packets.recv(_PACKET, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        return frames.decode(packet, _NUMBER) if packet else None

    def wait(self, channel):
        """Waits for a job or something on the channel. Whether there is nothing on the channel."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(self.packets, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll()}
        return channel.fileno() not in ready
