# Prints the settings of an application that a client of its broker needs, as `celery` loads it; argv has the global options.
import importlib
import json
import sys

import click

NAMES = (
    "broker_transport_options", "result_backend_transport_options", "result_expires", "task_default_queue", "task_routes",
    "task_default_priority", "task_serializer", "task_compression",
)


def plain(value):
    if hasattr(value, "total_seconds"):
        return value.total_seconds()
    json.dumps(value, allow_nan=False)
    return value


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
    sys.__stdout__.write("\nceleriac-settings " + json.dumps(settings) + "\n")
    sys.__stdout__.flush()


if "" not in sys.path:
    sys.path.insert(0, "")
program = importlib.import_module("celery.bin.celery").celery
program.add_command(show)
program.main(args=[*sys.argv[1:], "celeriac-settings"], prog_name="celery", auto_envvar_prefix="CELERY")
