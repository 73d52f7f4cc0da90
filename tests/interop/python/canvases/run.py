"""Sends one canvas to workers of one kind or of several, and waits until nothing is left of it to do."""
import json
import os
import subprocess
import time
import uuid

from celery.canvas import Signature
from celery.result import GroupResult, result_from_tuple

from canvas_tasks import app

# The queues: of the stock worker, of the worker in Rust, and of both.
STOCK, OURS, SHARED = "stock", "ours", "shared"
# Where a canvas runs: the queue of everything that names none, and the queues that its tasks name in turn.
PLACES = {
    "stock": (STOCK, []),
    "ours": (OURS, []),
    "ours-then-stock": (STOCK, [OURS, STOCK]),
    "stock-then-ours": (OURS, [STOCK, OURS]),
    "shared": (SHARED, [SHARED]),
}
# Before the place: our program sends it, not Celery.
SENT_BY_OURS = "sent-by-ours:"
# Before the place: our program composes it, too.
COMPOSED_BY_OURS = "composed-by-ours:"
STOCK_WORKER = "stock@interop"
# kombu's own steps, as lists of each queue.
STEPS = ("", "\x06\x163", "\x06\x166", "\x06\x169")
PAUSE = 0.005


class Sender:
    """Our program that sends canvases, one for each queue that it sends to where none is named."""

    running = {}

    @classmethod
    def of(cls, queue):
        if queue not in cls.running or cls.running[queue].program.poll() is not None:
            cls.running[queue] = cls(queue)
        return cls.running[queue]

    def __init__(self, queue):
        environment = dict(
            os.environ, CELERIAC_BROKER_URL=os.environ["CELERY_BROKER_URL"], CELERIAC_TASK_DEFAULT_QUEUE=queue,
        )
        self.program = subprocess.Popen(
            [os.environ["RUST_CANVASES"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )

    def ask(self, request):
        self.program.stdin.write(json.dumps(request) + "\n")
        self.program.stdin.flush()
        answer = self.program.stdout.readline()
        assert answer, "our program could not send it: what it said is above"
        return json.loads(answer)

    def send(self, **request):
        tree = self.ask(request)
        return tree and result_from_tuple(tree, app=app)


def composed_by_ours():
    """The names of those that our program composes."""
    return Sender.of(OURS).ask("names")


class Run:
    """One run of one canvas."""

    DEADLINE = 120

    def __init__(self, place):
        self.place = place.removeprefix(SENT_BY_OURS).removeprefix(COMPOSED_BY_OURS)
        self.sender = Sender.of(PLACES[self.place][0]) if place != self.place else None
        app.conf.task_default_queue, self.turns = PLACES[self.place]
        self.turn = 0
        self.sent = None
        self.redis = app.backend.client

    def send(self, signature, arguments=(), **options):
        """Sends it, once."""
        assert self.sent is None, "a run has one canvas"
        self.assign(signature)
        if self.sender:
            self.sent = self.sender.send(signature=signature, args=arguments, options=options)
        else:
            self.sent = signature.apply_async(arguments, **options)
        return self.sent

    def send_by_name(self, name):
        """Has our program compose and send it."""
        self.sent = self.sender.send(canvas=name, queues=self.turns)

    def assign(self, value):
        """Gives every task in it the queue whose turn it is, callbacks and arguments included."""
        if not self.turns:
            return
        if isinstance(value, (list, tuple)):
            for part in value:
                self.assign(part)
        elif isinstance(value, dict) and "task" in value and "options" in value:
            self.assign_signature(value)

    def assign_signature(self, signature):
        kind = signature.get("subtask_type")
        if kind not in ("chain", "group", "chord"):
            signature["options"]["queue"] = self.turns[self.turn % len(self.turns)]
            self.turn += 1
            self.assign(signature["args"])
        arguments = signature["kwargs"]
        if isinstance(arguments.get("tasks"), list) or kind in ("chain", "group"):
            self.assign(list(arguments["tasks"]))
        if kind == "chord":
            # A header may be a generator until it is looked at.
            header = arguments["header"]
            if not isinstance(header, dict):
                arguments["header"] = header = list(header)
            self.assign(header)
            self.assign(arguments["body"])
        for links in ("link", "link_error"):
            self.assign(signature["options"].get(links) or [])

    def through_json(self, signature):
        return Signature.from_dict(json.loads(json.dumps(signature)), app=app)

    def new_id(self, _label):
        return str(uuid.uuid4())

    def revoked(self, signature):
        """Revokes it before it is sent."""
        task = signature.freeze().id
        if self.place != "ours":
            answers = app.control.broadcast(
                "revoke", arguments={"task_id": task}, destination=[STOCK_WORKER], reply=True, limit=1, timeout=self.DEADLINE,
            )
            assert answers, "the stock worker answers"
        if self.place != "stock":
            environment = dict(os.environ, CELERIAC_BROKER_URL=os.environ["CELERY_BROKER_URL"])
            subprocess.run([os.environ["RUST_TASKS"], "revoke", task], check=True, env=environment, stdout=subprocess.DEVNULL)
        return signature

    def restore(self, group):
        return GroupResult.restore(group, app=app)

    def settle(self):
        """Waits until no worker has anything to do."""
        deadline = time.monotonic() + self.DEADLINE
        while not self.is_quiet():
            if time.monotonic() > deadline:
                raise TimeoutError("the workers are not done")
            time.sleep(PAUSE)

    def is_quiet(self):
        """Whether nothing is queued, in anybody's hand, or for later, at one moment.

        kombu takes a message, and notes in a second step that it did; in between nobody seems to have it, but the
        worker does not wait for another one either. A stock worker that is idle does, blocked in `BRPOP`.
        """
        pipe = self.redis.pipeline(transaction=True)
        pipe.info("clients")
        for queue in (STOCK, OURS, SHARED):
            for step in STEPS:
                pipe.llen(queue + step)
        pipe.hlen("unacked").zcard("celeriac:{tasks}:schedule")
        clients, *left = pipe.execute()
        return clients["blocked_clients"] == 1 and not any(left)
