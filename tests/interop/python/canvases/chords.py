"""Chords: their headers, bodies and callbacks."""
from celery import chain, chord, group

from canvas_tasks import add, again, echo, hush, note, total, whoami
from canvases.canvas import Canvases

canvas = Canvases()


@canvas
def a_chord_sums_its_header():
    return chord([add.s(n, n) for n in range(5)], total.s())


@canvas
def results_come_in_the_order_of_the_header():
    return chord([again.s(0), echo.s(1), again.s(2), echo.s(3), echo.s(4)], echo.s())


@canvas
def a_header_of_one_task():
    return chord(group(add.s(1, 2)), total.s())


@canvas
def an_empty_header():
    return chord([], total.s())


@canvas(since=(5, 7))
def empty_chains_in_a_header_count_for_nothing():
    return chord([chain(), add.s(1, 1), chain(), add.s(2, 2)], total.s())


@canvas
def a_body_of_arguments_of_its_own():
    return chord([add.s(1, 1), add.s(2, 2)], note.s("own", "arguments"))


@canvas
def an_immutable_body():
    return chord([add.s(1, 1), add.s(2, 2)], note.si("nothing"))


@canvas
def members_and_body_know_their_place():
    return chord([whoami.si(), whoami.si()], whoami.si())


@canvas
def a_chord_inside_a_chain_knows_its_place():
    return chain(whoami.si(), chord([whoami.si(), whoami.si()], whoami.si()), whoami.si())


@canvas(acts=True)
def a_chord_gives_its_arguments_to_the_header(run):
    run.send(chord([add.s(1), add.s(2)], total.s()), (10,))


@canvas
def a_header_from_a_generator():
    return chord((add.s(n, 1) for n in range(3)), total.s())


@canvas
def a_header_of_chains():
    return chord([chain(add.s(n, 1), add.s(n), add.s(n)) for n in range(3)], total.s())


@canvas
def a_header_of_groups():
    return chord([group(add.s(1, 1), add.s(2, 2)), group(add.s(3, 3))], total.s())


@canvas
def a_header_of_chords():
    return chord([chord([add.s(1, 1), add.s(2, 2)], total.s()), chord([add.s(3, 3)], total.s())], total.s())


@canvas
def a_header_of_everything():
    return chord(
        [
            echo.s(1),
            chain(echo.s(2), add.s(3)),
            chord([echo.s(4), echo.s(5)], total.s()),
            chain(echo.s(6), group(add.s(1), add.s(2))),
            group(echo.s(7), echo.s(8)),
            add.starmap([(1, 2), (3, 4)]),
        ],
        total.s(),
    )


@canvas
def a_chain_ending_in_a_chord_inside_a_header():
    return chord([chain(echo.s(1), chord([add.s(1), add.s(2)], total.s())), echo.s(100)], total.s())


@canvas
def a_body_that_is_a_chain():
    return chord([add.s(1, 1), add.s(2, 2)], chain(total.s(), add.s(10), add.s(100)))


@canvas
def a_body_that_is_a_group():
    return chord([add.s(1, 1), add.s(2, 2)], group(total.s(), echo.s()))


@canvas
def a_body_that_is_a_chord():
    return chord([add.s(1, 1), add.s(2, 2)], chord([total.s(), total.s()], total.s()))


@canvas
def a_body_that_is_a_chain_with_a_group_inside():
    return chord([add.s(1, 1), add.s(2, 2)], chain(total.s(), group(add.s(1), add.s(2)), total.s()))


@canvas
def a_body_that_is_a_chain_ending_in_a_group():
    return chord([add.s(1, 1), add.s(2, 2)], chain(total.s(), group(add.s(1), add.s(2))))


@canvas
def steps_follow_a_chord():
    return chain(chord([add.s(1, 1), add.s(2, 2)], total.s()), add.s(10), add.s(100))


@canvas
def a_group_among_the_steps_after_a_chord():
    return chain(chord([add.s(1, 1), add.s(2, 2)], total.s()), group(add.s(1), add.s(2)), total.s())


@canvas
def a_group_after_a_chord():
    return chain(chord([add.s(1, 1), add.s(2, 2)], total.s()), group(add.s(1), add.s(2)))


@canvas
def a_body_has_callbacks():
    body = total.s()
    body.link(note.s("of the body"))
    signature = chord([add.s(1, 1), add.s(2, 2)], body)
    signature.link(note.s("of the chord"))
    return signature


@canvas
def members_have_callbacks():
    member = add.s(1, 1)
    member.link(note.s("of the member"))
    return chord([member, add.s(2, 2)], total.s())


@canvas
def a_member_without_a_result_of_its_own():
    return chord([hush.s(1), add.s(2, 2)], total.s())


@canvas
def chords_side_by_side():
    return group(chord([whoami.si(), echo.s(n)], echo.s()) for n in range(3))


@canvas
def a_large_chord():
    return chord([echo.s(number) for number in range(200)], total.s())
