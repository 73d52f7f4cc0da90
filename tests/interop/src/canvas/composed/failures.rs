//! What fails, where it fails, and who is told.

use std::time::Duration;

use celeriac::prelude::*;
use celeriac::protocol::TaskId;

use super::parts::{add, fail, failing, note, plus, same, told, told_of, total};

/// A body that tells of its failure.
fn telling() -> Step<Vec<i64>, i64> {
    total().link_error(told())
}

fn told_more(more: &str) -> Step<TaskId, Value> {
    Step::named("canvas.told_more", args![more], kwargs! {})
}

pub(super) fn an_errback_is_told_the_id() -> Signature<i64> {
    fail().link_error(told()).link_error(told_of("immutable"))
}

pub(super) fn an_errback_has_arguments_of_its_own() -> Signature<i64> {
    let by_name = Step::<TaskId, Value>::named("canvas.told_more", args![], kwargs! { more: "by name" });
    fail().link_error(told_more("more")).link_error(by_name)
}

pub(super) fn an_errback_is_told_once() -> Signature<i64> {
    fail().link_error(told().link(note("after the errback")))
}

pub(super) fn an_errback_is_a_chain() -> Signature<i64> {
    fail().link_error(told_of("first").then(told_of("second")))
}

pub(super) fn a_success_calls_no_errback() -> Signature<i64> {
    add(1, 1).link_error(told())
}

pub(super) fn a_failure_calls_no_callback() -> Signature<i64> {
    fail().link_error(told()).link(note("never"))
}

pub(super) fn the_first_step_fails() -> Signature<i64> {
    fail().then(plus(1)).then(plus(2)).link_error(told())
}

pub(super) fn a_step_in_the_middle_fails() -> Signature<i64> {
    add(1, 1).then(failing()).then(plus(2)).then(plus(3)).link_error(told())
}

pub(super) fn the_last_step_fails() -> Signature<i64> {
    add(1, 1).then(plus(2)).then(failing()).link_error(told())
}

pub(super) fn only_the_errback_of_the_failed_step_is_told() -> Signature<i64> {
    let first = add(1, 1).link_error(told_of("first"));
    first.then(failing().link_error(told_of("second"))).then(plus(2).link_error(told_of("third")))
}

pub(super) fn a_member_of_a_group_fails() -> Group<i64> {
    group([add(1, 1), fail(), add(2, 2)]).link_error(told())
}

pub(super) fn a_chain_in_a_group_fails() -> Group<i64> {
    group([fail().then(plus(1)), add(1, 1).then(failing()), add(1, 1)])
}

pub(super) fn a_member_of_a_header_fails() -> Signature<i64> {
    chord(group([add(1, 1), fail()]), telling())
}

pub(super) fn members_of_a_header_have_errbacks() -> Signature<i64> {
    let header = [add(1, 1).link_error(told_of("other")), fail().link_error(told_of("failed"))];
    chord(group(header), total().link_error(told_of("body")))
}

pub(super) fn an_errback_of_a_chord() -> Signature<i64> {
    chord(group([add(1, 1), fail()]), total()).link_error(told())
}

pub(super) fn a_body_fails() -> Signature<i64> {
    chord(group([add(1, 1), add(2, 2)]), failing()).link_error(told())
}

pub(super) fn a_header_fails_before_a_group() -> Group<Value> {
    let body = group([total().returning(), same().returning()]);
    chord(group([add(1, 1), fail()]), body).link_error(told())
}

pub(super) fn a_chain_in_a_header_fails_in_the_middle() -> Signature<i64> {
    chord(group([add(1, 1).then(failing()).then(plus(2)), add(1, 1)]), telling())
}

pub(super) fn a_group_in_a_header_fails() -> Signature<i64> {
    chord(group([group([add(1, 1), fail()]), group([add(2, 2)])]), telling())
}

pub(super) fn the_body_of_a_chord_in_a_header_fails() -> Signature<i64> {
    chord(group([chord(group([add(1, 1), add(1, 1)]), failing()), add(2, 2)]), telling())
}

pub(super) fn a_chord_before_a_task_fails() -> Signature<i64> {
    let chorded = chord(group([add(1, 1), fail()]), total());
    chorded.then(plus(1)).then(plus(2).link_error(told()))
}

pub(super) fn retries_of_a_member_end_in_failure() -> Signature<i64> {
    let hopeless = Signature::named("canvas.hopeless", args![], kwargs! {});
    chord(group([hopeless, add(1, 1)]), telling())
}

pub(super) fn an_expired_member_of_a_header() -> Signature<i64> {
    chord(group([add(1, 1).expires(Duration::ZERO), add(2, 2)]), telling())
}
