"""Looking at queues and emptying them."""
from celeriac.sqlite.statements import SQL

# Messages removed in one transaction, so that a purge keeps nobody waiting for long.
_STEP = 2000


def find(connection, name):
    """The id of a queue, if it is there."""
    return connection.value(SQL["queue_find"], (name,))


def size(connection, name):
    """How many messages of a queue are ready."""
    queue = find(connection, name)
    return 0 if queue is None else connection.value(SQL["stats_ready"], (queue,))


def purge(store, name):
    """Removes what waits in a queue and what is scheduled for it; says how many. What workers hold stays with them."""
    with store.connection() as connection:
        queue = find(connection, name)
    if queue is None:
        return 0
    with store.writing() as tx:
        # Only what is there now, or a busy producer would keep the purge going.
        newest = tx.number()
    return _purge_delayed(store, queue, newest) + _purge_ready(store, queue, newest)


def _purge_delayed(store, queue, newest):
    removed, place = 0, (-(2**63), 0)
    while True:
        with store.writing() as tx:
            found = tx.rows("purge_delayed_list", *place, queue, newest, _STEP)
            for due, message in found:
                tx.run("task_undelay", due, message)
                tx.run("message_remove", message)
        removed += len(found)
        if len(found) < _STEP:
            return removed
        place = found[-1]


def _purge_ready(store, queue, newest):
    removed = 0
    while True:
        with store.writing() as tx:
            found = tx.rows("purge_ready_list", queue, newest, _STEP)
            for rank, message in found:
                tx.run("task_unready", queue, rank, message)
                tx.run("message_remove", message)
        removed += len(found)
        if len(found) < _STEP:
            return removed
