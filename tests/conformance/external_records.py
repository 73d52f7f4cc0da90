"""What became of each test: one line of a file, in columns that are separated by tabs.

Test id, outcome, attempts, seconds, messages published by the process of the tests, broadcasts, events of tasks seen from the
worker, restarts of the worker, note. A pass says something of the worker where published, broadcasts or events is not 0.
"""
import os
import string

PATH = os.environ.get("CONFORMANCE_RECORDS")
# How much of a failure is told, in characters.
_TOLD = 300
_COUNTED = ("published", "broadcasts", "events", "restarts")


class Records:
    def __init__(self):
        self.open = {}

    def of(self, test):
        blank = {"outcome": None, "attempts": 1, "seconds": 0.0, "note": "", "flaky": "", **dict.fromkeys(_COUNTED, 0)}
        return self.open.setdefault(test, blank)

    def counted(self, test, before, after):
        """What was counted while the test ran; of several attempts, the last."""
        self.of(test).update((name, later - sooner) for name, sooner, later in zip(_COUNTED, before, after))

    def report(self, report):
        """Takes a report of pytest."""
        record = self.of(report.nodeid)
        record["seconds"] += report.duration
        if report.outcome == "rerun":
            record.update(outcome=None, note="", attempts=record["attempts"] + 1, flaky=record["flaky"] or _short(report))
        elif hasattr(report, "context"):
            # A part of the test.
            if report.failed:
                record.update(outcome="failed", note="in a part: " + _short(report))
        elif record["outcome"] not in ("failed", "error"):
            outcome = _outcome(report)
            if outcome is not None:
                record["outcome"] = outcome
                if outcome != "passed":
                    record["note"] = ("teardown: " if report.when == "teardown" else "") + _short(report)

    def finish(self, test):
        """Writes the line of a test that is not tried again."""
        if self.of(test)["outcome"] is None:
            return
        record = self.open.pop(test)
        if not PATH:
            return
        note = record["note"] or (record["flaky"] and "flaky: " + record["flaky"])
        cells = [test, record["outcome"], record["attempts"], f"{record['seconds']:.2f}", *(record[name] for name in _COUNTED), _printable(note)]
        with open(PATH, "a") as file:
            file.write("\t".join(map(str, cells)) + "\n")


def _outcome(report):
    if report.when == "call":
        if hasattr(report, "wasxfail"):
            return {"skipped": "xfailed", "passed": "xpassed"}.get(report.outcome, report.outcome)
        return report.outcome
    if report.outcome == "skipped":
        return "xfailed" if hasattr(report, "wasxfail") else "skipped"
    if report.outcome == "failed":
        return "error" if report.when == "setup" else "failed"
    return None


def _short(report):
    said = report.longrepr
    if isinstance(said, tuple):
        text = said[2]
    else:
        crash = getattr(said, "reprcrash", None)
        text = crash.message if crash else str(said or "")
    return " ".join(text.split())[:_TOLD]


def _printable(text):
    return "".join(character if character in string.printable and character not in "\t\r\n\x0b\x0c" else " " for character in text)
