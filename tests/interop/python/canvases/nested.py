"""Compositions in compositions, three and more deep."""
from celery import chain, chord, group

from canvas_tasks import add, echo, total
from canvases.canvas import Canvases

canvas = Canvases()


@canvas
def chords_four_deep():
    signature = echo.s(1)
    for _ in range(4):
        signature = chord([signature, echo.s(1)], total.s())
    return signature


@canvas
def bodies_four_deep():
    body = total.s()
    for _ in range(4):
        body = chord([total.s(), total.s()], body)
    return chord([echo.s(1), echo.s(2)], body)


@canvas
def chains_and_groups_four_deep():
    signature = add.s(1)
    for _ in range(4):
        signature = chain(add.s(1), group(signature, add.s(2)), total.s())
    return chain(echo.s(1), signature)


@canvas
def a_chain_of_a_chord_of_a_chain_of_a_chord():
    inner = chain(add.s(1), chord([add.s(1), add.s(2)], total.s()), add.s(1))
    return chain(add.s(1, 1), chord([inner, add.s(5)], chain(total.s(), chord([add.s(1), add.s(2)], total.s()))))


@canvas
def a_group_of_chains_that_end_in_chords():
    def member(number):
        return chain(echo.s(number), group(add.s(1), add.s(2)), chord([total.s(), total.s()], total.s()))

    return group(member(number) for number in range(3))


@canvas
def a_chord_whose_header_chains_end_in_groups():
    def member(number):
        return chain(add.s(number, number), group(add.s(1), chain(add.s(2), add.s(3))))

    return chord([member(1), member(2)], total.s())


@canvas
def a_chord_upgraded_inside_a_header_inside_a_chain():
    header = [chain(add.s(1), group(add.s(1), add.s(2)), total.s()), group(add.s(3), chain(add.s(4), add.s(5)))]
    return chain(echo.s(1), chord(header, total.s()), add.s(1), group(add.s(1), add.s(2)), total.s())


@canvas
def a_group_in_the_middle_of_a_body():
    body = chain(total.s(), group(add.s(8), add.s(16)), chain(total.s(), add.s(32)))
    return chord([add.s(0, 1)], chord([total.s(), total.s()], body))


@canvas
def a_wide_and_deep_tree():
    def tree(depth):
        if depth == 0:
            return add.s(1, 1)
        return chord([tree(depth - 1), chain(tree(depth - 1), add.s(1)), echo.s(depth)], total.s())

    return tree(3)
