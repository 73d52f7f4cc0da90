"""A stock producer of apps/fates.py: what becomes of tasks that do not end by themselves. Usage: drive_fates.py NAME"""
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps"))

from celery import chord  # noqa: E402
from celery.utils import uuid  # noqa: E402

if sys.argv[1:] == ["elsewhere"]:
    import fates_elsewhere  # noqa: E402, F401

from fates import TASKS, app, done_and_lost, grows, slow, tick, told  # noqa: E402

# Of all that one scenario sends, on a machine that does much else: each lost child costs the start of another.
DEADLINE = 240
# More often than any message is delivered.
ALWAYS = 99
# How long a child may be silent where siblings are watched, in seconds.
SILENCE = 8
AGAIN = ("SUCCESS", "again")


def lost(why):
    return "FAILURE", "WorkerLostError", why


LOST = {
    "sigkill": lost("signal 9 (SIGKILL)"), "sigsegv": lost("signal 11 (SIGSEGV)"), "leaves": lost("exitcode 3"),
    "exits": lost("exitcode 4"), "stops": lost("silence"),
}
OVER = ("FAILURE", "TimeLimitExceeded", "0.5")
NO_MEMORY = ("FAILURE", "MemoryError", "")
# How exceptions begin that do not begin with their class.
REPRS = {"Reject": "reject requeue="}
FAILED_ONCE = {"on_failure": 1, "after_return FAILURE": 1, "task_failure": 1, "errback": 1}
RETRIED = {"on_retry": 1, "task_retry": 1}
RETURNED = {"after_return SUCCESS": 1}
# Only the signal and the errbacks, as in Celery.
REJECTED = {"task_failure": 1, "errback": 1}


def of_lost_children():
    """kind, way, how often it goes that way, how it ends, how often it runs, what is heard, why it is among the failed tasks."""
    for way, end in LOST.items():
        if way == "stops":
            continue
        yield "early", way, ALWAYS, end, 1, FAILED_ONCE, None
        yield "late", way, ALWAYS, end, 1, FAILED_ONCE, None
        yield "refuses", way, ALWAYS, end, 1, FAILED_ONCE, "rejected"
        yield "rejects", way, 1, AGAIN, 2, RETURNED, None
        yield "rejects", way, ALWAYS, end, 3, FAILED_ONCE, "delivery-limit"
        yield "retries", way, 1, AGAIN, 2, {**RETRIED, **RETURNED}, None
        yield "retries", way, ALWAYS, end, 2, {**RETRIED, **FAILED_ONCE}, None
        yield "late_retries", way, 1, AGAIN, 2, {**RETRIED, **RETURNED}, None
        # What has been retried so often is not requeued besides.
        yield "late_retries", way, ALWAYS, end, 2, {**RETRIED, **FAILED_ONCE}, None


    # Found by their silence, which takes its time: fewer of these.
    for kind, times, end, runs, hears in (
        ("early", ALWAYS, LOST["stops"], 1, FAILED_ONCE), ("late", ALWAYS, LOST["stops"], 1, FAILED_ONCE),
        ("rejects", 1, AGAIN, 2, RETURNED), ("retries", 1, AGAIN, 2, {**RETRIED, **RETURNED}),
        ("late_retries", 1, AGAIN, 2, {**RETRIED, **RETURNED}),
    ):
        yield kind, "stops", times, end, runs, hears, None


def of_other_ends():
    # The child lives on: a failure like any other.
    for kind in ("early", "late", "rejects", "retries"):
        yield kind, "memory", ALWAYS, NO_MEMORY, 1, FAILED_ONCE, None
    yield "refuses", "memory", ALWAYS, NO_MEMORY, 1, FAILED_ONCE, "rejected"
    for kind in ("early", "late", "rejects", "retries"):
        yield kind, "overtime", ALWAYS, OVER, 1, FAILED_ONCE, None
    yield "late_timeout", "overtime", 1, AGAIN, 2, RETURNED, None
    yield "late_timeout", "overtime", ALWAYS, OVER, 3, FAILED_ONCE, "delivery-limit"
    yield "early", "rejects", ALWAYS, ("FAILURE", "Reject", "no"), 1, REJECTED, None
    yield "late", "rejects", ALWAYS, ("FAILURE", "Reject", "no"), 1, REJECTED, "rejected"
    # There is no message to requeue.
    yield "early", "requeues", ALWAYS, ("FAILURE", "Reject", "again"), 1, REJECTED, None
    # As often as it likes: a refusal is no death.
    yield "late", "requeues", 5, AGAIN, 6, RETURNED, None


