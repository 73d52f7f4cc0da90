"""Scenarios on the embedded store. Usage: embedded.py NAME [ARGUMENT]"""
import os
import sqlite3
import subprocess
import sys
import threading
import time

from celery import VERSION, Celery, chain, chord, group
from celery.exceptions import TaskRevokedError, TimeoutError
from kombu.exceptions import OperationalError

# Celery prefers these to what an application says.
URL = os.environ.pop("CELERY_BROKER_URL")
os.environ.pop("CELERY_RESULT_BACKEND", None)
FILE = URL[len("sqlite:///"):]
DEADLINE = 60

app = Celery("tasks", broker=URL, backend=URL)


def send(name, *args, **options):
    return app.send_task(name, args, **options)


def get(result):
    return result.get(timeout=DEADLINE)


def refused(action, text):
    try:
        action()
    except Exception as error:
        assert text in str(error), error
        return error
    raise AssertionError(f"it was not refused: {text}")


def rust(*arguments):
    environment = dict(os.environ, CELERIAC_BROKER_URL=URL)
    return subprocess.run([os.environ["RUST_TASKS"], *arguments], check=True, env=environment, capture_output=True, text=True).stdout


def look(sql, file=FILE):
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def a_file_is_as_rust_makes_it():
    send("rust.add", 1, 1)
    other = FILE + "-of-rust.db"
    environment = dict(os.environ, CELERIAC_BROKER_URL=f"sqlite:///{other}")
    subprocess.run([os.environ["RUST_TASKS"], "queues"], check=True, env=environment, capture_output=True)
    for question in (
        "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name", "PRAGMA user_version", "PRAGMA application_id",
        "PRAGMA journal_mode",
    ):
        assert look(question) == look(question, other), question
    assert os.stat(FILE).st_mode == os.stat(other).st_mode


def files_are_refused():
    folder = os.path.dirname(FILE)
    newer, foreign = os.path.join(folder, "newer.db"), os.path.join(folder, "foreign.db")
    send("rust.add", 1, 1)
    with app.connection() as connection:
        connection.default_channel.store.close()
    for name, statement in ((newer, "PRAGMA user_version = 99"), (foreign, "CREATE TABLE t (a)")):
        if name == newer:
            with open(FILE, "rb") as source, open(newer, "wb") as copy:
                copy.write(source.read())
        changed = sqlite3.connect(name)
        changed.execute(statement)
        changed.commit()
        changed.close()
    refusals = {
        f"sqlite:///{newer}": "version 99 of the store",
        f"sqlite:///{foreign}": "the database of another program",
        f"sqlite:///{folder}/nowhere/a.db": "does not exist: create it",
        f"sqlite:///{folder}": "is a folder",
        "sqlite://": "name a file",
        f"sqlite:///{FILE}?mode=ro": "options go into the settings",
    }
    for url, text in refusals.items():
        refused(lambda url=url: Celery("t", broker=url).send_task("rust.add", (1, 1)), text)
        refused(lambda url=url: Celery("t", broker=URL, backend=url).AsyncResult("x").state, text)
    for serializer in ("pickle", "msgpack"):
        other = Celery("t", broker=URL, backend=URL)
        other.conf.result_serializer = serializer
        refused(lambda other=other: other.backend, "the embedded store keeps results in JSON")


def passing():
    """How many broadcasts are kept, and how many listen."""
    return look("SELECT (SELECT count(*) FROM broadcast), (SELECT count(*) FROM listener)")[0]


