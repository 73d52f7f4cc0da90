//! Chords: their headers, bodies and callbacks.

use celeriac::prelude::*;

use super::parts::{add, again, echo, note, plus, same, total, whoami};

/// 2 and 4.
fn header() -> Group<i64> {
    group([add(1, 1), add(2, 2)])
}

pub(super) fn a_chord_sums_its_header() -> Signature<i64> {
    chord(group((0..5).map(|n| add(n, n))), total())
}

pub(super) fn results_come_in_the_order_of_the_header() -> Signature<Vec<i64>> {
    chord(group([again(0), echo(1), again(2), echo(3), echo(4)]), same())
}

pub(super) fn a_header_of_one_task() -> Signature<i64> {
    chord(group([add(1, 2)]), total())
}

pub(super) fn a_body_of_arguments_of_its_own() -> Signature<Vec<Value>> {
    let body = Step::named("canvas.note", args!["own", "arguments"], kwargs! {});
    chord(header(), body)
}

pub(super) fn an_immutable_body() -> Signature<Vec<Value>> {
    let body = Signature::named("canvas.note", args!["nothing"], kwargs! {});
    chord(header(), body)
}

pub(super) fn members_and_body_know_their_place() -> Signature<Value> {
    chord(group([whoami(), whoami()]), whoami())
}

pub(super) fn a_chord_inside_a_chain_knows_its_place() -> Signature<Value> {
    whoami().then(group([whoami(), whoami()])).then(whoami()).then(whoami())
}

pub(super) fn a_header_of_chains() -> Signature<i64> {
    chord(group((0..3).map(|n| add(n, 1).then(plus(n)).then(plus(n)))), total())
}

pub(super) fn a_header_of_groups() -> Signature<i64> {
    chord(group([header(), group([add(3, 3)])]), total())
}

pub(super) fn a_header_of_chords() -> Signature<i64> {
    chord(group([chord(header(), total()), chord(group([add(3, 3)]), total())]), total())
}

pub(super) fn a_chain_ending_in_a_chord_inside_a_header() -> Signature<i64> {
    chord(group([echo(1).then(group([plus(1), plus(2)])).then(total()), echo(100)]), total())
}

/// What follows the body follows the chord: in Rust it is the same.
pub(super) fn steps_follow_a_chord() -> Signature<i64> {
    chord(header(), total().then(plus(10)).then(plus(100)))
}

pub(super) fn a_group_among_the_steps_after_a_chord() -> Signature<i64> {
    chord(header(), total().then(group([plus(1), plus(2)])).then(total()))
}

pub(super) fn a_group_after_a_chord() -> Group<i64> {
    chord(header(), total().then(group([plus(1), plus(2)])))
}

pub(super) fn a_body_that_is_a_group() -> Group<Value> {
    chord(header(), group([total().returning(), same().returning()]))
}

pub(super) fn a_body_that_is_a_chord() -> Signature<i64> {
    chord(header(), group([total(), total()]).then(total()))
}

pub(super) fn a_body_has_callbacks() -> Signature<i64> {
    chord(header(), total().link(note("of the body"))).link(note("of the chord"))
}

pub(super) fn members_have_callbacks() -> Signature<i64> {
    chord(group([add(1, 1).link(note("of the member")), add(2, 2)]), total())
}
