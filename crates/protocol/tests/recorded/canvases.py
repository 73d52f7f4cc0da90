"""What compositions publish when they are applied, step by step, as workers would go on with them."""

import base64
import datetime as dt
import json
from collections import deque

import kombu.serialization
from celery import chain, chord, chunks, group, signature
from celery._state import _task_stack
from celery.backends.base import KeyValueStoreBackend
from celery.backends.redis import RedisBackend
from celery.canvas import StampingVisitor, _chain
from celery.result import GroupResult
from kombu.utils import json as kombu_json

from common import UTC, make_app, new_id, write
from messages import published

# Steps of one workflow that are recorded: the first, and what workers apply when tasks have ended.
STEPS = 7
# Headers that say nothing of the workflow.
LEFT_OUT = {"argsrepr", "kwargsrepr", "origin", "lang"}
SAYS_NOTHING = (None, 0, False, [], {}, [None, None])


class Backend(KeyValueStoreBackend):
    """Begins chords and saves groups as the Redis backend does, and tells of it."""

    _set_chord_key = None

    def __init__(self, app):
        super().__init__(app)
        self.forget_all()

    def forget_all(self):
        self.chords, self.groups = [], []

    def set_chord_size(self, group_id, chord_size):
        self.chords.append([group_id, chord_size])

    def apply_chord(self, header_result_args, body, **kwargs):
        RedisBackend.apply_chord(self, header_result_args, body, **kwargs)

    def _set_chord_key(self, key, value):
        self.groups.append([key.decode().removeprefix("celery-taskset-meta-"), json.loads(value)["result"]])

    def add_pending_result(self, result, *args, **kwargs):
        return result


def tasks(app):
    def task(*args, **kwargs):
        """Never runs: only what is sent is recorded."""

    names = "add mul total fail callback errback".split()
    return [app.task(task, name=f"proj.{name}", typing=False, lazy=False) for name in names]


def message(queue, envelope):
    raw = json.loads(envelope)
    body = base64.b64decode(raw["body"])
    args, kwargs, embed = kombu.serialization.loads(
        body, raw["content-type"], raw["content-encoding"], accept=[raw["content-type"]])
    said = {
        "queue": queue, "priority": raw["properties"]["priority"], "args": args, "kwargs": kwargs,
        "headers": {name: value for name, value in raw["headers"].items() if name not in LEFT_OUT and value not in SAYS_NOTHING},
        "embed": {name: value for name, value in embed.items() if value},
    }
    return {name: value for name, value in said.items() if value not in SAYS_NOTHING}


def apply(app, wire, args, kwargs, options, chain_after, parent):
    """Applies a signature as it came over the wire, and tells what that published."""
    messages = published()
    app.backend.forget_all()
    task = app.tasks["proj.add"]
    if parent:
        task.push_request(**parent, called_directly=False, children=[], delivery_info={})
        _task_stack.push(task)
    try:
        if chain_after:
            options = {**options, "chain": chain_after}
        result = signature(kombu_json.loads(wire), app=app).apply_async(args, kwargs, **options)
        children = [child.as_tuple() for child in task.request.children] if parent else []
    finally:
        if parent:
            _task_stack.pop()
            task.pop_request()
    return {
        "messages": [message(*published) for published in messages],
        "chords": app.backend.chords,
        "groups": app.backend.groups,
        "result": result.as_tuple() if result is not None else None,
        "children": children,
    }


def follow_ups(recorded, seen):
    """What workers apply when these tasks have succeeded, one after the other."""
    for number, sent in enumerate(recorded["messages"]):
        headers, embed = sent["headers"], sent.get("embed", {})
        parent = {"id": headers["id"], "root_id": headers["root_id"]}
        options = {"parent_id": parent["id"], "root_id": parent["root_id"]}
        callbacks = embed.get("callbacks") or []
        if len(callbacks) == 1:
            yield "callback", callbacks[0], [number], options, None, parent
        elif callbacks:
            yield "callbacks", group([signature(callback) for callback in callbacks]), [number], options, None, parent
        if embed.get("chain"):
            yield "chain", embed["chain"][-1], [number], options, embed["chain"][:-1], parent
        if embed.get("chord") and headers["group"] not in seen:
            seen.add(headers["group"])
            yield "body", embed["chord"], [[number, number + 1]], {}, None, parent
        old = [signature(errback) for errback in embed.get("errbacks") or []]
        if old:
            yield "errbacks", group(old), [headers["id"]], options, None, parent