def broadcasts_are_heard():
    from kombu import Consumer, Exchange, Producer, Queue
    from kombu.common import Broadcast

    news, topics = Exchange("news", type="fanout"), Exchange("topics", type="topic")
    with app.connection() as sending, app.connection() as one, app.connection() as other:
        producer = Producer(sending.default_channel)

        def say(text, exchange=news, routing_key=""):
            producer.publish(text, exchange=exchange, routing_key=routing_key, declare=[exchange])

        def hear(connection, count):
            for _ in range(count):
                connection.drain_events(timeout=DEADLINE)

        say("nobody listens")
        assert passing() == (0, 0)
        heard = {connection: [] for connection in (one, other)}
        consumers = []
        for connection, said in heard.items():
            consumer = Consumer(connection, [Broadcast(queue=f"news.{id(said)}", exchange=news)], no_ack=True)
            consumer.register_callback(lambda body, message, said=said: said.append(body))
            consumer.consume()
            consumers.append(consumer)
        assert passing() == (0, 2)
        for number in range(40):
            say(f"news {number}", routing_key="paper" if number % 2 else "")
        for connection, said in heard.items():
            hear(connection, 40)
            assert said == [f"news {number}" for number in range(40)], said
            refused(lambda connection=connection: connection.drain_events(timeout=0.1), "")
        consumers[0].cancel()
        say("late")
        hear(other, 1)
        assert heard[one] == heard[other][:-1] and heard[other][-1] == "late"

        # Only what a binding wants; what is given back comes again, and what waits can be forgotten.
        patterns = Queue("tasks", topics, routing_key="task.#", auto_delete=True)
        exactly = Queue("tasks", topics, routing_key="worker.online", auto_delete=True)
        channel = other.channel()
        for queue in (patterns, exactly):
            queue(channel).declare()
        for key in ("task.multi", "worker.online", "worker.offline", "task.sent.now", "tasks"):
            say(key, topics, key)
        message = channel.basic_get("tasks")
        message.requeue()
        found = []
        for redelivered in (True, False, False):
            message = channel.basic_get("tasks")
            assert message.delivery_info["redelivered"] is redelivered, message.delivery_info
            assert message.delivery_info["exchange"] == "topics", message.delivery_info
            found.append((message.delivery_info["routing_key"], message.payload))
            message.ack()
        assert found == [(key, key) for key in ("task.multi", "worker.online", "task.sent.now")], found
        assert channel.basic_get("tasks") is None
        say("task.multi", topics, "task.multi")
        assert channel.queue_purge("tasks") == 1
        assert channel.queue_declare("tasks", passive=True).message_count == 0
        channel.queue_delete("tasks")
        refused(lambda: channel.queue_declare("tasks", passive=True), "NOT_FOUND")
        say("unheard", topics, "task.multi")
    # The last one has left.
    assert passing() == (0, 0)
    assert look("SELECT name FROM queue") == [], "nothing of it is a queue of the file"


def a_stock_worker_is_watched_and_steered():
    from celery.events.receiver import EventReceiver

    assert [list(reply.values()) for reply in app.control.ping(timeout=10, limit=1)] == [[{"ok": "pong"}]]
    events, listens = [], threading.Event()
    receiver = EventReceiver(app.connection_for_read().clone(), app=app, handlers={"*": events.append})
    receiver.on_consume_ready = lambda *args, **kwargs: listens.set()
    threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True).start()
    assert listens.wait(DEADLINE)
    assert "python.add" in next(iter(app.control.inspect(timeout=10, limit=1).registered().values()))
    app.control.rate_limit("python.add", "1000/s", reply=True, timeout=10, limit=1)
    assert any("rate_limit=1000" in name for name in next(iter(app.control.inspect(timeout=10, limit=1).registered().values())))
    app.control.enable_events(reply=True, timeout=10, limit=1)
    result = send("python.add", 1, 2)
    assert get(result) == 3
    until = time.monotonic() + DEADLINE
    while not {"task-received", "task-succeeded"} <= {event["type"] for event in events if event.get("uuid") == result.id}:
        assert time.monotonic() < until, events
        time.sleep(0.01)
    # The command line in Rust hears the same.
    assert '"type": "worker-heartbeat"' in rust("events", "--json", "--limit", "1")


def nothing_is_imported():
    """In a process of its own, from its own folder, the three lines of a user and no more; also with a relative path."""
    program = """if True:
        from celery import Celery
        app = Celery("tasks", broker="sqlite:///celeriac.db", backend="sqlite:///celeriac.db")
        assert app.send_task("rust.add", (2, 3)).get(timeout=60) == 5
    """
    subprocess.run([sys.executable, "-c", program], check=True, cwd=os.path.dirname(FILE))


