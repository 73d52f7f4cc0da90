# Prints what a client of an application's broker needs: settings, and the commands of remote control that the application adds.
# It is loaded as by `celery`; argv has the global options.
import importlib
import json
import sys

import click
from celery.worker.control import Panel

NAMES = (
    "broker_transport_options", "result_backend_transport_options", "result_expires", "task_default_queue", "task_routes",
    "task_default_priority", "task_serializer", "task_compression", "control_exchange", "event_exchange",
)


def plain(value):
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    json.dumps(value, allow_nan=False)
    return value


def commands():
    for name, info in Panel.meta.items():
        if Panel.data[name].__module__ != Panel.__module__ and info.visible:
            args = [(arg, getattr(kind, "__name__", None)) for arg, kind in info.args or ()]
            yield {"name": name, "type": info.type, "args": args, "variadic": info.variadic, "signature": info.signature, "help": info.help}


@click.command("celeriac-settings")
@click.pass_context
def show(ctx, **_):
    conf = ctx.obj.app.conf
    settings = {"broker_url": conf.broker_write_url or "amqp://", "result_backend": conf.result_backend}
    for name in NAMES:
        try:
            settings[name] = plain(conf[name])
        except (KeyError, TypeError, ValueError):
            # It has no form outside of Python.
            pass
    found = {"settings": settings, "commands": list(commands())}
    sys.__stdout__.write("\nceleriac-settings " + json.dumps(found) + "\n")
    sys.__stdout__.flush()


if "" not in sys.path:
    sys.path.insert(0, "")
program = importlib.import_module("celery.bin.celery").celery
program.add_command(show)
program.main(args=[*sys.argv[1:], "celeriac-settings"], prog_name="celery", auto_envvar_prefix="CELERY")