class Recorder:
    def __init__(self):
        self.app = make_app()
        type(self.app).thread_oid = "5e41e1cd-0000-4000-8000-000000000000"
        self.app._backend_cache = Backend(self.app)
        self.cases = []
        self.counts = 0

    def __call__(self, name, sig, *args, kwargs=None, parent=None, **options):
        self.counts += 1
        seen, steps = set(), 0
        waiting = deque([("", sig, list(args), options, None, parent)])
        while waiting and steps < STEPS:
            step, sig, args, options, after, parent = waiting.popleft()
            wire = kombu_json.dumps(sig)
            case = {
                "name": f"{name}: step {steps} {step}".strip() if steps else name, "signature": wire, "args": args, "kwargs": kwargs or {},
                "options": kombu_json.dumps(options), "chain": kombu_json.dumps(after or []), "parent": parent,
            }
            recorded = apply(self.app, wire, args, kwargs or {}, options, after, parent)
            case.update(kombu_json.loads(kombu_json.dumps(recorded)))
            self.cases.append(case)
            waiting.extend(follow_ups(recorded, seen))
            kwargs = None
            steps += 1


def record_canvases():
    case = Recorder()
    add, mul, total, fail, callback, errback = tasks(case.app)
    parent = {"id": new_id(), "root_id": new_id()}
    for compose in (simple, chains, groups, chords, nested, linked, with_options, stamped, replaced):
        compose(case, add, mul, total, fail, callback, errback, parent)
    print(f"canvases: {case.counts} compositions")
    write("canvases", case.cases)


def simple(case, add, mul, total, fail, callback, errback, parent):
    case("task", add.s(1, 2))
    case("task with partial arguments", add.s(2), 1)
    case("task with partial keyword arguments", add.s(2, y=3), 1, kwargs={"y": 4, "z": 5})
    case("immutable task", add.si(2, y=3), 1, kwargs={"y": 4})
    case("task from a task", add.s(1, 2), parent=parent)
    case("task by name", signature("other.task", args=(1,), app=case.app), 5)
    case("task with its own id", add.s(1).set(task_id=new_id()))
    case("map", add.map([1, 2, 3]))
    case("starmap", add.starmap([(1, 2), (3, 4)]), 9)
    case("map in a chain", chain(add.s(1), add.map([1, 2]), total.s()))
    case("starmap in a chord", chord([add.starmap([(1, 2)]), add.map([4])], total.s()))
    case("chunks as a group", chunks(add.s(), [(1, 2), (3, 4), (5, 6)], 2, app=case.app).group())
    case("chunks as a chord", chord(chunks(add.s(), [(1, 2), (3, 4), (5, 6)], 2, app=case.app).group(), total.s()))


def chains(case, add, mul, total, fail, callback, errback, parent):
    case("chain", chain(add.s(1, 1), add.s(2), add.s(3)))
    case("chain with partial arguments", chain(add.s(1), mul.s(2)), 7, kwargs={"z": 1})
    case("chain of one", chain(add.s(1, 1)))
    case("raw chain of one", _chain([add.s(1, 1)]), 5)
    case("chain from a task", chain(add.s(1, 1), add.s(2)), parent=parent)
    case("chain with an immutable step", chain(add.s(1, 1), add.si(2, 2), mul.s(3)))
    case("chain with a given id", chain(add.s(1, 1), add.s(2)), task_id=new_id())
    case("chain with an id of its own", _chain([add.s(1, 1), add.s(2)], task_id=new_id()))
    case("chain in a chain", _chain([add.s(1), _chain([add.s(2), add.s(3)]), add.s(4)]), 1)
    case("chain at the head of a chain", _chain([_chain([_chain([add.s(2)]), add.s(3)]), add.s(4)]), 1)
    case("empty chain", _chain([]))
    case("chain of empty chains", _chain([_chain([]), _chain([])]))
    case("chain with an empty chain inside", _chain([add.s(1), _chain([]), add.s(2)]))
    case("chain into a group", chain(add.s(1, 1), group(add.s(2), mul.s(3))))
    case("chain with a group in the middle", chain(add.s(1, 1), group(add.s(2), mul.s(3)), total.s()))
    case("chain with a group in the middle and more", chain(add.s(1, 1), group(add.s(2), mul.s(3)), total.s(), add.s(4), mul.s(5)))
    case("raw chain with groups", _chain([add.s(1, 1), group(add.s(2), mul.s(3)), total.s(), group(add.s(4), mul.s(5))]))
    case("raw chain with groups and tasks", _chain([add.s(1, 1), group(add.s(2), mul.s(3)), total.s(), group(add.s(4), mul.s(5)), total.s(), add.s(6)]))
    case("raw chain of groups", _chain([group(add.s(1), add.s(2)), group(add.s(3), add.s(4)), group(add.s(5), add.s(6))]))
    case("chain of groups", chain(add.s(0), group(add.s(1), add.s(2)), group(add.s(3), add.s(4)), total.s()))
    case("chain with a group of one", chain(add.s(1, 1), group([add.s(2)]), mul.s(3)))
    case("raw chain with a group of one", _chain([add.s(1, 1), group([add.s(2)]), mul.s(3)]), 4)
    case("raw chain with a group of one group", _chain([add.s(1, 1), group([group(add.s(2), add.s(5))]), mul.s(3)]))
    case("raw chain with empty groups", _chain([group([]), add.s(1), group([]), add.s(2), group([])]), 8)
    case("raw chain of nothing but empty groups", _chain([group([]), group([])]))
    case("raw chain of an empty group and an empty chain", _chain([group([]), _chain([])]))
    case("long chain", chain(add.s(n) for n in range(12)), 1)
    case("chain into a group of chains", chain(add.s(1, 1), group(chain(add.s(2), mul.s(3)), chain(add.s(4), mul.s(5)))))
    case("chain before what a task still has to do", chain(add.s(1, 1), add.s(2)), chain=[dict(total.s())])