def of_results_under_way():
    for kind, times, end, runs, hears in (
        ("early", ALWAYS, LOST["sigkill"], 1, FAILED_ONCE), ("late", ALWAYS, LOST["sigkill"], 1, FAILED_ONCE),
        ("rejects", 1, AGAIN, 2, RETURNED), ("late_retries", 1, AGAIN, 2, {**RETRIED, **RETURNED}),
    ):
        yield kind, "halfway", times, end, runs, {**hears, "halfway": runs if end != AGAIN else runs - 1}, None


def send(kind, way, times):
    options = {"time_limit": 0.5} if way == "overtime" else {}
    return TASKS[kind].apply_async((way, times), link_error=told.s(), **options)


def noted():
    for line in open("notes"):
        yield json.loads(line.split(" ", 1)[1])


def notes():
    """What has been noted of each task, `runs` among it."""
    heard = {}
    for note in noted():
        heard.setdefault(note["task"], Counter())[note["what"]] += 1
    return heard


def errors():
    """With which exceptions the application has heard of the failure of each task."""
    errors = {}
    for note in noted():
        if note["what"] in ("on_failure", "task_failure"):
            errors.setdefault(note["task"], set()).add(note["error"])
    return errors


def ended(result, deadline=None):
    try:
        value = result.get(timeout=DEADLINE if deadline is None else max(deadline - time.monotonic(), 0.1))
    except Exception as error:
        return result.state, type(error).__name__, str(error)
    return result.state, value


def is_so(end, wanted):
    return end[:2] == wanted[:2] and wanted[-1] in end[-1]


def failed_tasks():
    listed = subprocess.run(
        [os.environ["RUST_TASKS"], "-b", os.environ["CELERY_BROKER_URL"], "failed", "list", "--limit", "1000", "--json"],
        check=True, stdout=subprocess.PIPE,
    )
    return {task["id"]: task["code"] for task in json.loads(listed.stdout)}


def left():
    """What the queue and those who consume it still hold."""
    with app.connection_for_read() as connection:
        client = connection.default_channel.client
        return client.llen("celery"), client.hlen("unacked")


def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def check(rows):
    """Sends all of them at once, and looks what has become of each."""
    rows = list(rows)
    sent = [(row, send(*row[:3])) for row in rows]
    wrong, deadline = [], time.monotonic() + DEADLINE
    for (kind, way, times, end, *_), result in sent:
        seen = ended(result, deadline)
        if not is_so(seen, end):
            wrong.append((kind, way, times, "ended", seen, "and not", end))
    hearings = [(row, result.id, Counter({"task_received": row[4], "runs": row[4], **row[5]})) for row, result in sent]
    until(lambda: all(notes().get(id) == hears for _, id, hears in hearings) and left() == (0, 0))
    heard, raised, kept = notes(), errors(), failed_tasks()
    for row, id, hears in hearings:
        if heard.get(id) != hears:
            wrong.append((*row[:3], "heard", dict(heard.get(id, {})), "and not", dict(hears)))
        kind = REPRS.get(row[3][1], row[3][1] + "(")
        if any(not error.startswith(kind) for error in raised.get(id, ())):
            wrong.append((*row[:3], "heard of", raised[id], "and not", kind))
        if kept.get(id) != row[6]:
            wrong.append((*row[:3], "is kept as", kept.get(id), "and not", row[6]))
    if left() != (0, 0):
        wrong.append(("the queue holds", left()))
    assert not wrong, "\n" + "\n".join(map(str, wrong))


def lost_children():
    check(of_lost_children())


def other_ends():
    check(of_other_ends())
    # Each has 0.1 s for that, in which a busy machine may not get round to it.
    assert notes()[None]["cleaned up"] > 0, "nobody cleaned up beyond its hard limit"


def results_under_way():
    check(of_results_under_way())


def latencies(count):
    """How long so many short tasks took, one after the other."""
    times = []
    for _ in range(count):
        began = time.monotonic()
        tick.delay().get(timeout=DEADLINE, interval=0.002)
        times.append(time.monotonic() - began)
    return times


