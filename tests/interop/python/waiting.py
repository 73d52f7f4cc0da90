"""Waiting for something to become so."""
import time

DEADLINE = 60


def until(what, holds):
    """What `holds` returns, once that is true."""
    deadline = time.monotonic() + DEADLINE
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
        time.sleep(0.02)
