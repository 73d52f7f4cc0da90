"""What a canvas is to the programs that run it."""
import dataclasses
import re
import typing

# The result, or a member of it.
RESULT = re.compile(r"result(\[\d+\])?")


@dataclasses.dataclass
class Canvas:
    """One canvas, and what is known of it."""

    name: str
    compose: typing.Callable
    # It sends by itself, and returns what it has seen besides the results.
    acts: bool
    # The first release of Celery that runs it rightly.
    since: tuple
    # Why it has no result in Celery.
    never_ends: str
    # What our workers make of it, where that is something else.
    differs: "Differs | None"


@dataclasses.dataclass
class Differs:
    """A canvas of which our workers make something else, on purpose."""

    # Why.
    because: str
    # How the result ends, or all members of it.
    state: str
    # What errbacks are told, and others that nothing leads to return.
    others: list

    def differences(self, reference, seen):
        """What is not as it should be, where only our workers run tasks."""
        if seen["ready"] is not True:
            yield "no result"
        states = {record["state"] for name, record in seen["records"].items() if RESULT.fullmatch(name)}
        if states != {self.state}:
            yield f"the result is {sorted(states)}, not {self.state}"
        others = [record["result"] for record in seen["others"]]
        if others != self.others:
            yield f"others are {others}, not {self.others}"
        # What ran in Celery has run here, too.
        for name, record in reference["records"].items():
            if record["state"] == "SUCCESS" and seen["records"].get(name, {}).get("result") != record["result"]:
                yield f"{name} is {seen['records'].get(name)}, not {record}"


class Canvases:
    """Collects the canvases of one module; called as a decorator."""

    def __init__(self):
        self.all = []

    def __call__(self, compose=None, *, acts=False, since=(5, 5), never_ends="", differs=None):
        def keep(function):
            self.all.append(Canvas(function.__name__, function, acts, since, never_ends, differs))
            return function

        return keep(compose) if compose else keep
