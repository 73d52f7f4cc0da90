"""Removing what has expired, a bounded step at a time; the steps ride on transactions that happen anyway.

Storing removes twice as much as it adds, so that the file does not grow for as long as the load lasts.
"""
# Rows looked at in one step, at the least.
_STEP = 500
# What members reported, removed in one step: rows next to each other.
_PARTS_STEP = 4 * _STEP
# Results are remembered by the minute of their expiry.
_MINUTE = 60_000_000


def minute(moment):
    """The minute in which a moment lies."""
    return moment // _MINUTE


def step(tx):
    """Removes some of what has expired."""
    results(tx, 0)
    tx.run("sweep_revoked", tx.now, _STEP)
    tx.run("sweep_workers", tx.now)
    listeners(tx)
    broadcasts(tx, 0)
    groups(tx, 0)
    chords(tx, 0)
    _parts(tx, _PARTS_STEP)


def listeners(tx):
    tx.run("sweep_listeners", tx.now)


def broadcasts(tx, added):
    """Removes only a few if any were added."""
    tx.run("sweep_broadcasts", tx.now, 2 * added or _STEP)


def groups(tx, added):
    tx.run("sweep_groups", tx.now, max(_STEP, 2 * added))


def chords(tx, added):
    most = max(_STEP, 2 * added)
    tx.run("sweep_chord_runs", tx.now, most)
    tx.run("sweep_chords", tx.now, most)
    _parts(tx, 2 * added)


def _parts(tx, left):
    while left > 0:
        run = tx.value("sweep_run")
        if run is None:
            return
        removed = tx.run("sweep_parts", run, left)
        if removed < left:
            tx.run("sweep_run_done", run)
        left -= removed + 1


def results(tx, added):
    found = tx.row("sweep_minute", minute(tx.now))
    if found is None:
        return
    past, first, last = found
    end = tx.value("sweep_step_end", first, last, max(_STEP, 2 * added))
    end = last if end is None else end
    tx.run("sweep_results", first, end, tx.now)
    if end >= last:
        tx.run("sweep_done", past)
    else:
        tx.run("sweep_advance", past, end + 1)
