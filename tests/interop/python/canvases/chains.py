"""Chains: of tasks, of chains, and with groups at each place."""
from celery import chain, chord, group

from canvas_tasks import add, echo, note, total, whoami
from canvases.canvas import Canvases

canvas = Canvases()


@canvas
def a_chain_hands_its_results_on():
    return add.s(1, 2) | add.s(3) | add.s(4)


@canvas
def a_chain_of_one_task():
    return chain(chain(echo.s(42)))


@canvas
def immutable_steps_take_nothing():
    return chain(add.s(1, 2), add.si(10, 20), whoami.si(), whoami.si())


@canvas(acts=True)
def a_partial_chain_is_completed_when_it_is_sent(run):
    run.send(chain(add.s(10), add.s(20), add.s(5)), (7,))


@canvas
def arguments_by_name_join_those_by_place():
    return chain(add.s(1, y=2), add.s(y=3), chain(add.s(y=4)))


@canvas
def a_chain_of_chains_is_flat():
    return chain(chain(add.s(1, 1), add.s(2)), chain(add.s(3), chain(add.s(4), add.s(5))))


@canvas
def every_step_knows_its_parent_and_root():
    return chain(whoami.si() for _ in range(8))


@canvas
def a_long_chain():
    return chain(add.s(0, 1), *(add.s(1) for _ in range(49)))


@canvas
def a_chain_ends_in_a_group():
    return chain(add.s(1, 1), group(add.s(1), add.s(2), add.s(3)))


@canvas
def a_group_inside_a_chain_becomes_a_chord():
    return chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(100))


@canvas
def a_chain_begins_with_a_group():
    return chain(group(add.s(1, 1), add.s(2, 2)), total.s())


@canvas
def a_group_alone_in_a_chain():
    return chain(group(echo.s(42), echo.s(43)))


@canvas
def a_group_after_a_group():
    return chain(group(add.s(1, 1), add.s(2, 2)), group(total.s(), total.s(), echo.s()))


@canvas
def groups_and_tasks_take_turns():
    steps = [add.si(1, 0)]
    for _ in range(3):
        steps += [group(add.s(1), add.s(1)), total.s(), add.s(1)]
    return chain(*steps, group(add.s(1), add.s(2)))


@canvas
def a_chain_of_two_groups_and_two_tasks():
    return chain(add.si(1, 0), group(add.s(1), add.s(2)), group(total.s(), total.s()), total.s(), add.s(1))


@canvas
def a_chain_led_by_a_group_inside_a_chain():
    return chain(echo.s(5), chain(group(add.s(1), add.s(2)), total.s()), add.s(1000))


@canvas
def a_chain_of_chords():
    def step():
        return chord([add.s(1), add.s(2), add.s(3)], total.s())

    return chain(chord([add.si(1, 0), add.si(1, 0)], total.s()), step(), step(), step())


@canvas
def a_chain_of_implicit_chords():
    steps = [group(add.si(1, 0), add.si(1, 0)), total.s()]
    for _ in range(4):
        steps += [group(add.s(1), add.s(1)), total.s()]
    return chain(*steps)


@canvas(since=(5, 7))
def empty_groups_are_passed_over():
    return chain(group(add.s(2, 2), add.s(4, 4)), group(), group())


@canvas
def a_callback_takes_the_result():
    signature = add.s(1, 2)
    signature.link(note.s("mutable"))
    signature.link(note.si("immutable"))
    return signature


@canvas
def a_callback_has_a_callback():
    inner = add.s(10)
    inner.link(add.s(100))
    signature = add.s(1, 2)
    signature.link(inner)
    return signature


@canvas
def a_callback_is_a_chain():
    signature = add.s(1, 2)
    signature.link(chain(add.s(10), add.s(100)))
    return signature


@canvas
def a_callback_is_a_group():
    signature = add.s(1, 2)
    signature.link(group(add.s(10), add.s(100)))
    return signature


@canvas
def every_step_has_a_callback():
    def step(*arguments):
        signature = add.s(*arguments)
        signature.link(note.s())
        return signature

    return chain(step(1, 2), step(3), step(4), step(5))


@canvas
def a_callback_of_a_chain_is_that_of_its_last_step():
    signature = chain(add.s(1, 2), add.s(3))
    signature.link(note.s("end"))
    return signature


@canvas
def a_chain_inside_keeps_its_callbacks():
    inner = chain(echo.s("a"), add.s("b"))
    inner.link(note.s("inner"))
    return chain(inner, add.s("c"))


@canvas(acts=True)
def ids_are_chosen_by_the_sender(run):
    signature = chain(add.s(1, 2), add.s(3).set(task_id=run.new_id("last")))
    run.send(signature)


@canvas(acts=True)
def a_canvas_sent_as_json_is_the_same(run):
    inner = chain(add.s(1), group(add.s(2), add.s(3)), total.s())
    run.send(run.through_json(chain(add.s(1, 1), inner, chord([add.s(4), inner.clone()], total.s()))))
