"""The external worker: one process (with its children), started by a command line and replaced when it dies."""
import ctypes
import json
import os
import shlex
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# The command line; `{app}` and `{nodename}` in it are replaced, everything else is the worker's.
COMMAND = os.environ.get("CONFORMANCE_WORKER", "").strip()
LOG = os.environ.get("CONFORMANCE_WORKER_LOG", os.devnull)
# How long it may take until it answers, and until it has ended after SIGTERM.
STARTS_WITHIN = 60
ENDS_WITHIN = 40
# Source: linux/prctl.h.
_PR_SET_PDEATHSIG = 1


class ExternalWorker:
    def __init__(self, app, settings):
        from celery.utils.nodenames import anon_nodename

        self.app = app
        # The tests look replies up under it.
        self.nodename = anon_nodename()
        self.process = None
        self.restarts = 0
        # Why it was stopped, its exit code, and how many seconds that took.
        self.exits = []
        descriptor, self.settings = tempfile.mkstemp(prefix="conformance-", suffix=".json")
        with os.fdopen(descriptor, "w") as file:
            json.dump(settings, file, default=lambda value: sorted(value) if isinstance(value, set) else str(value))

    def command(self):
        return shlex.split(COMMAND.replace("{app}", "external_app:app").replace("{nodename}", self.nodename))

    def start(self):
        """Starts it, and waits until it answers."""
        command = self.command()
        with open(LOG, "ab") as log:
            log.write(b"== %s\n" % shlex.join(command).encode())
            log.flush()
            self.process = subprocess.Popen(
                command, env=self.environment(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        began = time.monotonic()
        while not self.answers(timeout=1):
            if not self.is_alive():
                raise RuntimeError(f"the worker ended with {self.process.returncode} while it started: see {LOG}")
            if time.monotonic() - began > STARTS_WITHIN:
                self.stop("no answer after the start", force=True)
                raise RuntimeError(f"the worker answered no ping within {STARTS_WITHIN} s: see {LOG}")
        self.started_in = time.monotonic() - began

    def environment(self):
        # What only the process of the tests may see.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment["CONFORMANCE_CONFIG"] = self.settings
        environment["PYTHONPATH"] = os.pathsep.join([HERE, os.getcwd()])
        return environment

    def answers(self, timeout=3.0):
        try:
            replies = self.app.control.ping(destination=[self.nodename], timeout=timeout)
        except Exception:
            return False
        return bool(replies) and replies[0].get(self.nodename) == {"ok": "pong"}

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, why, force=False):
        """Ends it, by SIGTERM unless it is forced, and whatever of it is left by SIGKILL."""
        if self.process is None:
            return
        began = time.monotonic()
        if self.is_alive() and not force:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(ENDS_WITHIN)
            except subprocess.TimeoutExpired:
                why += " (it did not end after SIGTERM)"
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait(10)
        self.exits.append((why, self.process.returncode, round(time.monotonic() - began, 2)))
        self.process = None

    def restart(self, why, force=False):
        self.restarts += 1
        self.stop(why, force)
        self.start()

    def close(self):
        self.stop("end of the session")
        os.unlink(self.settings)


def _die_with_parent():
    """Lets nothing be left of the worker when the process of the tests is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
