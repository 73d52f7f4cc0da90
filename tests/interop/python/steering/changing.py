"""Limits and queues, and that their changes are kept."""
import sqlite3
import time

from kombu import Exchange

from steering.common import ASK, ASK_NOW, FAMILY, FILE, NODE, Slow, add, app, celery, inspect, raised, told, total
from waiting import DEADLINE


def limits():
    limit = app.control.rate_limit
    assert told(limit(f"{FAMILY}.add", "2/s", **ASK_NOW)) == {"ok": "new rate limit set successfully"}
    assert f"{FAMILY}.add [rate_limit=2/s]" in [line.replace("2.0/s", "2/s") for line in inspect("registered")]
    began = time.monotonic()
    for result in [add() for _ in range(4)]:
        assert total(result) == 3
    assert time.monotonic() - began > 1.2, time.monotonic() - began
    # What waits for its turn does not wait for the old one.
    assert told(limit(f"{FAMILY}.add", "1/h", **ASK_NOW))["ok"]
    waiting = [add() for _ in range(2)]
    assert total(waiting[0]) == 3
    assert told(limit(f"{FAMILY}.add", 0, **ASK_NOW)) == {"ok": "rate limit disabled successfully"}
    assert total(waiting[1]) == 3
    assert told(limit(f"{FAMILY}.add", "x/m", **ASK_NOW))["error"].startswith("Invalid rate limit string: ValueError(")
    assert told(limit("nobody", "2/s", **ASK_NOW)) == {"error": "unknown task"}

    assert told(app.control.time_limit(f"{FAMILY}.slow", hard=1.5, **ASK_NOW)) == {"ok": "time limits set successfully"}
    overdue = Slow().runs()
    assert raised(overdue.result) == "TimeLimitExceeded"
    # What a call says comes first.
    longer = Slow(time_limit=60).runs()
    time.sleep(2)
    assert longer.may_go()
    assert told(app.control.time_limit(f"{FAMILY}.slow", **ASK_NOW)) == {"ok": "time limits set successfully"}
    slow = Slow().runs()
    time.sleep(2)
    assert slow.may_go()
    assert told(app.control.time_limit("nobody", **ASK_NOW)) == {"error": "unknown task"}