def what_waits_is_revoked():
    waits, scheduled, other = send("rust.add", 1, 1), send("rust.add", 1, 1, countdown=600), send("rust.add", 2, 2)
    app.control.revoke([waits.id, scheduled.id])
    for result in (waits, scheduled):
        try:
            get(result)
        except TaskRevokedError:
            continue
        raise AssertionError("a revoked task has a result")
    assert look("SELECT count(*) FROM message") == [(1,)]
    assert other.state == "PENDING"
    # It has a result, and keeps it.
    waits.revoke(terminate=True)
    assert waits.state == "REVOKED"


def a_member_is_revoked():
    """Others wait for it, so a worker takes it, and tells them."""
    last = chain(app.signature("rust.add", (1, 1), countdown=600), app.signature("rust.add", (3,))).apply_async()
    last.parent.revoke()
    # One that has not come yet is remembered.
    app.control.revoke("not-yet")
    for result in (last, send("rust.add", 1, 1, task_id="not-yet")):
        try:
            get(result)
        except TaskRevokedError:
            continue
        raise AssertionError("a revoked task ran")


def queues_are_emptied():
    for n in range(3):
        send("rust.add", n, n, queue="here")
    send("rust.add", 1, 1, queue="here", countdown=600)
    send("rust.add", 1, 1, queue="there")
    with app.connection() as connection:
        channel = connection.default_channel
        assert channel.queue_declare("here", passive=True).message_count == 3
        assert channel.queue_purge("here") == 4
        assert channel.queue_purge("here") == 0
        assert channel.queue_declare("there", passive=True).message_count == 1
        # One message, taken, given back and taken again.
        message = channel.basic_get("there")
        assert not message.delivery_info["redelivered"] and channel.basic_get("there") is None
        message.requeue()
        message = channel.basic_get("there")
        assert message.delivery_info["redelivered"]
        message.ack()
        assert channel.basic_get("there") is None
    assert look("SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM lent), (SELECT count(*) FROM consumer)") == [(0, 0, 0)]


def waiting_is_prompt():
    """A wait that is not woken does not end."""
    from celeriac.sqlite import wake

    wake.ANYWAY = 3600.0
    for _ in range(5):
        assert get(app.send_task("shared.nap", (0.3,))) == "rust"
    try:
        app.AsyncResult("nobody").get(timeout=0.2)
    except TimeoutError:
        pass
    else:
        raise AssertionError("nobody has a result")
    ticks = []
    result = app.send_task("shared.nap", (1,))
    result.get(timeout=DEADLINE, interval=0.1, on_interval=lambda: ticks.append(1))
    assert ticks
    result.forget()
    assert result.state == "PENDING"


def waiting_survives_a_fork_and_threads():
    before = send("rust.add", 1, 1)
    assert get(before) == 2
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert [get(send("rust.add", n, n)) for n in range(10)] == [2 * n for n in range(10)]
            code = 0
        finally:
            os._exit(code)
    sums = []

    def ask(n):
        sums.append(sum(get(send("rust.add", n, k)) for k in range(10)))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert sorted(sums) == [sum(n + k for k in range(10)) for n in range(4)], sums
    assert os.waitpid(pid, 0)[1] == 0


def half_of_naps():
    """Long enough for another worker to have its turn."""
    results = [app.send_task("shared.nap", (0.02,)) for _ in range(100)]
    assert {get(result) for result in results} == {"rust", "python"}


def nothing_is_left():
    until = time.monotonic() + DEADLINE
    while look("SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM lent)") != [(0, 0)]:
        assert time.monotonic() < until, look("SELECT * FROM message")
        time.sleep(0.01)


def taken_from(queue, count):
    """The bodies of this many messages, and makes sure that no more of them come."""
    found, until = [], time.monotonic() + DEADLINE
    with app.connection() as connection:
        while len(found) < count:
            message = connection.default_channel.basic_get(queue)
            if message is not None:
                found.append(message.payload)
                message.ack()
                continue
            assert time.monotonic() < until, (queue, len(found))
            time.sleep(0.01)
        nothing_is_left()
        assert connection.default_channel.basic_get(queue) is None
    return found


