//! Chains: of tasks, of chains, and with groups at each place; and callbacks.

use celeriac::prelude::*;

use super::parts::{add, echo, note, plus, same, total, whoami};

pub(super) fn a_chain_hands_its_results_on() -> Signature<i64> {
    add(1, 2).then(plus(3)).then(plus(4))
}

pub(super) fn a_chain_of_one_task() -> Signature<i64> {
    chain(chain(echo(42)))
}

pub(super) fn immutable_steps_take_nothing() -> Signature<Value> {
    add(1, 2).then(add(10, 20)).then(whoami()).then(whoami())
}

pub(super) fn arguments_by_name_join_those_by_place() -> Signature<i64> {
    let named = |y: i64| Step::<i64, i64>::named("canvas.add", args![], kwargs! { y: y });
    Signature::<i64>::named("canvas.add", args![1], kwargs! { y: 2 }).then(named(3)).then(named(4))
}

pub(super) fn a_chain_of_chains_is_flat() -> Signature<i64> {
    add(1, 1).then(plus(2)).then(plus(3).then(plus(4).then(plus(5))))
}

pub(super) fn every_step_knows_its_parent_and_root() -> Signature<Value> {
    (1..8).fold(whoami(), |chain, _| chain.then(whoami()))
}

pub(super) fn a_long_chain() -> Signature<i64> {
    (0..49).fold(add(0, 1), |chain, _| chain.then(plus(1)))
}

pub(super) fn a_chain_ends_in_a_group() -> Group<i64> {
    add(1, 1).then(group([plus(1), plus(2), plus(3)]))
}

pub(super) fn a_group_inside_a_chain_becomes_a_chord() -> Signature<i64> {
    add(1, 1).then(group([plus(1), plus(2)])).then(total()).then(plus(100))
}

pub(super) fn a_chain_begins_with_a_group() -> Signature<i64> {
    group([add(1, 1), add(2, 2)]).then(total())
}

pub(super) fn a_group_after_a_group() -> Group<Value> {
    let seconds = [total().returning(), total().returning(), same().returning()];
    group([add(1, 1), add(2, 2)]).then(group(seconds))
}

pub(super) fn groups_and_tasks_take_turns() -> Group<i64> {
    let turn = || group([plus(1), plus(1)]).then(total()).then(plus(1));
    add(1, 0).then(turn()).then(turn()).then(turn()).then(group([plus(1), plus(2)]))
}

pub(super) fn a_chain_of_two_groups_and_two_tasks() -> Signature<i64> {
    add(1, 0).then(group([plus(1), plus(2)])).then(group([total(), total()])).then(total()).then(plus(1))
}

pub(super) fn a_chain_led_by_a_group_inside_a_chain() -> Signature<i64> {
    echo(5).then(group([plus(1), plus(2)]).then(total())).then(plus(1000))
}

pub(super) fn a_chain_of_chords() -> Signature<i64> {
    let step = || group([plus(1), plus(2), plus(3)]).then(total());
    chord(group([add(1, 0), add(1, 0)]), total()).then(step()).then(step()).then(step())
}

pub(super) fn a_callback_takes_the_result() -> Signature<i64> {
    let immutable = Signature::<Value>::named("canvas.note", args!["immutable"], kwargs! {});
    add(1, 2).link(note("mutable")).link(immutable)
}

pub(super) fn a_callback_has_a_callback() -> Signature<i64> {
    add(1, 2).link(plus(10).link(plus(100)))
}

pub(super) fn a_callback_is_a_chain() -> Signature<i64> {
    add(1, 2).link(plus(10).then(plus(100)))
}

pub(super) fn a_callback_is_a_group() -> Signature<i64> {
    add(1, 2).link(group([plus(10), plus(100)]))
}

pub(super) fn every_step_has_a_callback() -> Signature<i64> {
    let told = || Step::<i64, Value>::named("canvas.note", args![], kwargs! {});
    let step = |y| plus(y).link(told());
    add(1, 2).link(told()).then(step(3)).then(step(4)).then(step(5))
}

pub(super) fn a_callback_of_a_chain_is_that_of_its_last_step() -> Signature<i64> {
    add(1, 2).then(plus(3)).link(note("end"))
}

pub(super) fn a_chain_inside_keeps_its_callbacks() -> Signature<String> {
    let and = |text: &str| Step::<String, String>::named("canvas.add", args![text], kwargs! {});
    echo("a").returning().then(and("b")).link(note("inner")).then(and("c"))
}
