"""How a task ended, as the parent hears it: see `TaskEnding` in `pool/prefork/protocol.rs` on the Rust side."""
import traceback

SUCCEEDED = {"handled": {"state": "success"}}


def ending_of(failed, value, shows):
    """How a task ended, by what Celery's tracer says of it; with what is shown of that, if the parent asks for it."""
    if not failed:
        return {"handled": {"state": "success", "said": {"text": str(value)}}} if shows else SUCCEEDED
    ending = ended(value)
    if shows and "handled" in ending:
        ending["handled"]["said"] = shown(value)
    return ending


def shown(info):
    """An exception as events show it.

    Source: celery/worker/request.py, `Request.on_failure` and `on_retry`, Celery 5.7.0.
    """
    from billiard.einfo import ExceptionWithTraceback
    from celery.exceptions import Retry
    from celery.utils.serialization import get_pickled_exception
    from kombu.utils.encoding import safe_repr, safe_str

    error = info.exception
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    error = error.exc if isinstance(error, Retry) else get_pickled_exception(error)
    return {"text": safe_repr(error), "traceback": safe_str(info.traceback)}


def ended(info):
    """How a task ended that raised, by what Celery's tracer says of it."""
    from billiard.einfo import ExceptionWithTraceback
    from celery.exceptions import Ignore, Reject, Retry

    error = info.exception
    if isinstance(error, ExceptionWithTraceback):
        error = error.exc
    if isinstance(error, Retry):
        return {"handled": {"state": "retry"}}
    if isinstance(error, Reject):
        return {"rejected": {"requeue": bool(error.requeue), "reason": str(error.reason)}}
    if isinstance(error, Ignore):
        return {"handled": {"state": "ignored"}}
    return {"handled": {"state": "failure"}}


def escaped(error):
    """What left the tracer, which no task should let out."""
    kind = type(error)
    details = {
        "exc_type": kind.__name__, "exc_module": kind.__module__, "message": str(error),
        "traceback": "".join(traceback.format_exception(kind, error, error.__traceback__)),
    }
    return {"escaped": details}
