"""What an application asks for: settings, queues, tasks, and what the Rust parent cannot do for it."""
import json

from celery.app.task import Task

# What the parent decides; everything else is between the task and its child.
_TASK_FIELDS = (
    "acks_late", "reject_on_worker_lost", "ignore_result", "store_errors_even_if_ignored", "rate_limit", "time_limit",
    "soft_time_limit",
)
_KEEP = "keep the stock worker for its queue"


def describe(app, parent):
    return {
        "settings": dict(_settings(app), worker_concurrency=parent.concurrency),
        "queues": [queue.name for queue in app.amqp.queues.consume_from.values()],
        "tasks": [_task(name, task) for name, task in app.tasks.items()],
        "unsupported": list(_unsupported(app)),
    }


def _settings(app):
    """Those that have a form in JSON; of the others the parent knows none."""
    plain = {}
    for name in app.conf.keys():
        try:
            value = app.conf[name]
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, KeyError, AttributeError):
            value = _seconds(app.conf.get(name))
            if value is None:
                continue
        plain[name] = value
    return plain


def _seconds(value):
    return value.total_seconds() if hasattr(value, "total_seconds") else None


def _task(name, task):
    return {"name": name, **{field: _plain(getattr(task, field, None)) for field in _TASK_FIELDS}}


def _plain(value):
    return value if isinstance(value, (bool, int, float, str, type(None))) else None


def _unsupported(app):
    for kind in ("worker", "consumer"):
        for step in sorted(map(str, app.steps[kind])):
            yield {"what": f"the bootstep {step} of the {kind}", "why": "there is no Python consumer", "way_out": _KEEP}
    for name, task in app.tasks.items():
        if task.Strategy != Task.Strategy:
            yield {"what": f"the strategy {task.Strategy} of {name}", "why": "it takes messages itself", "way_out": _KEEP}
        if task.Request != Task.Request:
            yield {"what": f"the request class of {name}", "why": "requests live in the Rust parent", "way_out": _KEEP}
