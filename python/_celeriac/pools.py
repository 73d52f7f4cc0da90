"""The pools of Celery: which one the application asks for, and what a child of each is."""

_KINDS = ("prefork", "solo", "threads", "gevent", "eventlet")
# The modules of Celery in which they are, where the name is another.
_MODULES = {"threads": "thread"}

# How many coroutines a child runs at once, unless `worker_async_concurrency` says something else.
_COROUTINES = 100


def kind_of(pool):
    """The name of one of Celery's own pools; None for a class of somebody else."""
    for kind in _KINDS:
        if pool.__module__ == f"celery.concurrency.{_MODULES.get(kind, kind)}":
            return kind
    return None


def is_green(kind):
    return kind in ("gevent", "eventlet")


def describe(parent):
    """How many children there are, and how many tasks each runs at once."""
    kind = kind_of(parent.pool_cls) or "prefork"
    processes, jobs = {"prefork": (parent.concurrency, 1), "solo": (1, 1)}.get(kind, (1, parent.concurrency))
    coroutines = int(parent.app.conf.get("worker_async_concurrency") or _COROUTINES)
    return {"kind": kind, "processes": processes, "jobs": jobs, "coroutines": coroutines}


def child_of(birth):
    """The class of a child that runs tasks like this."""
    runs = birth["runs"]
    if runs == "threads":
        from _celeriac.threads import Threads

        return Threads
    if runs == "solo":
        from _celeriac.solo import Solo

        return Solo
    if runs == "gevent":
        from _celeriac.green import Gevent

        return Gevent
    if runs == "eventlet":
        from _celeriac.green import Eventlet

        return Eventlet
    if runs == "loop":
        from _celeriac.loop import Loop

        return Loop
    from _celeriac.child import Child

    return Child