def siblings():
    """A stream of short tasks in one child, while the other is stopped, dies in the middle of its result, or just dies.

    The usual task is compared with those around the trouble, because other programs use the machine too. One that waited
    for what has become of the other child would take as long as that may be silent, of which no other program is capable.
    """
    latencies(20)
    for way in ("stops", "halfway", "sigsegv"):
        calm = latencies(50)
        doomed = send("early", way, ALWAYS)
        assert until(lambda: "runs" in notes().get(doomed.id, ()))
        troubled = []
        while not doomed.ready() or len(troubled) < 50:
            troubled += latencies(10)
        calm += latencies(50)
        more, worst = statistics.median(troubled) - statistics.median(calm), max(troubled) - max(calm)
        print(f"{way}: {len(troubled)} tasks, usually {more * 1000:+.1f} ms, at worst {worst * 1000:+.1f} ms")
        assert more < 0.1, f"{way}: the usual short task took {more:.3f} s more"
        assert worst < SILENCE / 2, f"{way}: a short task took {worst:.3f} s more than the longest without"


def one_of_each_loss():
    check([("early", "sigkill", ALWAYS, LOST["sigkill"], 1, FAILED_ONCE, None),
           ("rejects", "leaves", 1, AGAIN, 2, RETURNED, None),
           ("retries", "sigsegv", 1, AGAIN, 2, {**RETRIED, **RETURNED}, None)])


def slow_hooks():
    """Whatever the code of the application does when it hears of a loss, everything else goes on."""
    began = time.monotonic()
    result = slow.delay()
    assert is_so(ended(result), LOST["sigkill"])
    assert until(lambda: "on_failure begins" in notes().get(result.id, ()))
    assert max(latencies(50)) < 2, "its sibling is not told"
    assert until(lambda: notes()[result.id] == Counter(
        {"task_received": 1, "on_failure begins": 1, "after_return FAILURE": 1, "task_failure": 1},
    ))
    assert time.monotonic() - began > 2, "it was not interrupted at once"


def chords():
    """A member that is lost fails its chord, once."""
    members = [TASKS["early"].s("sigkill", ALWAYS), tick.s()]
    body = app.AsyncResult(chord(members)(tick.si().on_error(told.s())).id)
    assert is_so(ended(body), ("FAILURE", "ChordError", "WorkerLostError")), ended(body)
    assert until(lambda: notes().get(body.id) == Counter({"errback": 1})), notes()


def succeeded_before():
    """A success that is stored stands, whatever becomes of the child afterwards."""
    result = done_and_lost.delay()
    assert ended(result) == ("SUCCESS", "done")
    assert until(lambda: left() == (0, 0)), left()
    assert (result.state, notes()[result.id]) == ("SUCCESS", Counter({"task_received": 1, "on_success": 1}))


def elsewhere():
    """Results that are kept where only the application knows: its backend stores them, and calls errbacks, once."""
    assert type(app.backend).__name__ == "FilesystemBackend"
    one_of_each_loss()
    check([("early", "overtime", ALWAYS, OVER, 1, FAILED_ONCE, None),
           ("late", "rejects", ALWAYS, ("FAILURE", "Reject", "no"), 1, REJECTED, "rejected")])
    unknown = app.send_task("fates.nobody", (1,))
    assert is_so(ended(unknown), ("FAILURE", "NotRegistered", "fates.nobody"))
    expired = TASKS["late"].apply_async(("sigkill", 0), expires=-5)
    assert is_so(ended(expired), ("REVOKED", "TaskRevokedError", "expired"))
    succeeded_before()


def many():
    """Until four children have been replaced."""
    deadline = time.monotonic() + DEADLINE
    while notes()[None]["worker_process_init"] < 6:
        assert time.monotonic() < deadline, notes()[None]
        for result in [tick.delay() for _ in range(5)]:
            result.get(timeout=DEADLINE)


def memory_grows():
    pids = [grows.delay(160 << 20).get(timeout=DEADLINE) for _ in range(4)]
    assert len(set(pids)) == 4, "each child is replaced that has grown"


