"""What fails, where it fails, and who is told."""
from celery import chain, chord, group

from canvas_tasks import add, app, echo, fail, hopeless, note, told, told_more, total
from canvases.canvas import Canvases, Differs

canvas = Canvases()


def ends(reason, state, *told_of):
    """Celery does not get to an end; we do."""
    return {"never_ends": reason, "differs": Differs(reason, state, [["told", name] for name in told_of])}


# Celery marks as failed the last of what will not run, and sometimes the id of a group; ours each task.
MARKED = "every task that will not run is marked as failed, so that nobody waits for it"
CHORD_ERROR = ["ChordError", ["Dependency result^[1] raised OutOfTea('no leaves')"]]


def tells(signature, *whom):
    """With these errbacks."""
    for errback in whom or (told.s(),):
        signature.link_error(errback)
    return signature


@canvas
def an_errback_is_told_the_id():
    return tells(fail.s(), told.s(), told.si("immutable"))


@canvas(since=(5, 7))
def an_errback_has_arguments_of_its_own():
    return tells(fail.s(), told_more.s("more"), told_more.s(more="by name"))


@canvas
def an_errback_is_told_once():
    errback = told.s()
    errback.link(note.s("after the errback"))
    return tells(fail.s(), errback)


@canvas
def an_errback_is_a_chain():
    return tells(fail.s(), chain(told.si("first"), told.si("second")))


@canvas
def a_success_calls_no_errback():
    return tells(add.s(1, 1))


@canvas
def a_failure_calls_no_callback():
    signature = tells(fail.s())
    signature.link(note.s("never"))
    return signature


@canvas
def the_first_step_fails():
    return tells(chain(fail.s(), add.s(1), add.s(2)))


@canvas
def a_step_in_the_middle_fails():
    return tells(chain(add.s(1, 1), fail.s(), add.s(2), add.s(3)))


@canvas
def the_last_step_fails():
    return tells(chain(add.s(1, 1), add.s(2), fail.s()))


@canvas
def only_the_errback_of_the_failed_step_is_told():
    return chain(tells(add.s(1, 1), told.si("first")), tells(fail.s(), told.si("second")), tells(add.s(2), told.si("third")))


@canvas(**ends("the members of a group that will not run hear nothing", "FAILURE", "result^"))
def a_step_before_a_group_fails():
    return tells(chain(add.s(1, 1), fail.s(), group(add.s(1), add.s(2))))


@canvas(differs=Differs(MARKED, "FAILURE", [["told", "result^^^"]]))
def a_step_before_a_chord_fails():
    return tells(chain(fail.s(), chord([add.s(1), add.s(2)], total.s()), add.s(3)))


@canvas
def a_member_of_a_group_fails():
    return tells(group(add.s(1, 1), fail.s(), add.s(2, 2)))


@canvas
def all_members_of_a_group_fail():
    return tells(group(fail.s(), fail.s()))


@canvas
def a_chain_in_a_group_fails():
    return group(chain(fail.s(), add.s(1)), chain(add.s(1, 1), fail.s()), add.s(1, 1))


@canvas
def a_member_of_a_header_fails():
    return chord([add.s(1, 1), fail.s()], tells(total.s()))


@canvas
def the_only_member_of_a_header_fails():
    return chord([fail.s()], tells(total.s()))


@canvas
def members_of_a_header_have_errbacks():
    return chord([tells(add.s(1, 1), told.si("other")), tells(fail.s(), told.si("failed"))], tells(total.s(), told.si("body")))


@canvas
def an_errback_of_a_chord():
    return tells(chord([add.s(1, 1), fail.s()], total.s()))


@canvas
def a_body_fails():
    return tells(chord([add.s(1, 1), add.s(2, 2)], fail.s()))


@canvas
def a_body_that_is_a_chain_fails():
    return chord([add.s(1, 1), add.s(2, 2)], tells(chain(total.s(), fail.s(), add.s(1))))


@canvas(differs=Differs(MARKED, "FAILURE", [CHORD_ERROR, CHORD_ERROR, ["told", "result"]]))
def a_header_fails_before_a_chain():
    return chord([add.s(1, 1), fail.s()], tells(chain(total.s(), add.s(1), add.s(2))))


@canvas(since=(5, 7))
def a_header_fails_before_a_group():
    return tells(chord([add.s(1, 1), fail.s()], group(total.s(), echo.s())))


@canvas
def a_chain_in_a_header_fails_at_its_first_step():
    return chord([chain(fail.s(), add.s(1), add.s(2)), add.s(1, 1)], tells(total.s()))


@canvas
def a_chain_in_a_header_fails_in_the_middle():
    return chord([chain(add.s(1, 1), fail.s(), add.s(2)), add.s(1, 1)], tells(total.s()))


@canvas
def a_chain_in_a_header_fails_at_its_last_step():
    return chord([chain(add.s(1, 1), fail.s()), add.s(1, 1)], tells(total.s()))


@canvas
def a_group_in_a_header_fails():
    return chord([group(add.s(1, 1), fail.s()), add.s(2, 2)], tells(total.s()))


