"""Results that children hand to their parent, which stores them in the step that settles the task."""

from celery.backends.base import DisabledBackend

# Result backends that write what our stores read.
_OUR_BACKENDS = {
    ("celery.backends.redis", "RedisBackend"), ("celery.backends.redis", "SentinelBackend"), ("celeriac.backend", "SqliteBackend"),
}


def keeps_results_here(app, backend):
    """Whether what this backend keeps is kept by a store of ours, in the form that this has, and by nothing else."""
    if isinstance(backend, DisabledBackend):
        return True
    here = (type(backend).__module__, type(backend).__name__) in _OUR_BACKENDS
    return here and backend is app.backend and app.conf.result_serializer == "json"


class HandOver:
    """Stands between Celery's tracer and the result backend of the application, in the thread that runs the tasks.

    The tracer hands a result to `Backend.store_result`, which encodes it and calls `_store_result` (celery/backends/base.py,
    `KeyValueStoreBackend`, Celery 5.7.0), which reads what is stored and writes. Here the second step of what ends the task
    that runs is left to the parent. Everything else goes the way it always goes: states on the way, results of other tasks,
    members of chords (which are counted next), and results that code of the application could look at before the task has
    reported its end.
    """

    def __init__(self, app):
        self.app = app
        self.backend = app.backend
        self.stored = self.backend._store_result
        # The task that runs; what was handed over of it.
        self.task_id = self.record = None
        # By name of task: see `_is_watched`.
        self.watched = {}

    @classmethod
    def of(cls, app):
        """What hands over the results of this application; None where they go elsewhere."""
        if isinstance(app.backend, DisabledBackend) or not keeps_results_here(app, app.backend):
            return None
        hand_over = cls(app)
        hand_over.backend._store_result = hand_over.store
        return hand_over

    def store(self, task_id, result, state, traceback=None, request=None, **options):
        if task_id != self.task_id or not self.takes(state, request):
            return self.stored(task_id, result, state, traceback=traceback, request=request, **options)
        meta = self.backend._get_result_meta(result=result, state=state, traceback=traceback, request=request)
        meta["task_id"] = task_id
        record = self.backend.encode(meta)
        self.record = record if isinstance(record, bytes) else record.encode()
        return result

    def takes(self, state, request):
        """Whether this is how the task ends, and nobody looks at it before the parent has it."""
        if state == "FAILURE":
            # Errbacks are given the id of the task, and ask for its result.
            is_last = not request.errbacks
        else:
            is_last = state == "SUCCESS"
        if not is_last or request.chord:
            return False
        watched = self.watched.get(request.task)
        if watched is None:
            watched = self.watched[request.task] = _is_watched(self.app.tasks.get(request.task))
        return not watched

    def begin(self, task_id):
        self.task_id, self.record = task_id, None

    def end(self):
        """What was handed over of the task that ran."""
        record, self.task_id, self.record = self.record, None, None
        return record


def _is_watched(task):
    """Whether code of the application runs between the storing of a result of this task and its end.

    Source: celery/app/trace.py, `build_tracer` and `TraceInfo.handle_failure`, Celery 5.7.0.
    """
    from celery import signals
    from celery.app.task import Task

    if task is None or task.backend is not task.app.backend:
        return True
    hooks = ("on_success", "on_failure", "after_return")
    if any(getattr(type(task), hook) is not getattr(Task, hook) for hook in hooks):
        return True
    ends = (signals.task_success, signals.task_failure, signals.task_postrun)
    return any(_is_of_application(receiver) for signal in ends for receiver in signal._live_receivers(task))


def _is_of_application(receiver):
    """Whether it is not one of Celery's own, such as those of its Django fixup."""
    return not (getattr(receiver, "__module__", None) or "").startswith("celery.")
