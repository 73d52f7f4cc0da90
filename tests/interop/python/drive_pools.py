"""A stock producer of the applications that run in other pools than prefork. Usage: drive_pools.py NAME"""
import os
import subprocess
import sys

from drive_apps import DEADLINE, noted, raised  # noqa: F401, it finds apps/

from celery import chain, chord, group


def terminate(result):
    """Revokes a task that runs, and ends it."""
    command = [os.environ["RUST_TASKS"], "--broker", os.environ["CELERY_BROKER_URL"], "revoke", "--terminate", result.id]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def meet(event_loop="asyncio"):
    import coroutines as tasks

    results = [tasks.meet.delay(40) for _ in range(40)]
    told = [result.get(timeout=DEADLINE) for result in results]
    assert len({pid for pid, *_ in told}) == 1, "all of them ran in one child"
    assert [seen for _, seen, *_ in told] == [[result.id] for result in results], told
    assert all(on_loop for _, _, on_loop, _ in told), told
    assert all(module.split(".")[0] == event_loop for *_, module in told), told


def meet_on_uvloop():
    meet("uvloop")


def coroutines():
    import coroutines as tasks

    assert tasks.aadd.delay(1, 2).get(timeout=DEADLINE) == 3
    assert tasks.add.delay(1, 2).get(timeout=DEADLINE) == 3
    called = tasks.calls_another.delay(10)
    assert called.get(timeout=DEADLINE) == [23, called.id], called.result
    assert raised(tasks.fail.delay("bad")) == ("ValueError", "bad")
    assert tasks.stubborn.delay(2).get(timeout=DEADLINE) == 2
    assert tasks.retried.delay(2).get(timeout=DEADLINE) == 2
    name, text = raised(tasks.leaves.delay())
    assert (name, "SystemExit" in text) == ("WorkerLostError", True), (name, text)
    assert raised(tasks.cancels_itself.delay())[0] == "CancelledError"
    ignored = tasks.ignores.delay()
    noted("task_postrun:ignores")
    assert ignored.state == "PENDING", ignored.state
    for noting in ("on_failure:ValueError", "after_return:FAILURE:True", "task_failure:fail", "task_retry:stubborn",
                   "task_retry:retried", "task_prerun:aadd", "task_success:aadd", "task_postrun:aadd"):
        noted(noting)


def coroutine_canvas():
    import coroutines as tasks

    both = (tasks.aadd, tasks.add)
    assert chain(task.s(1) for task in both * 2).delay(0).get(timeout=DEADLINE) == 4
    assert group(tasks.aadd.s(n, n) for n in range(4)).delay().get(timeout=DEADLINE) == [0, 2, 4, 6]
    assert chord([task.s(n, n) for n in range(3) for task in both], tasks.aadd.si(1, 1)).delay().get(timeout=DEADLINE) == 2
    linked = tasks.aadd.apply_async((1, 1), link=tasks.aadd.s(5))
    linked.get(timeout=DEADLINE)
    assert linked.children[0].get(timeout=DEADLINE) == 7


def coroutine_limits():
    import coroutines as tasks

    # Others run in the same child all the time, and are not hurt.
    sibling = tasks.sleeps.delay(3)
    assert tasks.patient.delay().get(timeout=DEADLINE) == ["cleaned up", 0]
    assert raised(tasks.impatient.delay())[0] == "SoftTimeLimitExceeded"
    assert tasks.grouped.delay().get(timeout=DEADLINE) == [True, True]
    assert raised(tasks.endless.delay())[0] == "TimeLimitExceeded"
    noted("endless-was-cleaned-up")
    revoked = tasks.begins_and_sleeps.delay(60)
    noted("begins-and-sleeps")
    terminate(revoked)
    noted("begins-and-sleeps-was-cancelled")
    name, text = raised(revoked)
    assert name == "TaskRevokedError", (name, text)
    assert revoked.state == "REVOKED", revoked.state
    pid, seconds = sibling.get(timeout=DEADLINE)
    assert 3 <= seconds < 10, seconds
    again, _ = tasks.sleeps.delay(0).get(timeout=DEADLINE)
    assert again == pid, "the child is the same"


