"""What an application asks for that a parent in Rust cannot do: what, why, and the way out."""
from celery import bootsteps
from celery.app.task import Task

from _celeriac import coroutines, pools

_KEEP = "keep the stock worker for its queue"
# Where an application may put a class of its own in place of a part of the parent. Source: celery/app/defaults.py, Celery 5.7.0.
_PARTS = {
    "worker_consumer": ("celery.worker.consumer:Consumer", "there is no Python consumer"),
    "worker_autoscaler": ("celery.worker.autoscale:Autoscaler", "the pool belongs to the Rust parent"),
    "worker_timer": (None, "timers belong to the Rust parent"),
}


def of(app, parent, pool):
    for kind in ("worker", "consumer"):
        for step in sorted(map(_name, app.steps[kind])):
            yield _limit(f"the bootstep {step} of the {kind}", "there is no Python consumer")
    for setting, (stock, why) in _PARTS.items():
        asked = app.conf.get(setting)
        if asked and _name(asked) != (stock or "").replace(":", "."):
            yield _limit(f"{_name(asked)} as its {setting}", why)
    if pools.kind_of(parent.pool_cls) is None:
        way_out = "its tasks run in the prefork pool; keep the stock worker if they need the other"
        yield _limit(f"the pool {_name(parent.pool_cls)}", "it is none of Celery's own", way_out)
    yield from _of_limits(app, parent, pool)
    for name, task in sorted(app.tasks.items()):
        yield from _of_task(name, task, pool)


def _of_limits(app, parent, pool):
    """A thread cannot be stopped. The stock pool says nothing of it, and keeps no limits either."""
    if pool["kind"] != "threads":
        return
    limited = [name for name, task in app.tasks.items() if _limits(task) and not coroutines.is_coroutine(task)]
    of_all = parent.time_limit or parent.soft_time_limit
    if limited or of_all:
        whose = "all tasks" if of_all else ", ".join(sorted(limited))
        way_out = "they are not kept, as in the stock pool; use prefork or gevent where they matter"
        yield _limit(f"time limits for {whose}", "the threads pool cannot stop a task", way_out)


def _limits(task):
    return task.time_limit or task.soft_time_limit


def _of_task(name, task, pool):
    if task.Strategy != Task.Strategy:
        # Among them are those of celery-batches.
        yield _limit(f"the strategy {_name(task.Strategy)} of {name}", "it takes messages itself, several for one run perhaps")
    if task.Request != Task.Request:
        yield _limit(f"the request class {_name(task.Request)} of {name}", "requests live in the Rust parent")
    why = coroutines.is_coroutine(task) and no_loop(task, pool)
    if why:
        yield _limit(f"the coroutine {name}", why, "leave that out, and it runs on an event loop")


def no_loop(task, pool):
    """Why coroutines cannot run on a loop here; nothing if they can."""
    if pools.is_green(pool["kind"]):
        return f"{pool['kind']} has taken the place of what asyncio needs"
    if not coroutines.can_be_told_apart(task):
        return "USE_FAST_LOCALS keeps requests by thread"
    return None


def _limit(what, why, way_out=_KEEP):
    return {"what": what, "why": why, "way_out": way_out}


def _name(thing):
    """A class, function or name as people write it."""
    if isinstance(thing, str):
        return thing.replace(":", ".")
    if isinstance(thing, bootsteps.Step):
        thing = type(thing)
    name = getattr(thing, "__qualname__", None) or type(thing).__qualname__
    module = f"{thing.__module__}."
    # Those of bootsteps have their module in their name.
    return name if name.startswith(module) else module + name
