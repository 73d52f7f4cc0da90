"""What an application asks for: settings, queues, tasks, receivers, and what the Rust parent cannot do for it."""
import json

from celery import signals
from celery.app.task import Task

_PARENT_SIGNALS = (
    "celeryd_init", "celeryd_after_setup", "worker_init", "worker_ready", "worker_shutting_down", "worker_shutdown",
    "worker_before_create_process", "heartbeat_sent", "task_received", "task_revoked", "task_rejected", "task_unknown",
    "task_failure", "task_retry",
)
_TASK_FIELDS = (
    "acks_late", "acks_on_failure", "acks_on_timeout", "reject_on_worker_lost", "retry_on_worker_lost", "max_retries",
    "default_retry_delay", "ignore_result", "store_errors_even_if_ignored", "track_started", "rate_limit", "time_limit",
    "soft_time_limit", "send_events",
)
_KEEP = "keep the stock worker for its queue"


def describe(app, parent):
    settings, opaque = _settings(app)
    settings["worker_concurrency"] = parent.concurrency
    return {
        "settings": settings,
        "opaque": opaque,
        "queues": [_queue(queue) for queue in app.amqp.queues.consume_from.values()],
        "tasks": [_task(name, task) for name, task in app.tasks.items()],
        "receivers": {name: len(getattr(signals, name).receivers or ()) for name in _PARENT_SIGNALS},
        "unsupported": list(_unsupported(app)),
    }


def _settings(app):
    plain, opaque = {}, []
    for name in app.conf.keys():
        try:
            value = app.conf[name]
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, KeyError, AttributeError):
            value = _seconds(app.conf.get(name))
            if value is None:
                opaque.append(name)
                continue
        plain[name] = value
    return plain, sorted(opaque)


def _seconds(value):
    return value.total_seconds() if hasattr(value, "total_seconds") else None


def _queue(queue):
    exchange = queue.exchange
    return {
        "name": queue.name,
        "exchange": exchange.name if exchange else "",
        "exchange_type": exchange.type if exchange else "direct",
        "routing_key": queue.routing_key or "",
    }


def _task(name, task):
    fields = {field: _plain(getattr(task, field, None)) for field in _TASK_FIELDS}
    return dict(
        fields,
        name=name,
        custom_request=task.Request != Task.Request,
        custom_strategy=task.Strategy != Task.Strategy,
    )


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
