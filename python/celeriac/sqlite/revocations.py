"""Revoking tasks: what waits of them is removed, what runs is for the workers that watch."""
import json

from celeriac.sqlite import results, wake
from celeriac.sqlite.key import key_of
from celeriac.sqlite.transaction import after

# The embed of a body in which others are named that wait for the task.
_EMBED = ("callbacks", "errbacks", "chain", "chord")


def revoke(tx, task, terminate, expires):
    """Marks a task; says whether nothing is left of it. Of a task that others wait for, a worker is to tell them: it hurries."""
    key = key_of(task)
    found = tx.rows("task_messages", key)
    removed = 0
    for message, queue, rank, due in found:
        if _is_awaited(*tx.row("revoke_read", message)):
            _hurry(tx, message, queue, rank, due)
        else:
            removed += _remove(tx, message, queue, rank, due)
    gone = removed == len(found) if found else tx.row("revoked_removed", key, tx.now) is not None
    tx.run("revoke_mark", tx.number(), key, int(terminate), after(tx.now, expires), int(gone))
    tx.touched.add(wake.REVOKED)
    return gone


def tell(tx, tasks, expires):
    """Stores of these tasks that they were revoked, as far as they have no result yet.

    Source: celery/backends/base.py, `Backend.mark_as_revoked`, Celery 5.7.0.
    """
    error = {"exc_type": "TaskRevokedError", "exc_message": ["revoked"], "exc_module": "celery.exceptions"}
    record = {"status": "REVOKED", "result": error, "traceback": None, "children": [], "date_done": None}
    untold = [task for task in tasks if tx.value("result_get_final", key_of(task), tx.now) is None]
    results.insert(tx, [
        results.NewResult(task, "REVOKED", json.dumps({**record, "task_id": task}).encode(), expires) for task in untold
    ])


def _is_awaited(head, body):
    """Whether others wait for the task of a message. What cannot be read here is left to a worker."""
    try:
        headers = json.loads(head).get("headers") or {}
        if headers.get("compression"):
            return True
        body = json.loads(body)
        embed = body[2] if isinstance(body, list) else body
        return any(embed.get(name) for name in _EMBED)
    except (ValueError, LookupError, AttributeError, TypeError):
        return True


def _hurry(tx, message, queue, rank, due):
    """Makes it ready at the head of its queue, if it waits or is scheduled."""
    moved = tx.run("revoke_ready", queue, rank, message)
    if not moved and due is not None:
        moved = tx.run("task_undelay", due, message)
        if moved:
            tx.run("revoke_due", queue, message)
    if moved:
        tx.run("revoke_move", message)
        tx.touched.add(wake.READY)


def _remove(tx, message, queue, rank, due):
    """Removes it from its queue or the schedule; says whether it was there."""
    removed = tx.run("task_unready", queue, rank, message)
    if not removed and due is not None:
        removed = tx.run("task_undelay", due, message)
    if removed:
        tx.run("message_remove", message)
    return bool(removed)