def groups(case, add, mul, total, fail, callback, errback, parent):
    case("group", group(add.s(n, n) for n in range(3)))
    case("group with partial arguments", group(add.s(1), add.si(2), mul.s(3)), 9, kwargs={"z": 1})
    case("group from a task", group(add.s(1, 1), add.s(2, 2)), parent=parent)
    case("group of one", group([add.s(1, 1)]))
    case("empty group", group([]))
    case("group with a given id", group(add.s(1), add.s(2)), task_id=new_id())
    case("group with an id of its own", group([add.s(1), add.s(2)], task_id=new_id()))
    case("group in a group", group(add.s(1), group(add.s(2), add.s(3)), add.s(4)))
    case("groups three deep", group(group(group(add.s(1), add.s(2)), add.s(3)), group([add.s(4)])))
    case("group of chains", group(chain(add.s(1, 1), add.s(2)), chain(mul.s(1, 1), mul.s(2), mul.s(3))))
    case("group of a chain into a group", group([chain(add.s(1, 1), group(add.s(2), add.s(3)))]))
    case("group with an empty chain", group([_chain([]), add.s(1), _chain([])]))
    case("group of chords", group(chord([add.s(1, 1), add.s(2, 2)], total.s()), chord([add.s(3, 3)], total.s())))
    case("group of chords from a task", group(chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(1)), parent=parent)
    case("group with a step after it, in a group", group(_chain([group(add.s(1), add.s(2)), total.s()]), add.s(9)))
    case("group in a chain in a group", group(_chain([add.s(0), group(add.s(1), add.s(2)), total.s(), add.s(5)]), add.s(9)), 3)