def queues():
    names = lambda: sorted(queue["name"] for queue in inspect("active_queues"))  # noqa: E731
    assert names() == ["celery"]
    # Something waits there, and its worker waits for something to do.
    early = add(queue="extra")
    assert told(app.control.add_consumer("extra", **ASK_NOW)) == {"ok": "add consumer extra"}
    assert total(early) == 3
    assert names() == ["celery", "extra"]
    assert total(add(queue="extra")) == 3 == total(add())
    assert told(app.control.add_consumer("extra", **ASK_NOW)) == {"ok": "add consumer extra"}
    slow = Slow(queue="extra").runs()
    assert told(app.control.cancel_consumer("extra", **ASK_NOW)) == {"ok": "no longer consuming from extra"}
    assert names() == ["celery"]
    left = add(queue="extra")
    assert slow.may_go()
    assert [total(add()) for _ in range(5)] == [3] * 5
    assert left.state == "PENDING", left.state
    # Without any queue it is still there.
    assert told(app.control.cancel_consumer("celery", **ASK_NOW))["ok"] and names() == []
    waiting = add()
    assert told(app.control.add_consumer("celery", **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("extra", exchange_type="direct", **ASK_NOW))["ok"]
    assert total(waiting) == 3 == total(left)


def exchanges():
    """Queues that are bound elsewhere than by their name get what stock producers send there."""
    assert "add consumer videos" in celery("control", "-t", "10", "-d", NODE, "add_consumer", "videos", "media", "topic", "video.#")
    assert sent_to("media", "topic", "video.cats.mp4") == 3
    assert told(app.control.add_consumer("letters", exchange="post", routing_key="letter", **ASK_NOW))["ok"]
    assert sent_to("post", "direct", "letter") == 3
    assert bound() == {
        "celery": ("celery", "direct", "celery"), "letters": ("post", "direct", "letter"), "videos": ("media", "topic", "video.#"),
    }
    said = told(app.control.add_consumer("other", exchange="others", exchange_type="odd", **ASK_NOW))
    assert said["error"].startswith("ValueError('\"odd\" is no type of exchange"), said
    said = told(app.control.add_consumer("news", exchange="news", exchange_type="fanout", **ASK_NOW))
    if FILE:
        assert said["ok"] and sent_to("news", "fanout", "any") == 3
    else:
        assert said["error"].startswith("NotImplementedError('this broker brings fan-out messages only"), said
    forget_bindings()


def exchanges_are_kept():
    assert {name: bound()[name] for name in ("letters", "videos")} == {
        "letters": ("post", "direct", "letter"), "videos": ("media", "topic", "video.#"),
    }
    assert sent_to("media", "topic", "video.dogs") == 3
    assert sent_to("post", "direct", "letter") == 3
    # What is there is not changed by being added again.
    assert told(app.control.add_consumer("letters", exchange="elsewhere", **ASK_NOW))["ok"]
    assert bound()["letters"] == ("post", "direct", "letter")


def exchanges_of_settings():
    """Those of apps/bound.py, whose worker has declared them, as a stock one tells of them; but not of a fan-out exchange on Redis."""
    assert bound() == {
        "celery": ("celery", "direct", "celery"), "letters": ("celery", "direct", "celery"), "videos": ("media", "topic", "video.#"),
        "news": ("news", "fanout", "any") if FILE else ("", "direct", "news"),
    }
    if FILE:
        assert sent_to("news", "fanout", "any") == 3
    assert sent_to("media", "topic", "video.cats.mp4") == 3
    assert [sent_to("post", "direct", key) for key in ("letter", "card")] == [3, 3]
    # The settings name it, so it is bound as they say.
    assert told(app.control.add_consumer("images", exchange="elsewhere", exchange_type="direct", **ASK_NOW))["ok"]
    assert bound()["images"] == ("media", "topic", "image.*")
    assert sent_to("media", "topic", "image.cat") == 3


def sent_to(exchange, kind, routing_key):
    """What comes of a call that is sent to this exchange. Nothing is bound to it here."""
    with app.connection() as connection:
        Exchange(exchange, type=kind)(connection.default_channel).declare()
        return total(add(exchange=exchange, routing_key=routing_key, connection=connection))


def bound():
    """Exchange, its type and routing key of each queue that is consumed."""
    queues = inspect("active_queues")
    return {queue["name"]: (queue["exchange"]["name"], queue["exchange"]["type"], queue["routing_key"]) for queue in queues}


def forget_bindings():
    if FILE:
        connection = sqlite3.connect(FILE, timeout=DEADLINE)
        with connection:
            connection.execute("DELETE FROM binding")
        return connection.close()
    client = app.connection().default_channel.client
    for exchange in ("media", "post"):
        assert client.delete(f"_kombu.binding.{exchange}", f"_kombu.binding_permanent.{exchange}") == 2


def tell(command, **arguments):
    return told(app.control.broadcast(command, arguments=arguments, **ASK))


def names_of_queues():
    return sorted(queue["name"] for queue in inspect("active_queues"))


def change():
    """Everything that outlives the worker."""
    assert told(app.control.rate_limit(f"{FAMILY}.add", "2/s", **ASK))["ok"]
    assert told(app.control.time_limit(f"{FAMILY}.slow", hard=1.5, **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("extra", **ASK_NOW))["ok"]
    assert tell("pause", queue="celery") == {"ok": "paused celery"}
    assert tell("pause", queue="celery") == {"ok": "paused celery"}
    assert names_of_queues() == ["extra"]
    # A pause outlasts what is said of the queue meanwhile.
    assert told(app.control.cancel_consumer("celery", **ASK_NOW))["ok"]
    assert told(app.control.add_consumer("celery", **ASK_NOW))["ok"]
    assert names_of_queues() == ["extra"]
    kept = tell("changes")
    assert [change["name"] for change in kept] == [
        "consumer celery", "consumer extra", "pause celery", f"rate_limit {FAMILY}.add", f"time_limit {FAMILY}.slow"
    ], kept
    assert kept[2]["method"] == "pause" and kept[2]["arguments"] == {"queue": "celery"}, kept
    assert abs(kept[2]["at"] - time.time()) < 600, kept


def still_changed():
    """A worker that has started since."""
    waiting = add()
    assert names_of_queues() == ["extra"]
    began = time.monotonic()
    for result in [add(queue="extra") for _ in range(4)]:
        assert total(result) == 3
    assert time.monotonic() - began > 1.2, time.monotonic() - began
    overdue = Slow(queue="extra").runs()
    assert raised(overdue.result) == "TimeLimitExceeded"
    assert waiting.state == "PENDING", waiting.state
    assert tell("resume", queue="celery") == {"ok": "resumed celery"}
    assert total(waiting) == 3
    assert tell("forget_changes", name="consumer extra") == {"ok": ["consumer extra"]}
    assert names_of_queues() == ["celery", "extra"]


def partly_changed():
    """One that has started after that."""
    assert names_of_queues() == ["celery"]
    assert f"{FAMILY}.add [rate_limit=2/s]" in [line.replace("2.0/s", "2/s") for line in inspect("registered")]
    assert len(tell("forget_changes")["ok"]) == 4
    assert tell("changes") == []
    assert told(app.control.rate_limit(f"{FAMILY}.add", 0, **ASK_NOW))["ok"]
    assert tell("forget_changes") == {"ok": [f"rate_limit {FAMILY}.add"]}
