"""A plugin of pytest that runs Celery's integration suite, unmodified, against an external worker (`-p external_plugin`).

`CONFORMANCE_WORKER` is the worker's command line; without it the suite starts its own worker, and the results are only recorded.
With `CONFORMANCE_IMPATIENT=1` nothing is tried again, and a test that says how long it may take has 60 s at most: for a worker that
fails much. A test that is not in passing.txt is never tried again.
"""
import os
from contextlib import contextmanager

import pytest

from external_mirrors import Events, RevokedStamps
from external_records import Records
from external_worker import COMMAND, HERE, ExternalWorker

IMPATIENT = os.environ.get("CONFORMANCE_IMPATIENT") == "1"
_LONGEST = 60


class Session:
    """What lives as long as this process."""

    records = Records()
    # The settings of the suite, while its own worker would be started.
    settings = None
    worker = None
    events = None
    has_failed = False
    published = 0
    broadcasts = 0

    def counts(self):
        return self.published, self.broadcasts, self.events.count if self.events else 0, self.worker.restarts if self.worker else 0


session = Session()


@contextmanager
def start_worker(app, *args, **kwargs):
    """In place of `celery.contrib.testing.worker.start_worker`, for the worker that the whole session shares."""
    if session.settings is None:
        with session.start_in_process(app, *args, **kwargs) as worker:
            yield worker
        return
    from celery.contrib.testing import tasks, worker
    from celery.result import _set_task_join_will_block, allow_join_result
    from celery.worker import state

    worker.setup_app_for_worker(app, worker.WORKER_LOGLEVEL, None)
    session.events = Events(app.conf.broker_url)
    session.events.start()
    session.events.ready.wait(10)
    state.revoked_stamps = RevokedStamps(replace_worker)
    session.worker = ExternalWorker(app, {**session.settings, "worker_send_task_events": True})
    try:
        # Messages of an earlier run would come first.
        app.control.purge()
        session.worker.start()
        _set_task_join_will_block(False)
        with allow_join_result():
            assert tasks.ping.delay().get(timeout=10) == "pong"
        yield session.worker
    finally:
        session.worker.close()
        session.events.is_stopping = True
        session.events.join(5)


def replace_worker(why):
    if session.worker is not None and session.worker.is_alive():
        session.worker.restart(why)


def pytest_configure(config):
    from celery import signals
    from celery.app.control import Control
    from celery.contrib.testing import worker

    broadcast = Control.broadcast

    def count_message(**_):
        session.published += 1

    def count_broadcast(self, *args, **kwargs):
        session.broadcasts += 1
        return broadcast(self, *args, **kwargs)

    signals.after_task_publish.connect(count_message, weak=False)
    Control.broadcast = count_broadcast
    if COMMAND:
        session.start_in_process = worker.start_worker
        worker.start_worker = start_worker


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    if not COMMAND or fixturedef.argname != "celery_session_worker":
        return (yield)
    session.settings = request.getfixturevalue("celery_config")
    try:
        return (yield)
    finally:
        session.settings = None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    if not COMMAND:
        return
    inherent = dict(line.split("\t") for line in _lines("inherent.tsv"))
    passing = set(_lines("passing.txt"))
    for item in items:
        if IMPATIENT or item.nodeid not in passing:
            for node in item.listchain():
                node.own_markers[:] = filter(None, map(_impatient, node.own_markers))
        why = inherent.get(item.nodeid.split("[")[0])
        if why:
            item.add_marker(pytest.mark.skip(reason="in-process: " + why))


def _lines(name):
    with open(os.path.join(HERE, name)) as file:
        return [line for line in file.read().splitlines() if line and not line.startswith("#")]


def _impatient(mark):
    if mark.name == "flaky":
        return None
    if mark.name == "timeout":
        seconds = mark.args[0] if mark.args else mark.kwargs["timeout"]
        return pytest.mark.timeout(min(float(seconds), _LONGEST)).mark
    return mark


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    worker = session.worker
    if worker is None:
        return
    if not worker.is_alive():
        worker.restart(f"found dead ({worker.process and worker.process.returncode})", force=True)
    elif session.has_failed and not (worker.answers() or worker.answers()):
        worker.restart("no answer after a failed test", force=True)
    if session.has_failed:
        worker.app.control.purge()
    session.has_failed = False


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    before = session.counts()
    try:
        return (yield)
    finally:
        session.records.counted(item.nodeid, before, session.counts())


def pytest_runtest_logreport(report):
    session.records.report(report)
    session.has_failed |= report.outcome in ("failed", "rerun")


def pytest_runtest_logfinish(nodeid):
    session.records.finish(nodeid)


def pytest_terminal_summary(terminalreporter):
    worker, events = session.worker, session.events
    if worker is None:
        return
    terminalreporter.section("external worker")
    terminalreporter.line(f"answered after {getattr(worker, 'started_in', 0):.2f} s, restarts: {worker.restarts}")
    for why, code, seconds in worker.exits:
        terminalreporter.line(f"ended with {code} in {seconds} s: {why}")
    terminalreporter.line("events: " + ", ".join(f"{kind} {count}" for kind, count in sorted(events.kinds.items())))
    for error in events.errors[:1]:
        terminalreporter.line(f"{len(events.errors)} errors of the listener to events: {error}")
