"""Groups, and maps over lists."""
from celery import chain, chord, group

from canvas_tasks import add, echo, note, total, whoami
from canvases.canvas import Canvases

canvas = Canvases()


@canvas
def a_group_answers_in_order():
    return group(add.s(n, n) for n in range(10))


@canvas
def a_group_of_one():
    return group(add.s(1, 2))


@canvas(acts=True)
def an_empty_group_sends_nothing(run):
    result = group([]).apply_async()
    return {"results": len(result.results), "get": result.get(timeout=run.DEADLINE)}


@canvas(acts=True)
def a_group_gives_its_arguments_to_each(run):
    run.send(group(add.s(1), add.s(2), add.s(y=3), chain(add.s(4), add.s(5)), echo.si("nothing")), (10,))


@canvas
def members_know_their_group_and_place():
    return group(whoami.si() for _ in range(4))


@canvas
def a_group_of_groups_is_flat():
    return group(group(echo.s(1), echo.s(2)), group(group(echo.s(3))), echo.s(4))


@canvas
def a_group_of_chains():
    return group(chain(add.s(n, 1), add.s(n), add.s(n)) for n in range(4))


@canvas
def a_group_of_chords():
    return group(chord([add.s(n, 1), add.s(n, 2)], total.s()) for n in range(3))


@canvas
def a_group_of_everything():
    return group(
        echo.s(1),
        chain(echo.s(2), add.s(3)),
        chord([echo.s(4), echo.s(5)], total.s()),
        chain(echo.s(6), group(add.s(1), add.s(2))),
        add.starmap([(1, 2), (3, 4)]),
    )


@canvas
def a_group_ends_in_groups():
    return group(chain(add.s(1, 2), group(add.s(1), add.s(2))), chain(add.s(3, 4), group(add.s(3), add.s(4))))


@canvas
def a_callback_of_a_group():
    signature = group(add.s(1, 1), add.s(2, 2))
    signature.link(note.s("first"))
    return signature


@canvas
def each_member_has_a_callback():
    def member(number):
        signature = add.s(number, number)
        signature.link(note.s())
        return signature

    return group(member(number) for number in range(4))


@canvas
def a_large_group():
    return group(echo.s(number) for number in range(100))


@canvas(acts=True)
def a_group_is_saved_and_restored(run):
    result = run.send(chain(add.s(1, 1), group(add.s(1), chain(add.s(2), add.s(3)))))
    result.save()
    restored = run.restore(result.id)
    again = restored.get(timeout=run.DEADLINE)
    seen = {"results": again, "count": restored.completed_count(), "same": restored.as_tuple() == result.as_tuple()}
    restored.delete()
    return {**seen, "afterwards": run.restore(result.id)}


@canvas(acts=True)
def a_group_is_iterated_as_it_completes(run):
    result = run.send(group(add.s(n, n) for n in range(5)))
    seen = sorted(meta["result"] for _, meta in result.iter_native(timeout=run.DEADLINE))
    return {"seen": seen, "joined": result.join(timeout=run.DEADLINE)}


@canvas(acts=True)
def a_chain_is_collected(run):
    result = run.send(chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s(), add.s(3)))
    run.settle()
    return [value for _, value in result.collect()]


@canvas
def a_map():
    return echo.map([[1], "two", {"three": 3}])


@canvas
def a_starmap():
    return add.starmap([(1, 1), (2, 2), (3, 3)])


@canvas
def a_map_with_a_callback():
    signature = total.map([[1, 2], [3, 4]])
    signature.link(total.s())
    return signature


@canvas
def maps_in_a_chain():
    return chain(add.si(1, 1), add.starmap([(1, 1), (2, 2)]), total.s(), total.map([[1], [2]]))


@canvas(acts=True)
def chunks_are_a_group(run):
    run.send(add.chunks([(n, n) for n in range(7)], 3).group())


@canvas
def chunks_before_a_task():
    return chain(add.chunks([(n, n) for n in range(6)], 2).group(), total.s())
