"""What the code of the application hears, in the template, of tasks whose end the Rust parent decides.

The parent of a Celery worker does this itself. Whatever user code does here, it ends: what takes too long is interrupted,
and what raises is logged.

Source: celery/worker/request.py, `Request`, and celery/worker/consumer/consumer.py, `Consumer`, Celery 5.7.0.
"""
import importlib
import json
import logging

from celery import signals, states
from celery.exceptions import Retry
from celery.utils.objects import Bunch
from celery.utils.serialization import create_exception_cls
from kombu import Message
from kombu.serialization import prepare_accept_content

from _celeriac.alarm import Alarm, Overdue

# How long one piece of user code may take, and how long a result backend, in seconds. The parent waits longer than all of
# them together, and then ends this process.
_HOOK = 3
_BACKEND = 10

log = logging.getLogger("celery.worker.request")


class Told:
    """Hears what the parent has decided, and tells the application."""

    def __init__(self, app, worker):
        self.app, self.worker = app, worker

    def hear(self, head, body):
        """Tells the application; says whether what should be stored is, or, if that was asked, whether a success is."""
        telling = Telling(self, head, body)
        try:
            return bool(getattr(telling, head["what"].replace("-", "_"))())
        except Exception:
            log.exception("The application could not be told that a task was %s: %s", head["what"], head.get("id"))
            return False


class Telling:
    """One thing to tell."""

    def __init__(self, told, head, body):
        self.app, self.worker, self.head = told.app, told.worker, head
        size = head["headers"]
        self.message = self.read(json.loads(body[:size]), body[size:])

    def read(self, parts, body):
        """The message as kombu has it."""
        properties = parts.get("properties") or {}
        delivery = dict(properties.get("delivery_info") or {})
        delivery.setdefault("exchange", "")
        delivery.setdefault("routing_key", self.head["queue"])
        delivery["redelivered"] = self.head["redelivered"]
        return Message(
            body=body, content_type=parts.get("content-type", "application/json"),
            content_encoding=parts.get("content-encoding", "utf-8"), delivery_info=delivery, properties=properties,
            headers=dict(parts.get("headers") or {}), accept=prepare_accept_content(self.app.conf.accept_content),
        )

    @property
    def task(self):
        return self.app.tasks[self.head["task"]]

    def request(self):
        """The request as the worker of Celery has it; without arguments where they cannot be read."""
        from celery.worker.request import Request

        try:
            self.message.payload
        except Exception:
            self.message.errors = []
            self.message._decoded_cache = [(), {}, {}]
        return Request(self.message, app=self.app, task=self.task, hostname=self.worker.hostname)

    def received(self):
        self.call("task_received", signals.task_received.send, sender=self.worker, request=self.request())
        return True

    def stored(self):
        """Whether a success of this task is stored."""
        task = self.task
        if getattr(task.backend, "as_uri", str)() == "rpc://":
            return False
        found = []
        self.store("get_task_meta", lambda: found.append(task.backend.get_task_meta(self.head["id"], cache=False)["status"]))
        return found == [states.SUCCESS]

    def failed(self):
        task, request, error = self.task, self.request(), self.raised()
        context, einfo = request._context, _einfo(error)
        stored = not self.head["stores"] or self.store(
            "mark_as_failure", task.backend.mark_as_failure, request.id, error, request=context,
            store_result=self.head["stores_result"],
        )
        args, kwargs = request.args, request.kwargs
        with _Current(task, context):
            if self.head["calls_task"]:
                self.call("on_failure", task.on_failure, error, request.id, args, kwargs, einfo)
                self.call("after_return", task.after_return, states.FAILURE, error, request.id, args, kwargs, einfo)
            self.call(
                "task_failure", signals.task_failure.send, sender=task, task_id=request.id, exception=error, args=args,
                kwargs=kwargs, traceback=error.__traceback__, einfo=einfo,
            )
        return stored

    def retried(self):
        task, request, error = self.task, self.request(), self.raised()
        context, einfo = request._context, _einfo(error)
        stored = not (self.head["stores"] and self.head["stores_result"]) or self.store(
            "mark_as_retry", task.backend.mark_as_retry, request.id, error, einfo.traceback, request=context,
        )
        reason = Retry(exc=error, when=self.head["countdown"])
        with _Current(task, context):
            self.call("on_retry", task.on_retry, error, request.id, request.args, request.kwargs, einfo)
            self.call("task_retry", signals.task_retry.send, sender=task, request=context, reason=reason, einfo=einfo)
        return stored

    def revoked(self):
        task, request, head = self.task, self.request(), self.head
        context = request._context
        stored = not head["stores"] or self.store(
            "mark_as_revoked", task.backend.mark_as_revoked, request.id, head["reason"], request=context,
            store_result=head["stores_result"],
        )
        self.call(
            "task_revoked", signals.task_revoked.send, sender=task, request=context, terminated=head["terminated"],
            signum=head["signum"], expired=head["expired"],
        )
        return stored

    def unknown(self):
        error, head, properties = self.raised(), self.head, self.message.properties
        stub = Bunch(
            name=head["task"], chord=None, root_id=self.message.headers.get("root_id"), errbacks=None, chain=None,
            correlation_id=properties.get("correlation_id"), reply_to=properties.get("reply_to"),
        )
        stored = not head["stores"] or self.store(
            "mark_as_failure", self.app.backend.mark_as_failure, head["id"], error, request=stub,
        )
        self.call(
            "task_unknown", signals.task_unknown.send, sender=self.worker, message=self.message, exc=error,
            name=head["task"], id=head["id"],
        )
        return stored

    def rejected(self):
        self.call("task_rejected", signals.task_rejected.send, sender=self.worker, message=self.message, exc=self.raised())
        return True

    def raised(self):
        """The exception that the parent speaks of, as it would be raised here."""
        raised = self.head["raised"]
        try:
            kind = getattr(importlib.import_module(raised["module"] or "builtins"), raised["type"])
            if not issubclass(kind, BaseException):
                raise TypeError(kind)
        except Exception:
            kind = create_exception_cls(raised["type"], raised["module"] or "celery.exceptions")
        try:
            return kind(*raised["args"])
        except Exception:
            return create_exception_cls(raised["type"], raised["module"] or "celery.exceptions")(*raised["args"])

    def call(self, what, function, *args, **kwargs):
        return self.bounded(_HOOK, what, function, *args, **kwargs)

    def store(self, what, function, *args, **kwargs):
        return self.bounded(_BACKEND, what, function, *args, **kwargs)

    def bounded(self, seconds, what, function, *args, **kwargs):
        """Calls user code. Says whether it has returned, in time."""
        try:
            with Alarm(seconds):
                function(*args, **kwargs)
            return True
        except Overdue:
            log.error("%s of %s took longer than %s s in the template and was interrupted", what, self.head.get("task"), seconds)
        except BaseException as error:
            log.error("%s of %s raised %r in the template", what, self.head.get("task"), error, exc_info=True)
        return False


def _einfo(error):
    from billiard.einfo import ExceptionInfo

    try:
        raise error
    except BaseException:
        return ExceptionInfo()


class _Current:
    """Lets `task.request` be this one."""

    def __init__(self, task, context):
        self.task, self.context = task, context

    def __enter__(self):
        self.task.request_stack.push(self.context)

    def __exit__(self, *_):
        self.task.request_stack.pop()
