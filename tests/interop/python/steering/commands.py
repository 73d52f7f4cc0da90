"""Commands that applications have added."""
import socket

from steering.changing import bound, sent_to, tell
from steering.common import ASK, FILE, NODE, add, app, inspect, told, total
from waiting import DEADLINE, until


def commands():
    """Those of the application."""
    assert told(app.control.broadcast("doubled", arguments={"factor": 21}, **ASK)) == {"ok": f"{NODE} 42 of held"}
    assert told(app.control.broadcast("doubled", **ASK)) == {"ok": f"{NODE} 4 of held"}
    assert told(app.control.broadcast("raises", **ASK)) == {"error": "ValueError('as it does')"}
    for path, missing in [
        ("pool.num_processes", "state.consumer.pool.num_processes: it belongs to the parent"),
        ("qos.value", "state.consumer.qos: it belongs to the parent"), ("no_such_thing", "state.consumer.no_such_thing: "),
        ("event_dispatcher.send('e')", "state.consumer.event_dispatcher.send: "),
        ("controller.stats()", "state.consumer.controller.stats: "), ("controller.pool.grow(1)", "state.consumer.controller.pool.grow: "),
        ("task_consumer.channel", "state.consumer.task_consumer.channel: "),
        ("add_task_queue('q', durable=False)", "no option durable"),
    ]:
        said = told(app.control.broadcast("uses", arguments={"path": path}, **ASK))["error"]
        assert missing in said and "NoneType" not in said, said
    told_of = told(app.control.broadcast("surroundings", **ASK))
    assert told_of == {
        "app": "held", "nodes": [NODE, NODE], "transport": "sqlite" if FILE else "redis", "concurrency": 2, "is_same": True,
        "optional": [False] * 3,
    }, told_of
    said = told(app.control.broadcast("doubled", arguments={"other": 1}, **ASK))
    assert said["error"].startswith("TypeError("), said
    assert inspect("ping") == {"ok": "pong"}


def command_about_queues():
    assert tell("joins", queue="tea") == {"ok": ["celery"]}
    assert bound() == {"tea": ("rooms", "direct", "to-tea")}
    assert sent_to("rooms", "direct", "to-tea") == 3
    said = tell("joins", queue="tea")
    assert said == {"error": f"ValueError('{NODE} is there already')"}, said
    # What it does before it fails is not done.
    assert "error" in told(app.control.broadcast("uses", arguments={"path": "add_task_queue('q') or 1 / 0"}, **ASK))
    assert list(bound()) == ["tea"]
    assert "ValueError" in told(app.control.broadcast("uses", arguments={"path": "add_task_queue('q', exchange_type='odd')"}, **ASK))["error"]


def command_about_queues_is_kept():
    assert bound() == {"tea": ("rooms", "direct", "to-tea")}


def own_commands():
    """Those of a program in Rust."""
    greet = lambda **arguments: told(app.control.broadcast("greet", arguments=arguments, **ASK))  # noqa: E731
    assert greet(name="you") == ["you", NODE]
    assert greet() == {"error": "argument name is missing"}
    said = greet(name=1)
    assert said["error"].startswith("argument name: "), said
    assert told(app.control.broadcast("panics", **ASK)) == {"error": "the command panicked: the log of the worker says where"}
    # One that blocks holds up no other command, and no task.
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(DEADLINE)
    app.control.broadcast("blocks", arguments={"address": "127.0.0.1:%d" % listener.getsockname()[1]})
    connection, _ = listener.accept()
    assert inspect("ping") == {"ok": "pong"}
    assert total(add()) == 3
    # Its like wait for it, up to a number.
    for _ in range(15):
        app.control.broadcast("greet", arguments={"name": "later"})
    assert greet(name="more") == {"error": "RuntimeError('16 other commands are being answered')"}
    connection.close()
    until("it has gone on", lambda: greet(name="again") == ["again", NODE])


def command_that_ends():
    app.control.broadcast("told_to_end")
