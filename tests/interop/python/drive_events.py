"""Watches workers as Celery's tools do. Usage: drive_events.py SCENARIO NODE [FAMILY]

FAMILY is what the names of the tasks begin with: `watched`, an application, or `shared`, which are in Rust for our worker.
"""
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time

import celery
from celery.events.receiver import EventReceiver

from waiting import DEADLINE, until

APPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "apps")
SCENARIO, NODE = sys.argv[1:3]
os.environ["FAMILY"] = sys.argv[3] if len(sys.argv) > 3 else "watched"
sys.path.insert(0, APPS)
import watched  # noqa: E402

STOCK = "stock@watched"
WITH_APPS = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [APPS, os.environ.get("PYTHONPATH")]))}
app = watched.app
# What differs from run to run, or from process to process: of these only the type is compared.
PASSING = {"timestamp", "local_received", "clock", "pid", "uuid", "root_id", "parent_id", "runtime", "hostname", "traceback", "loadavg"}


class Receiver(EventReceiver):
    """Notes everything that is said, once it listens."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.events, self.listens = [], threading.Event()
        self.handlers = {"*": self.events.append}

    def on_consume_ready(self, *args, **options):
        self.listens.set()


def watch():
    receiver = Receiver(app.connection_for_read().clone(), app=app)
    threading.Thread(target=receiver.capture, kwargs={"wakeup": False}, daemon=True).start()
    assert receiver.listens.wait(DEADLINE)
    return receiver


def of_type(receiver, node, kind):
    return [event for event in list(receiver.events) if event["hostname"] == node and event["type"] == kind]


def send(queue):
    """Calls every task; the ids by what was called."""
    revoked = app.signature(watched.returns.name, args=["revoked"], queue=queue).freeze().id
    app.control.revoke(revoked)
    time.sleep(0.5)
    calls = {
        "returns": watched.returns.s("é"), "fails": watched.fails.s(), "retries": watched.retries.s(),
        "ignores": watched.ignores.s(), "rejects": watched.rejects.s(), "is_quiet": watched.is_quiet.s(),
        "tells": watched.tells.s(), "takes_too_long": watched.takes_too_long.s(), "expired": watched.returns.s("expired"),
        "revoked": watched.returns.s("revoked"),
    }
    if watched.FAMILY == "shared":
        # What only Python can say of a task.
        del calls["is_quiet"], calls["tells"]
    options = {"expired": {"expires": -1}, "revoked": {"task_id": revoked}}
    return {name: call.apply_async(queue=queue, **options.get(name, {})).id for name, call in calls.items()}


def seen(receiver, ids):
    """What was said of each call, of what differs from run to run only the type; events of two processes come in any order."""
    names = {uuid: name for name, uuid in ids.items()}
    told = {name: [] for name in ids}
    for event in list(receiver.events):
        name = names.get(event.get("uuid"))
        if name:
            told[name].append({key: type(value) if key in PASSING else value for key, value in event.items()})
    return {name: sorted(events, key=lambda event: sorted(event.items(), key=str).__repr__()) for name, events in told.items()}


def is_complete(told):
    last = {"returns": "task-succeeded", "fails": "task-failed", "retries": "task-succeeded", "rejects": "task-rejected",
            "takes_too_long": "task-failed", "expired": "task-revoked", "revoked": "task-revoked"}
    return all(any(event["type"] == kind for event in told[name]) for name, kind in last.items())


def drive(receiver, queue):
    ids = send(queue)
    until(f"everything on {queue} has ended: {seen(receiver, ids)}", lambda: is_complete(seen(receiver, ids)))
    # What comes in no order with the ends above.
    time.sleep(1)
    return seen(receiver, ids)


def limited():
    """A worker that may send 100 events in a second runs more tasks than that."""
    receiver = watch()
    well = {watched.returns.delay(n).id for n in range(1000)}
    badly = {watched.fails.delay().id for _ in range(20)}

    def types(uuid):
        return sorted(event["type"] for event in list(receiver.events) if event.get("uuid") == uuid)

    until("all failures are told", lambda: all("task-failed" in types(uuid) for uuid in badly))
    time.sleep(1)
    told = [types(uuid) for uuid in well]
    whole = ["task-received", "task-started", "task-succeeded"]
    assert all(events in ([], whole) for events in told), told
    assert 20 < told.count(whole) < 900, told.count(whole)


def tasks():
    """What our worker says of tasks is what a stock one says."""
    receiver = watch()
    ours = drive(receiver, "celery")
    command = [sys.executable, "-m", "celery", "-A", "watched", "worker", "-E", "-Q", "stock", "-n", STOCK, "-c", "2", "-l", "error"]
    stock_worker = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=WITH_APPS)
    try:
        until("the stock worker is there", lambda: of_type(receiver, STOCK, "worker-heartbeat"))
        stock = drive(receiver, "stock")
    finally:
        stock_worker.terminate()
        stock_worker.wait()
    # Of this a stock worker says twice that it has failed, and not why: with `ExceptionWithTraceback()`.
    late, _ = ours.pop("takes_too_long"), stock.pop("takes_too_long")
    assert sorted(event["type"] for event in late) == ["task-failed", "task-received", "task-started"], late
    assert [event["exception"] for event in late if event["type"] == "task-failed"] == ["TimeLimitExceeded(1,)"], late
    if celery.VERSION < (5, 7):
        # Which says only since then that it has failed.
        ours["rejects"] = [event for event in ours["rejects"] if event["type"] != "task-failed"]
    if os.environ["CELERY_BROKER_URL"].startswith("sqlite:"):
        # There a stock worker is told of it as of an expired task, which it stores as revoked.
        (event,) = [event for event in stock["revoked"] if event["type"] == "task-revoked"]
        assert event["expired"] is True, event
        event["expired"] = False
    if watched.FAMILY == "shared":
        # A stock worker makes what is tried again its own parent, as whatever a task sends; in Rust it keeps the one that it has.
        (again,) = [event for event in stock["retries"] if event.get("retries")]
        assert again["parent_id"] is str, again
        again["parent_id"] = type(None)
    for name in ours:
        assert ours[name] == stock[name], f"{name}:\n{ours[name]}\nand of Celery:\n{stock[name]}"


def workers():
    """It says that it lives."""
    receiver = watch()
    event = until("a heartbeat", lambda: of_type(receiver, NODE, "worker-heartbeat"))[0]
    assert set(event) == {
        "type", "hostname", "utcoffset", "pid", "clock", "timestamp", "freq", "active", "processed", "loadavg", "sw_ident",
        "sw_ver", "sw_sys", "local_received",
    }, event
    assert event["freq"] == 2.0 and event["sw_sys"] == "Linux" and len(event["loadavg"]) == 3, event
    count = len(of_type(receiver, NODE, "worker-heartbeat"))
    until("the next one", lambda: len(of_type(receiver, NODE, "worker-heartbeat")) > count)


def dump():
    """As people look at it."""
    command = [sys.executable, "-W", "ignore", "-u", "-m", "celery", "-A", "watched", "events", "--dump"]
    dumping = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=WITH_APPS)
    deadline = threading.Timer(DEADLINE, dumping.kill)
    deadline.start()
    try:
        assert any(line.startswith(NODE) and "heartbeat" in line for line in dumping.stdout)
        result = watched.returns.delay(4)
        assert any("task succeeded" in line and result.id in line for line in dumping.stdout)
    finally:
        deadline.cancel()
        dumping.terminate()
        dumping.wait()


def busy():
    """It says so in time however much happens to tasks, and is told of: without a pause, between any two heartbeats."""
    receiver, enough = watch(), threading.Event()

    def send():
        while not enough.is_set():
            watched.returns.apply_async(("busy",), ignore_result=True)

    def beats():
        return [event["timestamp"] for event in of_type(receiver, NODE, "worker-heartbeat") if event["processed"]]

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    times = until("six heartbeats", lambda: sorted(beats())[5:] and sorted(beats()))
    told = sorted(event["timestamp"] for event in list(receiver.events) if event["type"].startswith("task-"))
    enough.set()
    sender.join()
    for earlier, later in zip(times, times[1:]):
        between = [time for time in told if earlier <= time < later]
        assert len(between) >= 100, (earlier, later, len(between))
        assert later - earlier < 2 * 2.0, (later - earlier, len(between))


def switched():
    """Remote control begins and ends the events of tasks."""
    receiver = watch()

    def answer(command):
        return getattr(app.control, command)(destination=[NODE], reply=True, timeout=10)[0][NODE]

    assert answer("disable_events") == {"ok": "task events disabled"}
    assert answer("disable_events") == {"ok": "task events already disabled"}
    unseen = watched.returns.delay(1)
    unseen.get(timeout=DEADLINE)
    assert answer("enable_events") == {"ok": "task events enabled"}
    assert answer("enable_events") == {"ok": "task events already enabled"}
    is_seen = watched.returns.delay(2)
    ended = until("its events", lambda: [it for it in of_type(receiver, NODE, "task-succeeded") if it["uuid"] == is_seen.id])
    assert ended[0]["result"] == "2", ended
    assert not [event for event in receiver.events if event.get("uuid") == unseen.id]


def state():
    """What Celery's own picture of a cluster comes to."""
    receiver, picture = watch(), app.events.State()
    result = watched.returns.delay(3)
    result.get(timeout=DEADLINE)
    until("its end", lambda: [event for event in of_type(receiver, NODE, "task-succeeded") if event["uuid"] == result.id])
    until("a heartbeat", lambda: of_type(receiver, NODE, "worker-heartbeat"))
    for event in list(receiver.events):
        picture.event(event)
    task = picture.tasks[result.id]
    assert (task.state, task.name, task.result, task.worker.hostname) == ("SUCCESS", watched.returns.name, "3", NODE), task.info()
    assert picture.workers[NODE].alive and task.received <= task.started <= task.succeeded


