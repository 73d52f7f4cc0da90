"""Runs canvases on the workers that are there and compares. Usage: canvas_run.py REFERENCE [PLACE...] [-- NAME...]

Each canvas runs at the first place and then at every other one, and what it comes to must be the same.
"""
import json
import os
import sys
import time

import celery

import canvases
from canvases.observation import Observation, differences, forget_everything
from canvases.run import COMPOSED_BY_OURS, OURS, Run, composed_by_ours

RELEASE = tuple(int(part) for part in celery.__version__.split(".")[:2])

# The release that says what is right.
REFERENCE = (5, 7)
# The most differences that are shown of one canvas at one place.
SHOWN = 6


def observe(canvas, place):
    """Runs it at one place."""
    run = Run(place)
    extra = None
    if place.startswith(COMPOSED_BY_OURS):
        run.send_by_name(canvas.name)
    elif canvas.acts:
        extra = canvas.compose(run)
    else:
        run.send(canvas.compose())
    run.settle()
    seen = Observation(run.redis).of(run.sent, extra)
    forget_everything(run.redis)
    return seen


def compare(canvas, places, composed):
    """Runs it at all places; what differs, a line for each place."""
    reference = observe(canvas, places[0])
    if bool(canvas.never_ends) != (reference["ready"] is False):
        yield f"{places[0]}: {'ends' if canvas.never_ends else 'does not end'}: {json.dumps(reference)}"
    for place in places[1:]:
        if canvas.differs and not Run(place).place == OURS:
            # It depends on who runs which task.
            continue
        if place.startswith(COMPOSED_BY_OURS) and canvas.name not in composed:
            continue
        try:
            seen = observe(canvas, place)
            to = canvas.differs.differences if canvas.differs else differences
            differ = list(to(reference, seen))
        except Exception as error:
            differ = [f"{type(error).__name__}: {error}"]
        for difference in differ[:SHOWN]:
            yield f"{place}: {difference}"
        if len(differ) > SHOWN:
            yield f"{place}: and {len(differ) - SHOWN} more"


def main(arguments):
    # Older ones lose chords that it does not lose, and link results otherwise.
    assert RELEASE >= REFERENCE, f"canvases are compared with Celery {REFERENCE}, and this is {RELEASE}"
    split = arguments.index("--") if "--" in arguments else len(arguments)
    places, wanted = arguments[:split], arguments[split + 1:]
    everything, composed = canvases.collect(), composed_by_ours()
    strangers = set(composed) - set(everything)
    assert not strangers, f"only our program has {sorted(strangers)}"
    failed = ran = 0
    for name, canvas in everything.items():
        if canvas.since > RELEASE or (wanted and name not in wanted):
            continue
        began = time.monotonic()
        differ = list(compare(canvas, places, composed))
        ran, failed = ran + 1, failed + bool(differ)
        print(f"{'DIFFERS' if differ else 'same'} {name} {time.monotonic() - began:.2f}s", flush=True)
        for line in differ:
            print(f"    {line}", flush=True)
    print(f"{ran} canvases at {', '.join(places)}: {failed} differ")
    return 1 if failed or not ran else 0


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stdout.flush()
    # Results that are still awaited, on purpose, complain when the interpreter takes everything apart.
    os._exit(status)
