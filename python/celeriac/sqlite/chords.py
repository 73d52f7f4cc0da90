"""How far a chord is, and what the report of a member brings.

The same decisions as in `crates/store/src/tally.rs` and `crates/store/src/sqlite/chords.rs`, so that members may run in either language.
"""
from celeriac.sqlite import sweep
from celeriac.sqlite.key import NO_PLACE, key_of
from celeriac.sqlite.statements import SQL
from celeriac.sqlite.transaction import FOREVER, after, now

# What a report comes to: the chord goes on waiting, it is complete, it has failed, or it was over before.
OPEN, LAST, FAILED, OVER = "open", "last", "failed", "over"
# A run with no more parts than this loses them when it ends; of larger ones they are swept.
_FEW = 100


class NewPart:
    """What a member reports: its result is JSON; the state of a success is none."""

    def __init__(self, chord, task, index, state, result, expires=None):
        self.chord, self.member = key_of(chord), key_of(task)
        self.place = NO_PLACE if index is None else index
        self.state = None if state == "SUCCESS" else state
        self.result, self.expires = result, expires


class _Run:
    """One run of a chord."""

    def __init__(self, chord, number, size=None, added=0, counted=0, failed=0, closed=0, expires_at=FOREVER):
        self.chord, self.number, self.size, self.added = chord, number, size, added
        self.counted, self.failed, self.closed, self.expires_at = counted, failed, closed, expires_at

    @classmethod
    def find(cls, connection, chord, moment):
        """The present run, if there is one that has not expired."""
        row = connection.row(SQL["chord_get"], (chord,))
        run = row and cls(chord, *row)
        return run if run and run.expires_at > moment else None

    def report(self, part):
        """What the report of a member brings that has not reported yet."""
        if self.closed:
            return OVER
        if self.size is None:
            return OPEN
        if self.failed or part.state is not None:
            return FAILED
        return LAST if self.counted + 1 >= self.size + self.added else OPEN

    def write(self, tx):
        tx.run("chord_set", self.chord, self.number, self.size, self.added, self.counted, self.failed, self.closed, self.expires_at)

    def end(self, tx):
        """Removes what was reported, now or soon."""
        if self.counted:
            tx.run("part_remove_all" if self.counted <= _FEW else "run_end", self.number)


def _present(tx, chord):
    """The present run, or the first; what an expired one has left is removed."""
    row = tx.row("chord_get", chord)
    run = row and _Run(chord, *row)
    if run and run.expires_at <= tx.now:
        run.end(tx)
        run = None
    return run or _Run(chord, tx.number())


def begin(tx, chord, size, expires):
    """Says how many members a chord has; one that is closed begins anew."""
    run = _present(tx, key_of(chord))
    if run.closed:
        run = _Run(run.chord, tx.number())
    run.size, run.expires_at = size, after(tx.now, expires)
    run.write(tx)
    sweep.chords(tx, 1)


def extend(tx, chord, by):
    """Says that a chord has more members, if it is there and open."""
    run = _Run.find(tx.connection, key_of(chord), tx.now)
    if run and not run.closed:
        run.added += by
        run.write(tx)


def count(tx, part, closes):
    """Counts a part and says what that brings. One that would close its chord changes nothing unless the caller `closes` it."""
    run = _present(tx, part.chord)
    counted = run.report(part)
    if counted == OVER:
        return OVER
    if counted == OPEN:
        if not tx.run("part_add", run.number, part.member, part.place, part.state, part.result):
            return OVER
        run.counted += 1
        run.failed = int(run.failed or part.state is not None)
    else:
        if tx.row("part_any", run.number, part.member, part.place):
            return OVER
        if not closes:
            return counted
        run.end(tx)
        run.closed = 1
    run.expires_at = after(tx.now, part.expires)
    run.write(tx)
    sweep.chords(tx, 1)
    return counted


def parts(connection, chord):
    """What the members of an open chord have reported, by their places: member, place, state and result each."""
    with connection.reading():
        run = _Run.find(connection, key_of(chord), now())
        found = [] if run is None or run.closed else connection.rows(SQL["part_list"], (run.number,))
    return found
