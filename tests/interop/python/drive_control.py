"""Celery's own remote control, towards a worker of ours. Usage: drive_control.py NAME NODE FAMILY

NAME is a function of a module of steering. FAMILY is `held` for the tasks of apps/held.py, `shared` for those of a program
in Rust.
"""
import os
import sys

from steering import asking, changing, commands, revoking
from steering.common import SCENARIO

if __name__ == "__main__":
    (scenario,) = [
        vars(module)[SCENARIO]
        for module in (asking, changing, commands, revoking)
        if getattr(vars(module).get(SCENARIO), "__module__", None) == module.__name__
    ]
    scenario()
    sys.stdout.flush()
    os._exit(0)
