"""What a task does to its own canvas while it runs: it is replaced, or adds to its chord."""
from celery import chain, chord, group

from canvas_tasks import add, echo, extend, fail, note, replace, told, total, whoami
from canvases.canvas import Canvases

canvas = Canvases()


@canvas
def a_task_is_replaced():
    return replace.si(add.s(1, 2))


@canvas
def a_task_is_replaced_by_a_chain():
    return replace.si(chain(add.s(1, 2), add.s(3)))


@canvas
def a_task_is_replaced_by_a_group():
    return replace.si(group(add.s(1, 2), add.s(3, 4)))


@canvas
def a_task_is_replaced_by_a_chord():
    return replace.si(chord([add.s(1, 2), add.s(3, 4)], total.s()))


@canvas
def a_replaced_task_is_replaced_again():
    return replace.si(replace.si(chain(add.s(1, 2), add.s(3))))


@canvas
def the_first_step_is_replaced():
    return chain(replace.si(add.s(1, 2)), add.s(3))


@canvas
def a_step_in_the_middle_is_replaced_by_a_chain():
    return chain(echo.s(1), replace.s(chain(add.s(10), add.s(20))), add.s(3))


@canvas
def the_last_step_is_replaced_by_a_chain():
    return chain(echo.s(1), replace.s(chain(add.s(10), add.s(20))))


@canvas
def a_step_is_replaced_by_a_group():
    return chain(echo.s(1), replace.s(group(add.s(10), add.s(20))), total.s())


@canvas
def a_step_is_replaced_by_a_chord():
    return chain(echo.s(1), replace.s(chord([add.s(10), add.s(20)], total.s())), add.s(3))


@canvas
def a_replaced_task_keeps_its_callbacks():
    signature = replace.si(chain(add.s(1, 2), add.s(3)))
    signature.link(note.s("once"))
    return signature


@canvas
def a_replaced_task_keeps_its_errbacks():
    signature = replace.si(chain(add.s(1, 2), fail.s()))
    signature.link_error(told.si("once"))
    return chain(signature, add.s(1))


@canvas
def the_new_task_has_callbacks_of_its_own():
    inner = chain(add.s(1, 2), add.s(3))
    inner.link(note.s("inner"))
    signature = replace.si(inner)
    signature.link(note.s("outer"))
    return signature


@canvas
def a_member_of_a_group_is_replaced():
    return group(echo.s(1), replace.si(chain(add.s(1, 2), add.s(3))), echo.s(2))


@canvas
def a_member_of_a_header_is_replaced():
    return chord([echo.s(1), replace.si(add.s(1, 2))], total.s())


@canvas
def a_member_of_a_header_is_replaced_by_a_chain():
    return chord([echo.s(1), replace.si(chain(add.s(1, 2), add.s(3)))], total.s())


@canvas
def a_member_of_a_header_is_replaced_by_a_group():
    return chord([echo.s(1), replace.si(group(add.s(1, 2), add.s(3, 4)))], total.s())


@canvas
def a_member_of_a_header_is_replaced_by_a_chord():
    return chord([echo.s(1), replace.si(chord([add.s(1, 2), add.s(3, 4)], total.s()))], total.s())


@canvas
def a_body_is_replaced():
    return chord([echo.s(1), echo.s(2)], replace.s(chain(total.s(), add.s(10))))


@canvas
def a_replaced_member_fails():
    body = total.s()
    body.link_error(told.s())
    return chord([echo.s(1), replace.si(chain(fail.s(), add.s(1)))], body)


@canvas
def what_replaces_knows_its_place():
    return chord([replace.si(whoami.si()), whoami.si()], whoami.si())


@canvas
def stamps_reach_what_replaces():
    signature = replace.si(whoami.si())
    signature.stamp(team="tea")
    return signature


@canvas
def a_member_adds_to_its_chord():
    return chord([add.s(1, 1), extend.si([add.s(2, 2), add.s(3, 3)])], total.s())


@canvas
def a_member_adds_a_chord_to_its_chord():
    return chord([add.s(1, 1), extend.si([chord([add.s(2, 2), add.s(3, 3)], total.s())])], total.s())


@canvas
def a_member_adds_what_fails():
    body = total.s()
    body.link_error(told.s())
    return chord([add.s(1, 1), extend.si([fail.s()])], body)