def members(number):
    """Of a chord: every second one for the worker in Rust."""
    return [app.signature("shared.add", (n, number), queue=("celery", "ours")[n % 2]) for n in range(10)]


def chords_are_counted_once():
    for number in range(30):
        header = members(number)
        chord(header)(app.signature("elsewhere.gather", kwargs={"number": number}, queue="bodies"))
    bodies = taken_from("bodies", 30)
    assert sorted(kwargs["number"] for _, kwargs, _ in bodies) == list(range(30))
    for (results,), kwargs, _ in bodies:
        assert results == [[n + kwargs["number"], ("python", "rust")[n % 2]] for n in range(10)], results
    sent = []
    for number in range(20):
        header = members(number)
        header[number % 10] = app.signature("shared.fail", (f"no leaves in {number}",), queue=header[number % 10].options["queue"])
        body = app.signature("elsewhere.gather", kwargs={"number": number}, queue="bodies")
        body.on_error(app.signature("elsewhere.note", kwargs={"number": number}, queue="errbacks"))
        sent.append((number, chord(header)(body)))
    for number, result in sent:
        error = result.get(timeout=DEADLINE, propagate=False, disable_sync_subtasks=False)
        assert result.state == "FAILURE" and type(error).__name__ == "ChordError", repr(error)
        assert f"no leaves in {number}" in str(error), error
    errbacks = taken_from("errbacks", 20)
    assert sorted(kwargs["number"] for _, kwargs, _ in errbacks) == list(range(20))
    assert look("SELECT count(*) FROM chord WHERE NOT closed") == [(0,)]


def canvases():
    """Tasks of both languages, each on a queue of its own."""
    def rust(name, *args, **options):
        return app.signature(f"rust.{name}", args, queue="ours", **options)

    def python(name, *args):
        return app.signature(f"python.{name}", args)

    both = [rust("add", 1, 2), python("add", 3, 4)]
    assert get(chain(rust("add", 1, 2), python("add", 3), rust("add", 4)).apply_async()) == 10
    result = group(both * 5).apply_async()
    assert get(result) == [3, 7] * 5
    result.save()
    assert get(app.GroupResult.restore(result.id)) == [3, 7] * 5
    result.delete()
    assert app.GroupResult.restore(result.id) is None
    for echo in (rust("echo"), python("echo")):
        assert get(chord(both * 3)(echo)) == [3, 7] * 3
        # A group within a chain, whose end is a chord.
        steps = chain(rust("add", 1, 1), group(python("add", n) for n in range(3)), echo)
        assert get(steps.apply_async()) == [2, 3, 4]
        if VERSION < (5, 7):
            # Those lose some chords within chords wherever they are counted.
            continue
        # Headers whose members are chains that end with groups, and chords.
        inner = chain(rust("add", 1, 1), group(python("add", n) for n in range(3)))
        assert get(chord([inner, both[0]])(echo)) == [[2, 3, 4], 3]
        nested = chord([chord(both, python("echo")), both[1]], echo)
        assert get(nested.apply_async()) == [[3, 7], 7]
    results = group(python("add", n, n) for n in range(300)).apply_async()
    assert get(results) == [2 * n for n in range(300)]


def send_without_end(path):
    with open(path, "a") as sent:
        while True:
            result = send("rust.add", 1, 1)
            sent.write(result.id + "\n")
            sent.flush()


def all_that_was_sent_has_run(path):
    assert look("PRAGMA integrity_check") == [("ok",)]
    with open(path) as sent:
        ids = sent.read().split()
    assert len(ids) >= 200
    assert all(get(app.AsyncResult(task)) == 2 for task in ids)
    nothing_is_left()
    # What it was about to send, one at most for each producer that was killed, has run too, or was never there.
    (ran,), = look("SELECT count(*) FROM result WHERE json_extract(CAST(record AS TEXT), '$.result') = 2")
    assert len(ids) <= ran <= len(ids) + 5, (len(ids), ran)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