def cold():
    """What was acknowledged when the worker was told to end at once has failed; the rest is in its queue."""
    with open("sent") as file:
        sent = {kind: app.AsyncResult(id) for kind, id in json.load(file).items()}
    for kind in ("early", "retries"):
        assert is_so(ended(sent[kind]), ("FAILURE", "WorkerLostError", "shut down")), ended(sent[kind])
        assert until(lambda: notes()[sent[kind].id] == Counter(
            {"task_received": 1, "runs": 1, "on_failure": 1, "after_return FAILURE": 1, "task_failure": 1},
        )), notes()
    assert [sent[kind].state for kind in ("late", "rejects")] == ["PENDING"] * 2
    # With the errbacks of those that have failed.
    assert left() == (4, 0), left()


def works():
    assert time.time() - tick.delay().get(timeout=DEADLINE) < DEADLINE


def begin_long_ones():
    sent = {kind: send(kind, "sleeps", 1).id for kind in ("early", "late", "rejects", "retries")}
    assert until(lambda: all("runs" in notes().get(id, ()) for id in sent.values())), notes()
    with open("sent", "w") as file:
        json.dump(sent, file)


def long_ones_end():
    """Without its worker nobody can say how a task ended that was acknowledged before; the others run again."""
    with open("sent") as file:
        sent = {kind: app.AsyncResult(id) for kind, id in json.load(file).items()}
    for kind in ("late", "rejects"):
        assert ended(sent[kind]) == AGAIN, (kind, ended(sent[kind]))
        assert notes()[sent[kind].id]["runs"] == 2, notes()
    for kind in ("early", "retries"):
        assert (sent[kind].state, dict(notes()[sent[kind].id])) == ("PENDING", {"task_received": 1, "runs": 1}), (kind, sent[kind].state, notes())
    assert until(lambda: left() == (0, 0)), left()


def publish(name, body, content_type):
    """Sends what is no call that can be decoded."""
    id = uuid()
    with app.producer_or_acquire() as producer:
        headers = {"task": name, "id": id, "lang": "py", "argsrepr": "()", "kwargsrepr": "{}"}
        producer.publish(
            body, routing_key="celery", serializer=None, content_type=content_type, content_encoding="utf-8", headers=headers,
            correlation_id=id,
        )
    return app.AsyncResult(id)


def strangers():
    """What the worker refuses, each with the signals of Celery's, and once."""
    garbage, pickled = b'[[1, {', b"not even that"
    json_type, pickle_type = "application/json", "application/x-python-serialize"
    undecodable = {"task_received": 1, "on_failure": 1, "after_return FAILURE": 1, "task_failure": 1}
    cases = [
        (app.send_task("fates.nobody", (1,)), ("FAILURE", "NotRegistered", "fates.nobody"), {"task_unknown": 1}, "unknown-task"),
        (TASKS["late"].apply_async(("sigkill", 0), expires=-5), ("REVOKED", "TaskRevokedError", "expired"), {"task_revoked": 1}, None),
        (publish("fates.early", garbage, json_type), ("FAILURE", "DecodeError", ""), undecodable, "undecodable-body"),
        (publish("fates.late", garbage, json_type), ("FAILURE", "DecodeError", ""), undecodable, "undecodable-body"),
        (publish("fates.late", pickled, pickle_type), ("FAILURE", "ContentDisallowed", ""), undecodable, "undecodable-body"),
        # Nobody could tell before it was acknowledged, as only its application knows what it accepts.
        (publish("fates.early", pickled, pickle_type), ("FAILURE", "ContentDisallowed", ""), undecodable, None),
        (TASKS["early"].apply_async(("sigkill", 0), compression="zlib"), AGAIN, {"task_received": 1, "runs": 1, **RETURNED}, None),
    ]
    wrong = [(seen, end) for seen, end in ((ended(result), end) for result, end, *_ in cases) if not is_so(seen, end)]
    until(lambda: all(notes().get(result.id) == hears for result, _, hears, _ in cases))
    heard, kept = notes(), failed_tasks()
    for result, end, hears, why in cases:
        if (heard.get(result.id), kept.get(result.id)) != (hears, why):
            wrong.append((end, heard.get(result.id), kept.get(result.id)))
    assert not wrong, "\n" + "\n".join(map(str, wrong))


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    sys.stdout.flush()
    os._exit(0)
