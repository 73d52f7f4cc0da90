"""Options that go along: priorities, headers, stamps, delays, ignored results."""
from celery import chain, chord, group

from canvas_tasks import add, again, hush, note, told, total, whoami
from canvases.canvas import Canvases

canvas = Canvases()


@canvas(acts=True)
def a_priority_goes_along_a_chain(run):
    run.send(chain(whoami.si(), whoami.si(), group(whoami.si(), whoami.si())), priority=3)


@canvas
def every_task_has_its_own_priority():
    return chain(whoami.si().set(priority=9), whoami.si().set(priority=6), whoami.si())


@canvas(acts=True)
def headers_go_to_those_they_are_for(run):
    steps = chain(whoami.si().set(headers={"tenant": "first"}), whoami.si(), whoami.si().set(headers={"tenant": "last"}))
    run.send(steps)


@canvas(acts=True)
def headers_of_a_group_go_to_all(run):
    run.send(group(whoami.si(), whoami.si()), headers={"tenant": "all"})


@canvas
def stamps_reach_every_task_of_a_chain():
    signature = chain(whoami.si(), whoami.si(), whoami.si())
    signature.stamp(team="tea")
    return signature


@canvas
def stamps_reach_every_task_of_a_chord():
    signature = chord([whoami.si(), chain(whoami.si(), whoami.si())], whoami.si())
    signature.stamp(team="tea", number=7)
    return signature


@canvas
def stamps_of_a_chord_and_its_body():
    body = whoami.si()
    body.stamp(team="tea", number=7)
    signature = chord([whoami.si(), chain(whoami.si(), whoami.si())], body)
    # Celery leaves the body out.
    signature.stamp(team="tea", number=7)
    return signature


@canvas
def stamps_reach_callbacks():
    signature = whoami.si()
    signature.link(whoami.si())
    signature.stamp(team="tea")
    return signature


@canvas
def stamps_are_kept_by_a_retry():
    signature = chain(again.s(1), whoami.si())
    signature.stamp(team="tea")
    return signature


@canvas
def a_retry_goes_on_with_its_chain():
    return chain(again.s(1), add.s(1), again.s(), add.s(2))


@canvas
def a_retry_counts_once_for_its_chord():
    return chord([again.s(1), again.s(2), add.s(3, 3)], again.s())


@canvas
def a_retry_keeps_its_callbacks():
    signature = again.s(1)
    signature.link(note.s("once"))
    return group(signature, again.s(2))


@canvas
def a_step_whose_result_is_ignored():
    return chain(add.s(1, 1), hush.s(), add.s(2))


@canvas(never_ends="nobody asked for the result of a member")
def results_ignored_by_option():
    return chain(add.s(1, 1).set(ignore_result=True), add.s(2), group(add.s(3).set(ignore_result=True), add.s(4)))


@canvas
def a_step_for_later():
    return chain(add.s(1, 1), add.s(2).set(countdown=0.3), add.s(3))


@canvas(acts=True)
def a_canvas_for_later(run):
    run.send(chain(group(add.s(1, 1), add.s(2, 2)), total.s()), countdown=0.3)


@canvas
def what_expires_later_runs():
    return chain(add.s(1, 1).set(expires=600), chord([add.s(1).set(expires=600), add.s(2)], total.s().set(expires=600)))


@canvas
def time_limits_go_along():
    return chain(add.s(1, 1).set(soft_time_limit=50, time_limit=60), add.s(2).set(time_limit=60))


@canvas(acts=True)
def options_of_a_chord_go_to_its_body(run):
    run.send(chord([whoami.si(), whoami.si()], whoami.si()), link=note.si("link"), link_error=told.si("link_error"))


@canvas
def compressed_bodies_go_along():
    return chain(
        add.s(1, 1).set(compression="zlib"),
        chord([add.s(1).set(compression="zlib"), add.s(2)], total.s().set(compression="zlib")),
        add.s(1).set(compression="zlib"),
    )