class Screen:
    """`celeriac events` in a terminal of its own."""

    def __init__(self):
        self.terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        self.inner, self.before = inner, termios.tcgetattr(inner)
        command = [os.environ["RUST_TASKS"], "events", "-b", os.environ["CELERY_BROKER_URL"]]
        env = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(command, stdin=inner, stdout=inner, stderr=inner, env=env, start_new_session=True)
        self.said = b""

    def text(self):
        """What stands on the screen: only what changes is written, so the writing says it only bit by bit."""
        cells, row, column = {}, 0, 0
        said = re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[[0-9;?]*[a-zA-Z]|\x1b[()]?.|(.)", self.said.decode(errors="ignore"), re.DOTALL)
        for moved, other in said:
            if moved:
                row, column = map(int, moved.split(";"))
            elif other:
                cells[row, column] = other
                column += 1
        return "\n".join("".join(cells.get((row, column), " ") for column in range(1, 101)) for row in range(1, 25))

    def until(self, what, holds):
        deadline = time.monotonic() + DEADLINE
        while not holds():
            assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}: {self.text()}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.said += os.read(self.terminal, 65536)

    def shows(self, *texts):
        self.until(texts, lambda: all(text in self.text() for text in texts))

    def press(self, keys):
        os.write(self.terminal, keys)

    def is_restored(self):
        """Back from the other screen, with a cursor, and with the settings that there were."""
        return b"\x1b[?1049l" in self.said and b"\x1b[?25h" in self.said and termios.tcgetattr(self.inner) == self.before


def screen():
    """The full-screen view, and the terminal when it has ended."""
    view = Screen()
    view.shows(NODE, "1 of 1 workers alive")
    assert termios.tcgetattr(view.inner) != view.before
    result = watched.returns.delay("seen")
    view.shows("watched.returns", result.id[:8], "SUCCESS")
    view.press(b"\r")
    view.shows("('seen',)", "result       'seen'")
    view.press(b"q")
    view.until("its end", lambda: view.process.poll() is not None and view.is_restored())
    assert view.process.returncode == 0, view.process.returncode


globals()[SCENARIO]()