def chords(case, add, mul, total, fail, callback, errback, parent):
    header = [add.s(1, 1), add.s(2, 2)]
    case("chord", chord(header, total.s()))
    case("chord from a task", chord(header, total.s()), parent=parent)
    case("chord with partial arguments", chord([add.s(1), add.si(2), mul.s(3)], total.s(4)), 9)
    case("chord of one", chord([add.s(1, 1)], total.s()))
    case("chord of a task that is no list", chord(add.s(1, 1), total.s()))
    case("chord with an empty header", chord([], total.s()))
    case("chord with an empty header and a chain after it", chord([], chain(total.s(), add.s(1))))
    case("chord with an empty group as its header", chord(group([]), total.s()))
    case("chord with empty groups in its header", chord([group([]), group([])], total.s()))
    case("chord with an immutable body", chord(header, total.si([5])))
    case("chord with a given id", chord(header, total.s()), task_id=new_id())
    case("chord with an id of its own", chord(header, total.s()).set(task_id=new_id()))
    case("chord with a chain as its body", chord(header, chain(total.s(), add.s(1), mul.s(2))))
    case("chord and a task", chord(header, total.s()) | add.s(1))
    case("chord and tasks", chord(header, total.s()) | add.s(1) | mul.s(2))
    case("raw chain of a chord and tasks", _chain([chord(header, total.s()), add.s(1), mul.s(2)]))
    case("raw chain of chords", _chain([chord(header, total.s()), chord([add.s(3), add.s(4)], total.s()), chord([add.s(5)], total.s())]))
    case("chord with a group as its body", chord(header, group(add.s(1), mul.s(2))))
    case("chord with a group of one as its body", chord(header, group([add.s(1)])))
    case("chord with a chain into a group as its body", chord(header, chain(total.s(), group(add.s(1), mul.s(2)))))
    case("chord with a group and a task as its body", chord(header, _chain([group(add.s(1), mul.s(2)), total.s()])))
    case("chord with a chord as its body", chord(header, chord([add.s(3), add.s(4)], total.s())))
    case("chord with a chord and a chain as its body", chord(header, chord([add.s(3), add.s(4)], chain(total.s(), add.s(1)))))
    case("task and a chord", add.s(1, 1) | chord([add.s(2), add.s(3)], total.s()))
    case("task, chord and task", add.s(1, 1) | chord([add.s(2), add.s(3)], total.s()) | mul.s(4))
    case("chord from the wire with a group as its header", chord(group(add.s(1, 1), add.s(2, 2)), total.s()))
    case("chord of a chain as its header", chord(chain(add.s(1, 1), add.s(2)), total.s()))


def nested(case, add, mul, total, fail, callback, errback, parent):
    def small(n):
        return chord([add.s(n, n), mul.s(n, n)], total.s())

    case("chord of chains", chord([chain(add.s(1, 1), add.s(2)), chain(mul.s(3, 3), mul.s(4))], total.s()))
    case("chord of groups", chord([group(add.s(1, 1), add.s(2, 2)), group(add.s(3, 3), add.s(4, 4))], total.s()))
    case("chord of groups of groups", chord([add.s(0), group(add.s(1), group(add.s(2), add.s(3)), add.s(4))], total.s()))
    case("chord of chords", chord([small(1), small(2)], total.s()))
    case("chord of chords from a task", chord([small(1), add.s(2)], total.s()), parent=parent)
    case("chord of chords of chords", chord([chord([small(1), add.s(2)], total.s()), add.s(3)], total.s()))
    case("chord of chains into groups", chord([chain(add.s(1, 1), group(add.s(2), add.s(3))), add.s(4, 4)], total.s()))
    case("chord of chains into chords", chord([chain(add.s(1, 1), chord([add.s(2), add.s(3)], total.s())), add.s(4, 4)], total.s()))
    case("chord of chains with chords inside", chord([chain(add.s(1, 1), chord([add.s(2), add.s(3)], total.s()), mul.s(2)), add.s(4, 4)], total.s()))
    case("chord of chords with chains as bodies", chord([chord([add.s(1), add.s(2)], chain(total.s(), add.s(3))), add.s(4)], chain(total.s(), add.s(5))))
    case("chord of chords with groups as bodies", chord([chord([add.s(1), add.s(2)], group(add.s(3), mul.s(4))), add.s(5)], total.s()))
    case("chain in a group in a chord", chord(group(chain(add.s(1), group(chain(add.s(2), add.s(3)), add.s(4)), total.s()), add.s(5)), total.s()), 1)
    case("chain of a chord of chords", chain(add.s(1), chord([chord([add.s(2), add.s(3)], total.s()), add.s(4)], total.s()), mul.s(5)), 1)
    case("group of chains of chords", group(chain(small(1), add.s(1)), chain(add.s(2), chord([add.s(3), add.s(4)], total.s()))), 1)
    case("group of chords of groups", group(chord(group(add.s(1), group(add.s(2), add.s(3))), total.s()), add.s(4)))
    case("chain with everything", chain(
        add.s(1), group(add.s(2), chain(mul.s(3), group(add.s(4), small(5)), total.s())), total.s(), chord([add.s(6), mul.s(7)], chain(total.s(), group(add.s(8), add.s(9))))), 1)
    deep = add.s(1)
    for n in range(6):
        deep = chord([deep, add.s(n)], total.s()) | mul.s(n)
    case("chords six deep in headers", deep)
    deep = total.s()
    for n in range(6):
        deep = chord([add.s(n), add.s(n)], deep)
    case("chords six deep in bodies", deep)
    deep = add.s(1)
    for n in range(5):
        deep = group(chain(add.s(n), deep), add.s(n))
    case("groups five deep in chains", deep, 1)


