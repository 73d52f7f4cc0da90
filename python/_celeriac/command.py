"""The command line of Celery's worker, run by Celery itself up to the point where the worker would start.

So an option, its environment variable, the setting behind it and what an application adds to the command line mean what they
mean there, and what is wrong is said in the words of Celery.

Source: celery/bin/celery.py and celery/bin/worker.py, Celery 5.7.0.
"""
import importlib
import os
import sys


class Refused(Exception):
    """The command line asks for something that cannot be done. `code` is the exit code."""

    def __init__(self, why, code):
        super().__init__(why)
        self.code = code


class _Made(BaseException):
    """Leaves the command once its worker has been made."""

    def __init__(self, worker):
        self.worker = worker


def make_worker(argv):
    """The worker that these arguments of `celery` ask for, not started."""
    # Programs look there for what they are part of.
    sys.argv = ["celery", *argv]
    import click
    from celery.apps import worker as apps

    from _celeriac.worker import Parent

    program = importlib.import_module("celery.bin.celery")
    command = importlib.import_module("celery.bin.worker")

    class Made(Parent):
        def __init__(self, **kwargs):
            super().__init__(**kwargs, params=click.get_current_context().params)

        def start(self):
            raise _Made(self)

    apps.Worker = Made
    # Both are the Rust parent's: it has done them by now.
    command.maybe_drop_privileges = lambda **_: None
    os.environ.pop("CELERY_WORKER_DETACH", None)
    try:
        code = program.celery.main(args=list(argv), prog_name="celery", auto_envvar_prefix="CELERY", standalone_mode=False)
    except _Made as made:
        _take_umask(made.worker.params.get("umask"))
        return made.worker
    except click.ClickException as error:
        raise Refused(click.unstyle(error.format_message()).strip(), error.exit_code) from None
    raise Refused("the command ended before there was a worker", code if isinstance(code, int) else 1)


def _take_umask(umask):
    """Source: celery/platforms.py, `DaemonContext.__init__`, Celery 5.7.0."""
    if isinstance(umask, str):
        umask = int(umask, 8 if umask.startswith("0") else 10)
    if umask is not None:
        os.umask(umask)


def describe(worker):
    """What the Rust parent needs to know of the command line, with what stood in the environment and the settings."""
    from celery.utils.nodenames import node_format

    params = worker.params
    return {
        "node": worker.hostname,
        "pool": _pool(worker.pool_cls),
        "level": worker.loglevel,
        "log_file": node_format(worker.logfile, worker.hostname) if worker.logfile else None,
        "color": None if worker.no_color is None else not worker.no_color,
        "pid_file": worker.pidfile or None,
        **{name: _text(params.get(name)) for name in ("uid", "gid", "umask", "executable")},
        "purge": bool(params.get("purge")),
        "quiet": worker.quiet,
        "autoscale": list(params["autoscale"]) if params.get("autoscale") else None,
        "beat": bool(params.get("beat")),
        "state_file": worker.statedb or None,
    }


def _text(value):
    return str(value) if value else None


def _pool(pool):
    """The name of a pool as the command line has it."""
    from celery import concurrency

    place = f"{pool.__module__}:{pool.__qualname__}"
    names = [name for name, known in concurrency.ALIASES.items() if known == place]
    return names[0] if names else place
