"""Tasks that are stopped, before they start and while they run, and workers."""
import os
import random
import socket
import subprocess
import sys
import time

from celery import chain, chord
from celery.exceptions import TaskRevokedError

from steering.common import ASK, FAMILY, NODE, Slow, add, app, inspect, raised, reason, told, total
from waiting import DEADLINE, until


def revocations():
    app.control.revoke(["listed-1", "listed-2"], **ASK)
    app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": {"monitoring_id": "listed"}}, **ASK)
    ids = inspect("revoked")
    assert {"listed-1", "listed-2"} <= set(ids), ids
    assert all(isinstance(id, str) and "stamp" not in id for id in ids), ids
    assert told(app.control.broadcast("dump_revoked", **ASK)) == ids


def mingle():
    """A stock worker that starts learns of revocations, and ours of those that it brings."""
    app.control.revoke("early-1", **ASK)
    app.control.revoke("early-2", **ASK)
    reply = inspect("hello", "stranger@control", ["brought-1", "early-1"])
    assert sorted(reply) == ["clock", "revoked"] and isinstance(reply["clock"], int), reply
    assert sorted(reply["revoked"]) == ["brought-1", "early-1", "early-2"], reply
    # The oldest first: who knows too many forgets those.
    assert [id for id in reply["revoked"] if id.startswith("early")] == ["early-1", "early-2"], reply
    # So says Celery before 5.7.
    assert "brought-2" in inspect("hello", "stranger@control", {"brought-2": 7.0})["revoked"]
    assert {"brought-1", "brought-2"} <= set(inspect("revoked"))
    assert inspect("hello", NODE) is None
    options = ["-Q", "stock", "-n", "stock@control", "-c", "1", "-l", "error"]
    stock = subprocess.Popen([sys.executable, "-m", "celery", "-A", "tasks", "worker", *options], stdout=subprocess.DEVNULL)
    try:
        replies = until("the stock worker is there", lambda: app.control.inspect(["stock@control"], timeout=1).revoked())
        assert {"early-1", "early-2", "brought-1", "brought-2"} <= set(replies["stock@control"]), replies
    finally:
        stock.kill()
        stock.wait()
    # A reply is no larger than this, and the last are told.
    inspect("hello", "stranger@control", [f"many-{number}" for number in range(10_000)])
    app.control.revoke("last", **ASK)
    told_of = inspect("hello", "stranger@control")["revoked"]
    assert (len(told_of), told_of[-1]) == (10_000, "last"), (len(told_of), told_of[-1])
    assert "early-1" not in told_of


def revoke():
    slots = [Slow().runs(), Slow().runs()]
    waiting, many = Slow().result, [Slow().result for _ in range(3)]
    waiting.revoke()
    # At once: no slot is free.
    assert reason(waiting) == "revoked"
    assert told(app.control.revoke(many[0].id, **ASK)) == {"ok": "tasks {'%s'} flagged as revoked" % many[0].id}
    app.control.revoke([result.id for result in many], **ASK)
    assert [reason(result) for result in many] == ["revoked"] * 3
    # What runs is left alone.
    slots[0].result.revoke()
    assert told(app.control.revoke(slots[0].id, **ASK))["ok"].startswith("tasks {")
    assert slots[0].result.state != "REVOKED", slots[0].result.state
    for slot in slots:
        assert slot.may_go()
        assert slot.result.state == "SUCCESS"
    # What is sent later does not run either, and a countdown ends at once.
    later = add(countdown=3600)
    until("it is scheduled", lambda: inspect("scheduled"))
    later.revoke()
    assert reason(later) == "revoked"
    app.control.revoke("not-yet-sent", **ASK)
    assert reason(app.AsyncResult("not-yet-sent")) == "revoked"
    add(task_id="not-yet-sent")
    until("its message is discarded", lambda: app.connection().default_channel._size("celery") == 0)
    assert total(add()) == 3
    assert reason(app.AsyncResult("not-yet-sent")) == "revoked"
    missing = "TypeError(\"revoke() missing 1 required positional argument: 'task_id'\")"
    assert told(app.control.broadcast("revoke", **ASK)) == {"error": missing}


def sent_again():
    """To a worker that has started since `revoke`."""
    add(task_id="not-yet-sent")
    stamped = add_stamped("stamp-1")
    assert total(add()) == 3
    assert reason(app.AsyncResult("not-yet-sent")) == reason(stamped) == "revoked"


def terminate():
    one, other = Slow().runs(), Slow().runs()
    one.result.revoke(terminate=True)
    assert reason(one.result) == "terminated"
    said = told(app.control.terminate(other.id, signal="SIGKILL", **ASK))
    assert said == {"ok": f"terminate: {other.id}"}, said
    assert reason(other.result) == "terminated"
    assert told(app.control.revoke("nobody", terminate=True, **ASK)) == {"ok": "terminate: tasks unknown"}
    assert "no such signal" in told(app.control.revoke("nobody", terminate=True, signal="term", **ASK))["error"]
    two = [Slow().runs(), Slow().runs()]
    app.control.terminate([slow.id for slow in two], signal="QUIT")
    assert [reason(slow.result) for slow in two] == ["terminated"] * 2
    # Their processes have been replaced, and nothing else has been hurt.
    assert [total(add()) for _ in range(20)] == [3] * 20