@canvas(**ends("the chord around a chord that fails hears nothing", "FAILURE", "result"))
def a_chord_in_a_header_fails():
    return chord([chord([add.s(1, 1), fail.s()], total.s()), add.s(2, 2)], tells(total.s()))


@canvas
def the_body_of_a_chord_in_a_header_fails():
    return chord([chord([add.s(1, 1), add.s(1, 1)], fail.s()), add.s(2, 2)], tells(total.s()))


@canvas
def a_chord_before_a_task_fails():
    return chain(chord([add.s(1, 1), fail.s()], total.s()), add.s(1), tells(add.s(2)))


@canvas(since=(5, 7), differs=Differs(MARKED, "FAILURE", []))
def a_chord_before_a_chord_fails():
    return chain(chord([add.s(1, 1), fail.s()], total.s()), chord([add.s(1), add.s(2)], tells(total.s())))


@canvas(since=(5, 7), differs=Differs(MARKED, "FAILURE", []))
def a_chord_before_a_chord_fails_inside_a_group():
    inner = chain(chord([add.s(1, 1), fail.s()], total.s()), chord([add.s(1), add.s(2)], total.s()))
    return group(inner, chain(fail.s(), add.s(1)))


@canvas
def a_chord_as_a_body_fails():
    return chord([add.s(1, 1), add.s(2, 2)], chord([fail.s(), total.s()], tells(total.s())))


@canvas
def a_callback_fails():
    signature = add.s(1, 1)
    signature.link(tells(fail.s()))
    return signature


@canvas
def retries_end_in_failure():
    return chain(tells(hopeless.s()), add.s(1))


@canvas
def retries_of_a_member_end_in_failure():
    return chord([hopeless.s(), add.s(1, 1)], tells(total.s()))


@canvas(differs=Differs("the errback of an unknown task hears nothing in Celery", "FAILURE", [["told", "result"]]))
def a_task_nobody_knows_fails():
    return tells(app.signature("canvas.unknown"))


@canvas(**ends("the chord of an unknown task hears nothing", "FAILURE", "result"))
def a_member_nobody_knows_fails():
    return chord([app.signature("canvas.unknown"), add.s(1, 1)], tells(total.s()))


@canvas(**ends("the steps after an unknown task hear nothing", "FAILURE", "result^"))
def a_step_that_nobody_knows_fails():
    return chain(add.s(1, 1), tells(app.signature("canvas.unknown")), add.s(1))


@canvas
def a_map_fails():
    return chain(fail.map([1, 2]), tells(add.s(1)))


@canvas(acts=True, differs=Differs("the errback of a revoked task hears nothing in Celery", "REVOKED", [["told", "result"]]))
def a_revoked_task(run):
    run.send(tells(run.revoked(add.s(1, 1))))


@canvas(acts=True, **ends("the steps after a revoked one hear nothing", "REVOKED", "result^"))
def a_revoked_first_step(run):
    run.send(chain(tells(run.revoked(add.s(1, 1))), add.s(2)))


@canvas(acts=True, **ends("the steps after a revoked one hear nothing", "REVOKED", "result^"))
def a_revoked_step_in_the_middle(run):
    run.send(chain(add.s(1, 1), tells(run.revoked(add.s(2))), add.s(3)))


@canvas(acts=True)
def a_revoked_member_of_a_group(run):
    run.send(group(run.revoked(add.s(1, 1)), add.s(2, 2)))


@canvas(acts=True)
def a_revoked_member_of_a_header(run):
    run.send(chord([run.revoked(add.s(1, 1)), add.s(2, 2)], tells(total.s())))


@canvas(acts=True, **ends("the steps after a revoked one hear nothing", "FAILURE", "result"))
def a_revoked_step_in_a_header(run):
    run.send(chord([chain(add.s(1, 1), run.revoked(add.s(1)), add.s(2)), add.s(2, 2)], tells(total.s())))


@canvas(acts=True, differs=Differs("the errback of a revoked task hears nothing in Celery", "REVOKED", [["told", "result"]]))
def a_revoked_body(run):
    run.send(chord([add.s(1, 1), add.s(2, 2)], tells(run.revoked(total.s()))))


@canvas(differs=Differs("the errback of an expired task hears nothing in Celery", "REVOKED", [["told", "result"]]))
def an_expired_task():
    return tells(add.s(1, 1).set(expires=-1))


@canvas(**ends("the steps after an expired one hear nothing", "REVOKED"))
def an_expired_first_step():
    return chain(add.s(1, 1).set(expires=-1), tells(add.s(2)))


@canvas
def an_expired_member_of_a_header():
    return chord([add.s(1, 1).set(expires=-1), add.s(2, 2)], tells(total.s()))


@canvas(**ends("the steps after an expired one hear nothing", "FAILURE", "result"))
def an_expired_step_in_a_header():
    return chord([chain(add.s(1, 1), add.s(1).set(expires=-1), add.s(2)), add.s(2, 2)], tells(total.s()))