def linked(case, add, mul, total, fail, callback, errback, parent):
    def link(sig, n=0):
        sig.link(callback.s(n))
        sig.link_error(errback.s(n))
        return sig

    case("task with callbacks", link(link(add.s(1, 1)), 1))
    case("task with a callback that is a chain", add.s(1, 1).set(link=[chain(callback.s(1), add.s(2))]))
    case("task with callbacks that are groups and tasks", add.s(1, 1).set(link=[group(callback.s(1), add.s(2)), callback.s(3), callback.s(4)]))
    case("task with an immutable callback", add.s(1, 1).set(link=[callback.si(7)], link_error=[errback.si(8)]))
    case("task with a callback as an option of the call", add.s(1, 1), link=callback.s(1), link_error=[errback.s(1)])
    case("chain with callbacks", link(chain(add.s(1, 1), add.s(2))))
    case("chain with linked steps", chain(link(add.s(1, 1), 1), link(add.s(2), 2), link(add.s(3), 3)))
    case("chain with links as options of the call", chain(add.s(1, 1), add.s(2)), link=[callback.s(1)], link_error=[errback.s(1)])
    case("chain with a chord and links", link(_chain([add.s(1, 1), group(add.s(2), add.s(3)), total.s(), mul.s(4)])))
    case("chain into a group with links", _chain([add.s(1, 1), group(add.s(2), add.s(3))], link_error=[errback.s(1)], link=[callback.s(1)]))
    case("chain in a chain with links", _chain([add.s(1), link(_chain([add.s(2), add.s(3)])), add.s(4)]))
    case("group with links", link(group(add.s(1, 1), add.s(2, 2))))
    case("group with an errback as its option", group([add.s(1, 1), link(add.s(2, 2))], link_error=[errback.s(5)]))
    case("chord with links", link(chord([add.s(1, 1), add.s(2, 2)], total.s())))
    case("chord with linked parts", chord([link(add.s(1, 1), 1), add.s(2, 2)], link(total.s(), 2)))
    case("chord with links as its options", chord([add.s(1, 1)], link(total.s(), 2), options={"link": [callback.s(3)], "link_error": [errback.s(3)]}))
    case("chord with links as options of the call", chord([add.s(1, 1), add.s(2, 2)], total.s()), link=callback.s(1), link_error=errback.s(1))
    case("chord with a group as its body and links as options", chord([add.s(1, 1)], group(add.s(2), link(mul.s(3), 3))), link=callback.s(1), link_error=errback.s(1))
    case("chord with a chain as its body and links", link(chord([add.s(1, 1), add.s(2)], chain(total.s(), add.s(3)))))
    case("chord of chords with links", link(chord([link(chord([add.s(1), add.s(2)], total.s()), 1), add.s(3)], total.s()), 2))
    case("chord with an empty header and links", link(chord([], total.s())))
    case("group of linked chains", group(link(chain(add.s(1), add.s(2)), 1), link(chain(add.s(3), add.s(4)), 2)))
    case("chord with chains as members and links", link(chord([link(chain(add.s(1), add.s(2)), 1), add.s(3)], total.s()), 2))
    case("task with a chord as its callback", add.s(1, 1).set(link=[chord([add.s(2), add.s(3)], total.s())]))