def blocked_loop():
    import coroutines as tasks

    again, lost = tasks.comes_again.delay(), tasks.sleeps.delay(60)
    noted("comes-again")
    noted("task_prerun:sleeps")
    blocks = tasks.blocks.delay()
    # The loop hears nothing any more. Who is at fault is beyond its limit; the others are lost, each by its own rules.
    assert raised(blocks)[0] == "TimeLimitExceeded"
    assert raised(lost)[0] == "WorkerLostError"
    assert again.get(timeout=DEADLINE) == "again"


def beside_threads():
    import coroutines as tasks

    assert chain(tasks.aadd.s(1, 1), tasks.add.s(1), tasks.aadd.s(1)).delay().get(timeout=DEADLINE) == 4


def pooled(at_once):
    import pooled as tasks

    results = [tasks.meet.delay(at_once) for _ in range(at_once)]
    assert [result.get(timeout=DEADLINE) for result in results] == [result.id for result in results]
    assert raised(tasks.fail.delay("bad")) == ("ValueError", "bad")
    assert tasks.stubborn.delay(2).get(timeout=DEADLINE) == 2
    name, text = raised(tasks.leaves.delay())
    assert (name, "SystemExit" in text or "exitcode 3" in text) == ("WorkerLostError", True), (name, text)
    assert chord([tasks.add.s(n, n) for n in range(4)], tasks.add.si(1, 1)).delay().get(timeout=DEADLINE) == 2
    told = tasks.where.delay().get(timeout=DEADLINE)
    assert told["pid"] != os.getpid() and not told["daemon"] and told["process"] == "MainProcess", told
    return told


def threads():
    import pooled as tasks

    told = pooled(10)
    assert not told["main"] and not told["patched"], told
    # As in the stock pool, nothing stops a thread.
    assert tasks.endless.delay().get(timeout=DEADLINE) == "slept"
    assert tasks.patient.delay().get(timeout=DEADLINE) == "slept"
    revoked = tasks.sleeps.delay(1)
    noted("sleeps")
    terminate(revoked)
    assert revoked.get(timeout=DEADLINE) == told["pid"]


def solo():
    import pooled as tasks

    told = pooled(1)
    assert told["main"], told
    assert tasks.patient.delay().get(timeout=DEADLINE) == "cleaned up"
    assert raised(tasks.endless.delay())[0] == "TimeLimitExceeded"
    assert tasks.add.delay(1, 1).get(timeout=DEADLINE) == 2


def green():
    import pooled as tasks

    told = pooled(10)
    assert told["patched"], told
    sibling = tasks.sleeps.delay(4)
    noted("sleeps")
    assert tasks.patient.delay().get(timeout=DEADLINE) == "cleaned up"
    assert raised(tasks.endless.delay())[0] == "TimeLimitExceeded"
    revoked = tasks.sleeps.delay(60)
    noted("sleeps", times=2)
    terminate(revoked)
    assert raised(revoked)[0] == "TaskRevokedError"
    assert sibling.get(timeout=DEADLINE) == told["pid"], "others are not hurt"


def lost_together():
    import pooled as tasks

    path = os.path.abspath("killed-once")
    again, lost = tasks.killed_once.delay(path), tasks.lost_with_it.delay(path)
    # Each by its own rules: one is delivered again, the other is not.
    assert again.get(timeout=DEADLINE) == "again"
    assert raised(lost)[0] == "WorkerLostError"


def leftovers():
    """What two tasks see of their processes."""
    import leftovers as tasks

    told = [tasks.whose.delay().get(timeout=DEADLINE) for _ in range(4)]
    assert all(it["node"] == "apps@interop" for it in told), told
    return told


def spawned():
    for told in leftovers():
        assert told["opened_by"] == told["pid"], f"the child has its own connection: {told}"
        assert "metrics" in told["threads"], f"and its own thread: {told}"
        assert told["name"].startswith("SpawnPoolWorker-") and told["says"] == "1", told


def forked():
    for told in leftovers():
        assert told["opened_by"] != told["pid"] and "metrics" not in told["threads"], told
        assert told["name"].startswith("ForkPoolWorker-") and told["says"] is None, told


def peculiar():
    import peculiar as tasks

    assert tasks.add.delay(1, 2).get(timeout=DEADLINE) == 3


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.stdout.flush()
    os._exit(0)
