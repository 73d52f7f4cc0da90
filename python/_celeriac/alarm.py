"""Interrupts user code that takes too long in the template."""
import signal
import threading

# How soon what has caught the interruption is interrupted again, in seconds.
_AGAIN = 0.5


class Overdue(BaseException):
    """Something has taken too long."""


class Alarm:
    """Interrupts what runs in it after so many seconds, again and again until it ends."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.is_set = False

    def __enter__(self):
        # Signals are the main thread's, and this process has no other.
        assert threading.current_thread() is threading.main_thread()
        self.before = signal.signal(signal.SIGALRM, self.ring)
        self.is_set = True
        signal.setitimer(signal.ITIMER_REAL, self.seconds, _AGAIN)

    def ring(self, *_):
        if self.is_set:
            raise Overdue

    def __exit__(self, *_):
        self.is_set = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self.before)
