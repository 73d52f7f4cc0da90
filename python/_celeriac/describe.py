"""What an application asks for: settings, queues, tasks, and what the Rust parent cannot do for it."""
import json

from celery import signals
from celery.app.task import Task

from _celeriac import command, commands, coroutines, pools, results, unsupported


# What the parent decides; everything else is between the task and its child.
_TASK_FIELDS = (
    "acks_late", "reject_on_worker_lost", "ignore_result", "store_errors_even_if_ignored", "rate_limit", "time_limit",
    "soft_time_limit", "retry_on_worker_lost", "max_retries", "default_retry_delay",
    "send_events",
)
# Methods of a task that are called at its end, where it has its own.
_ENDS = ("on_failure", "after_return")
# Signals of the parent that are worth a word to this process only where somebody listens.
_TOLD = ("task_received", "task_revoked", "task_rejected", "task_unknown", "task_failure", "task_retry")


def describe(app, parent):
    pool = pools.describe(parent)
    return {
        "command": command.describe(parent),
        "settings": {**_settings(app), **_chosen(app, parent)},
        "queues": [queue.name for queue in app.amqp.queues.consume_from.values()],
        "bindings": list(_bindings(app)),
        "pool": pool,
        "tasks": [_task(name, task, pool) for name, task in app.tasks.items()],
        "listened_to": listened_to(),
        "keeps_results_here": results.keeps_results_here(app, app.backend),
        "commands": commands.added(),
        "stats": commands.facts(app, parent),
        "unsupported": list(unsupported.of(app, parent, pool)),
    }


def _bindings(app):
    """How the queues that the settings name are bound, whether they are consumed or not."""
    for queue in app.amqp.queues.values():
        bound = [(queue.exchange, queue.routing_key)] if queue.exchange is not None else []
        bound += [(binding.exchange, binding.routing_key) for binding in queue.bindings]
        for exchange, routing_key in bound:
            if exchange.name:
                yield {"queue": queue.name, "exchange": exchange.name, "type": exchange.type, "routing_key": routing_key or ""}


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


def _chosen(app, parent):
    """Settings as the command line and the environment leave them."""
    return {
        "broker_url": app.conf.broker_read_url or "amqp://",
        "result_backend": app.conf.result_backend,
        "worker_concurrency": parent.concurrency,
        # Nothing ahead: one message for each process, the one that runs included.
        "worker_prefetch_multiplier": 1 if _plain(app.conf.get("worker_disable_prefetch")) else parent.prefetch_multiplier,
        "worker_max_tasks_per_child": parent.max_tasks_per_child,
        "worker_max_memory_per_child": parent.max_memory_per_child,
        "task_time_limit": parent.time_limit,
        "task_soft_time_limit": parent.soft_time_limit,
    }


def _seconds(value):
    return value.total_seconds() if hasattr(value, "total_seconds") else None


def listened_to():
    """The signals to which receivers are connected in this process."""
    return [name for name in _TOLD if getattr(signals, name).receivers]


def _task(name, task, pool):
    described = {"name": name, **{field: _plain(getattr(task, field, None)) for field in _TASK_FIELDS}}
    for field in ("acks_on_failure", "acks_on_timeout"):
        described[field] = _acks(task, field)
    described["is_coroutine"] = coroutines.is_coroutine(task) and not unsupported.no_loop(task, pool)
    described["keeps_results_here"] = results.keeps_results_here(task.app, task.backend)
    described["hears_of_its_end"] = any(
        getattr(type(task), hook) is not getattr(Task, hook) or hook in vars(task) for hook in _ENDS
    )
    return described


def _acks(task, field):
    """Celery 5.7 has one setting for each of these, those before it one for both."""
    for name in (field, "acks_on_failure_or_timeout"):
        value = getattr(task, name, None)
        if value is not None:
            return bool(value)
    return True


def _plain(value):
    return value if isinstance(value, (bool, int, float, str, type(None))) else None
