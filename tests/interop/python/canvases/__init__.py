"""Canvases, each defined once: a function that composes one, run by workers of either kind and by both together.

A function takes nothing and returns a signature, or (`acts`) takes the run, sends a signature and returns what else it
has seen. Shapes are those of Celery's own `t/integration/test_canvas.py`, release 5.7.0.
"""
import importlib

MODULES = ("chains", "groups", "chords", "nested", "failures", "options", "running")


def collect():
    """All canvases by name, in the order of their definition."""
    found = {}
    for module in MODULES:
        for canvas in importlib.import_module(f"canvases.{module}").canvas.all:
            assert canvas.name not in found, canvas.name
            found[canvas.name] = canvas
    return found
