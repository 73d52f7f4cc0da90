"""What a canvas has come to, in a form in which two runs of it are equal if they are."""
import json
import re

from celery.result import result_from_tuple

from canvas_tasks import app

FAILED = ("FAILURE", "REVOKED")
RECORD, GROUP = "celery-task-meta-", "celery-taskset-meta-"
LAST_PLACES = re.compile(r"(\[\d+\])+$")
UNKNOWN = re.compile(r"raised NotRegistered\(.*\)")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Observation:
    """Collects what is stored, and gives every id the name of its place."""

    def __init__(self, redis):
        self.records = {
            key.decode().removeprefix(RECORD): json.loads(value)
            for key, value in everything(redis, RECORD).items()
        }
        self.names = {}
        self.groups = set()

    def of(self, sent, extra):
        """The normal form of a run that has sent this and has seen that."""
        tree = None if sent is None else sent.as_tuple()
        if tree:
            self.name(tree, "result")
            self.name_groups()
            self.name_children()
            self.name_groups()
        seen = {
            "tree": tree and self.tree(tree),
            # What a client in Python is told that asks for the result.
            "ready": tree and result_from_tuple(json.loads(json.dumps(tree)), app=app).ready(),
            "seen": extra,
            "records": {self.names[task]: self.record(task) for task in list(self.names) if task in self.records},
        }
        others = [self.record(task) for task in self.records if task not in self.names]
        seen = self.renamed(seen)
        # Nothing leads to them: callbacks of what failed, above all. Their ids are of no interest.
        seen["others"] = sorted(self.renamed(others), key=json.dumps)
        return seen

    def name(self, node, name):
        """Names a result, its parent `^` and its members `[place]`; the first name stays."""
        (identity, parent), members = node
        if parent:
            self.name(parent, f"{self.names.get(identity, name)}^")
            ran = identity not in self.names and self.ran_instead(node, parent)
            if ran:
                self.name(ran, name)
        name = self.names.setdefault(identity, name)
        if members is not None:
            self.groups.add(name)
        for place, member in enumerate(members or ()):
            self.name(member, f"{name}[{place}]")

    def name_children(self):
        """Names what tasks led to, `/place`, and what that led to."""
        waiting = list(self.names)
        for task in waiting:
            record = self.records.get(task, {})
            # In Celery errbacks are children of some tasks that fail, and of others not.
            if record.get("status") != "SUCCESS":
                continue
            known = len(self.names)
            for place, child in enumerate(record.get("children") or ()):
                self.name(child, f"{self.names[task]}/{place}")
            waiting += list(self.names)[known:]

    def ran_instead(self, node, parent):
        """What a step was followed by, where that is not what the tree says.

        Celery gives a chord that is inside of something an id when it is sent, and another when its turn comes; what the
        tree says of it is never heard of again. Ours keeps the first.
        """
        if any(identity in self.records for identity in identities(node)):
            return None
        alike = [task for task, name in self.names.items() if name == self.names[parent[0][0]]]
        children = [child for task in alike for child in self.records.get(task, {}).get("children") or ()]
        kind = node[1] is None
        found = [child for child in children if (child[1] is None) == kind and child[0][0] not in self.names]
        return found[0] if len(found) == 1 else None

    def name_groups(self):
        """Names the groups that ran, where Celery gave the group of a nested chord one id in the tree and another when
        it ran."""
        for task, name in list(self.names.items()):
            group = self.records.get(task, {}).get("group_id")
            if name.endswith("]") and group:
                self.names.setdefault(group, name[:name.rindex("[")])

    def tree(self, node):
        (identity, parent), members = node
        return {
            "id": identity,
            **({"parent": self.tree(parent)} if parent else {}),
            **({"members": [self.tree(member) for member in members]} if members is not None else {}),
        }

    def record(self, task):
        record = self.records[task]
        result = record["result"]
        if isinstance(result, dict) and "exc_type" in result:
            message = result["exc_message"]
            message = message if isinstance(message, list) else [message]
            # Ours says more of it.
            message = ["..."] if result["exc_type"] == "NotRegistered" else message
            result = [result["exc_type"], [UNKNOWN.sub("raised NotRegistered(...)", str(part)) for part in message]]
        return {
            "state": record["status"],
            "result": self.facts(task, result) if knows_itself(result) else result,
            "children": [child[0][0] for child in record.get("children") or () if record["status"] == "SUCCESS"],
            "parent": self.parent(task, record.get("parent_id")),
            "group": self.group(task, record.get("group_id")),
        }

    def group(self, task, group):
        """The group it is a member of. Celery gives the body of a chord, and steps after it, that of the header."""
        group = self.names.get(group)
        return group if group and self.names.get(task, "").startswith(f"{group}[") else None

    def parent(self, task, parent):
        """Who sent it, or sent it first. The body of a chord is sent by that member which ends last, and which one does is chance."""
        # Celery says of a task that was retried and has no parent that it is its own.
        if parent == task:
            return None
        header = f"{self.names.get(task)}^"
        if header in self.groups:
            return f"one of {header}"
        name = self.names.get(parent, parent)
        children = self.records.get(parent, {}).get("children") or ()
        if not name or task in [child[0][0] for child in children]:
            return name
        header = self.names.get(self.records[task].get("group_id"))
        if header and name.startswith(f"{header}["):
            return f"one of {header}"
        return "one of " + LAST_PLACES.sub("", name) if name.endswith("]") else name

    def facts(self, task, result):
        return {**result, "parent": self.parent(task, result["parent"]), "root": self.parent(task, result["root"]) or "itself"}

    def renamed(self, value):
        text = json.dumps(value)
        return json.loads(UUID.sub(lambda found: self.names.get(found.group(), "?"), text))


def identities(node):
    """The ids of a result and of what it is made of."""
    yield node[0][0]
    for member in node[1] or ():
        yield from identities(member)


def knows_itself(result):
    """Whether `canvas.whoami` returned it."""
    return isinstance(result, dict) and {"root", "parent", "group"} <= set(result)


def everything(redis, prefix):
    keys = list(redis.scan_iter(f"{prefix}*", count=1000))
    return dict(zip(keys, redis.mget(keys))) if keys else {}


def forget_everything(redis):
    for prefix in (RECORD, GROUP):
        keys = list(redis.scan_iter(f"{prefix}*", count=1000))
        if keys:
            redis.delete(*keys)


def differences(expected, seen, path=""):
    """Where two observations differ, a line for each place."""
    if isinstance(expected, dict) and isinstance(seen, dict):
        # Celery forgets the group and the parent of some tasks that fail before they run.
        forgotten = [key for key in ("group", "parent") if expected.get("state") in FAILED and expected[key] is None]
        for key in sorted({*expected, *seen} - set(forgotten)):
            yield from differences(expected.get(key), seen.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(expected, list) and isinstance(seen, list) and len(expected) == len(seen):
        for place, (left, right) in enumerate(zip(expected, seen)):
            yield from differences(left, right, f"{path}[{place}]")
    elif expected != seen or type(expected) is not type(seen):
        yield f"{path}: {shown(expected)} in Celery, {shown(seen)} here"


def shown(value):
    text = json.dumps(value)
    return text if len(text) <= 160 else f"{text[:160]}..."