def with_options(case, add, mul, total, fail, callback, errback, parent):
    moment = dt.datetime(2026, 12, 24, 18, 0, tzinfo=UTC)
    case("task with options", add.s(1).set(queue="slow", countdown=5, priority=3, expires=60, time_limit=30, soft_time_limit=20.5, ignore_result=True))
    case("task with moments", add.s(1).set(eta=moment, expires=moment))
    case("task with headers and a name to show", add.s(1).set(headers={"tenant": "a"}, shadow="shown", retries=2))
    case("options of the call over those of the task", add.s(1).set(queue="slow", priority=3), queue="fast", countdown=7)
    case("chain with options of its steps", chain(add.s(1).set(queue="slow"), add.s(2).set(countdown=5), add.s(3).set(priority=7)), 1)
    case("chain with options", _chain([add.s(1), add.s(2)], queue="slow", countdown=3), 1)
    case("chain with options of the call", chain(add.s(1), add.s(2)), 1, queue="fast", priority=4, countdown=2)
    case("group with options", group([add.s(1), add.s(2).set(queue="own")], queue="slow", priority=2))
    case("group with options of the call", group([add.s(1).set(queue="own"), add.s(2)]), queue="fast", countdown=9)
    case("group of chains with options of the call", group(chain(add.s(1), add.s(2)), add.s(3)), queue="fast")
    case("chord with options", chord([add.s(1), add.s(2)], total.s()).set(queue="slow", priority=2))
    case("chord with options of its parts", chord([add.s(1).set(queue="a"), add.s(2).set(priority=1)], total.s().set(queue="b", countdown=4)))
    case("chord with options of the call", chord([add.s(1), add.s(2)], total.s()), queue="fast", priority=5)
    case("chord with a countdown", chord([add.s(1), add.s(2)], total.s()), countdown=8)
    case("chord with a countdown of its own", chord([add.s(1), add.s(2)], total.s()).set(countdown=8, eta=moment))
    case("chord with a chain as its body and options", chord([add.s(1)], chain(total.s().set(queue="a"), add.s(2).set(queue="b"))).set(queue="c"))
    case("chord of chords with options of the call", chord([chord([add.s(1)], total.s()), add.s(2)], total.s()), queue="fast", time_limit=9)
    case("root and parent as options of the call", chain(add.s(1), group(add.s(2), add.s(3)), total.s()), root_id=new_id(), parent_id=new_id())
    case("group as a member of a group", group(add.s(1), chain(add.s(2), add.s(3))), group_id=new_id(), root_id=new_id(), parent_id=new_id())
    case("task that is a member", add.s(1).set(group_id=new_id(), group_index=4, chord=dict(total.s())))
    case("chain that is a member", chain(add.s(1), add.s(2)), group_id=new_id(), group_index=4, chord=dict(total.s()))
    case("chord that is a member", chord([add.s(1), add.s(2)], mul.s(2)), group_id=new_id(), group_index=4, chord=dict(total.s()))
    case("task with keyword arguments in a chain", chain(add.s(1, y=2), mul.s(y=3, z={"a": [1, None]})))
    case("chord with a chain that follows", chord([add.s(1), add.s(2)], total.s()), chain=[dict(mul.s(9)), dict(add.s(8))])


def stamped(case, add, mul, total, fail, callback, errback, parent):
    class ByTenant(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {"tenant": "a", "stamped_headers": ["tenant"]}

    class ByGroup(StampingVisitor):
        def on_signature(self, sig, **headers):
            return {}

        def on_group_start(self, sig, **headers):
            return {"of_group": True, "stamped_headers": ["of_group"]}

        def on_chord_body(self, sig, **header):
            return {"of_body": 1, "stamped_headers": ["of_body"]}

    def stamp(sig, visitor):
        sig.stamp(visitor)
        return sig

    linked = add.s(1)
    linked.link(callback.s())
    linked.link_error(errback.s())
    case("stamped task", stamp(linked, ByTenant()))
    case("stamped chain", stamp(chain(add.s(1), add.s(2)), ByTenant()))
    case("stamped group", stamp(group([add.s(1), add.s(2)]), ByGroup()))
    case("stamped chord", stamp(chord([add.s(1), add.s(2)], total.s()), ByGroup()))
    case("stamped everything", stamp(chain(add.s(1), group([add.s(2), chain(add.s(3), add.s(4))]), total.s(), mul.s(2)), ByTenant()))
    case("stamps against those of the call", stamp(add.s(1), ByTenant()), tenant="b", stamped_headers=["tenant"])


def replaced(case, add, mul, total, fail, callback, errback, parent):
    def replacing(sig, task_id, **request):
        sig.freeze(task_id)
        sig.set(replaced_task_nesting=1, root_id=parent["root_id"], **request)
        return sig

    case("replacement", replacing(add.s(1), new_id()), parent=parent)
    case("replacement that is a member", replacing(add.s(1), new_id(), group_id=new_id(), group_index=3, chord=dict(total.s())), parent=parent)
    case("replacement by a chain", replacing(chain(add.s(1), add.s(2)), new_id(), group_id=new_id(), group_index=3, chord=dict(total.s())), parent=parent)
    case("replacement by a chord", replacing(chord([add.s(1), add.s(2)], total.s()), new_id(), group_id=new_id(), group_index=3, chord=dict(mul.s())), parent=parent)
    case("replacement within a chain", replacing(add.s(1), new_id()) | mul.s(2) | mul.s(3), parent=parent)