def signals():
    """What a task makes of a signal that its process may survive is up to the task."""
    limited = Slow().runs()
    app.control.revoke(limited.id, terminate=True, signal="SIGUSR1", **ASK)
    assert raised(limited.result) == "SoftTimeLimitExceeded"
    catches = Slow("SIGINT", name="catches").runs()
    app.control.terminate(catches.id, signal="INT")
    assert catches.result.get(timeout=DEADLINE) == "told 2"
    # SIGINT means nothing to a child, as in a stock pool; it can be ended all the same.
    stubborn = Slow().runs()
    app.control.terminate(stubborn.id, signal="INT", **ASK)
    app.control.terminate(stubborn.id, signal="TERM", **ASK)
    assert reason(stubborn.result) == "terminated"
    assert [total(add()) for _ in range(4)] == [3] * 4


def add_stamped(stamp):
    call = app.signature(f"{FAMILY}.add", args=(1, 2))
    call.stamp(monitoring_id=stamp)
    return call.apply_async()


def slow_stamped(stamp):
    """A stamped task that runs until it may go, once it has a slot."""
    slow = Slow.__new__(Slow)
    slow.listener = socket.create_server(("127.0.0.1", 0))
    slow.listener.settimeout(DEADLINE)
    call = app.signature(f"{FAMILY}.slow", args=("127.0.0.1:%d" % slow.listener.getsockname()[1],))
    call.stamp(monitoring_id=stamp)
    slow.result = call.apply_async()
    slow.id = slow.result.id
    return slow


def stamps():
    one, other = slow_stamped("stamp-1").runs(), slow_stamped("stamp-2").runs()
    waiting, spared = slow_stamped("stamp-1").result, add_stamped("stamp-3")
    headers = {"monitoring_id": ["stamp-1", "stamp-4"]}
    said = told(app.control.broadcast("revoke_by_stamped_headers", arguments={"headers": headers}, **ASK))
    assert said == {"ok": f"headers {headers} flagged as revoked, but not terminated"}, said
    # It does not wait for a slot.
    assert reason(waiting) == "revoked"
    assert one.may_go()
    assert total(spared) == 3
    said = app.control.revoke_by_stamped_headers({"monitoring_id": ["stamp-2"]}, terminate=True, **ASK)
    assert told(said) == {"ok": "headers {'monitoring_id': {'stamp-2'}} revoked"}, said
    assert reason(other.result) == "terminated"
    said = told(app.control.revoke_by_stamped_headers({"monitoring_id": "nobody"}, terminate=True, **ASK))
    assert said == {"ok": "headers {'monitoring_id': 'nobody'} were not terminated"}, said
    assert reason(add_stamped("stamp-4")) == "revoked"
    assert total(add_stamped("stamp-5")) == 3


def workflows():
    """Whoever waits for a revoked task hears of it, whether it ran or not."""
    family = lambda name, *args, **options: app.signature(f"{FAMILY}.{name}", args=args, **options)  # noqa: E731
    for number, runs in enumerate((True, False)):
        slots = [] if runs else [Slow().runs(), Slow().runs()]
        victim, errback = f"victim-{number}", f"errback-{number}"
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(DEADLINE)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        member = family("slow", address, immutable=True).set(task_id=victim)
        member.link_error(family("add", 20, 22, immutable=True).set(task_id=errback))
        body = chord([family("add", 1, 1), member], app=app)(family("add", 1, 2, immutable=True))
        if runs:
            connection, _ = listener.accept()
        app.control.revoke(victim, terminate=True, **ASK)
        assert reason(app.AsyncResult(victim)) == ("terminated" if runs else "revoked")
        for slot in slots:
            slot.may_go()
        # Without its parents, whose errors Celery raises first.
        assert raised(app.AsyncResult(body.id)) == "ChordError"
        assert total(app.AsyncResult(errback)) == 42
        steps = chain(family("slow", address, immutable=True).set(task_id=f"{victim}-step"), family("add", 1, 2, immutable=True), app=app)
        last = steps.apply_async()
        connection, _ = listener.accept()
        app.control.terminate(f"{victim}-step", **ASK)
        assert reason(app.AsyncResult(f"{victim}-step")) == "terminated"
        assert total(add()) == 3
        assert last.state != "SUCCESS", last.state


# How many cancels are under way before their results are awaited.
WINDOW = 20


def races():
    """Cancels raced against tasks of a millisecond: those that were not cancelled all succeed.

    CANCELS sets how many, SEED the times. There are more where all of them came too early, or too late, and where none has hit a task
    that ran, those take longer: on a busy machine a cancel takes its time too.
    """
    wanted, dice = int(os.environ.get("CANCELS", "300")), random.Random(int(os.environ.get("SEED", "7")))
    cancels = hits = late = early = 0
    seconds = 0.001
    while cancels < wanted or not (hits and late):
        assert cancels < 20 * wanted, (hits, early, late)
        if cancels >= wanted and not hits:
            seconds *= 1.2
        cancels += WINDOW
        pairs = []
        for _ in range(WINDOW):
            victim, innocent = nap(seconds), nap(seconds)
            pairs.append((victim, innocent))
            time.sleep(dice.random() * 0.003)
            app.control.revoke(victim.id, terminate=True, signal=dice.choice(["TERM", "KILL", "QUIT"]))
        for victim, innocent in pairs:
            assert innocent.get(timeout=DEADLINE) == "napped", innocent.id
            try:
                assert victim.get(timeout=DEADLINE) == "napped"
                late += 1
            except TaskRevokedError as error:
                hits, early = hits + (str(error) == "terminated"), early + (str(error) == "revoked")
    print(f"{cancels} cancels: {hits} hit a task that ran, {early} came before it, {late} after it; they took {seconds:.4f} s at last", file=sys.stderr)
    assert hits + early + late == cancels
    assert total(add()) == 3


def nap(seconds):
    return app.send_task("held.nap", [seconds])


def shutdown():
    app.control.shutdown(destination=[NODE])
