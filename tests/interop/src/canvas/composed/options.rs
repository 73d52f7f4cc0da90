//! Options that go along: priorities, headers, stamps, delays, ignored results.

use std::time::Duration;

use celeriac::prelude::*;

use super::parts::{add, again, again_with, hush, plus, total, whoami};

pub(super) fn a_priority_goes_along_a_chain() -> Group {
    // Celery on Redis counts from 0, which comes first, to 9; ours from 9 to 0.
    whoami().then(whoami()).then(group([whoami(), whoami()])).priority(6)
}

pub(super) fn every_task_has_its_own_priority() -> Signature<Value> {
    whoami().priority(0).then(whoami().priority(3)).then(whoami())
}

pub(super) fn headers_go_to_those_they_are_for() -> Signature<Value> {
    whoami().header("tenant", "first").then(whoami()).then(whoami().header("tenant", "last"))
}

pub(super) fn stamps_reach_every_task_of_a_chain() -> Signature<Value> {
    whoami().then(whoami()).then(whoami()).stamp("team", "tea")
}

/// Stamps of a chord are for all its tasks.
pub(super) fn stamps_of_a_chord_and_its_body() -> Signature<Value> {
    chord(group([whoami(), whoami().then(whoami())]), whoami()).stamp("team", "tea").stamp("number", 7)
}

pub(super) fn stamps_reach_callbacks() -> Signature<Value> {
    whoami().link(whoami()).stamp("team", "tea")
}

pub(super) fn a_retry_goes_on_with_its_chain() -> Signature<i64> {
    again(1).then(plus(1)).then(again_with()).then(plus(2))
}

pub(super) fn a_retry_counts_once_for_its_chord() -> Signature<Vec<i64>> {
    chord(group([again(1), again(2), add(3, 3)]), again_with())
}

pub(super) fn a_step_whose_result_is_ignored() -> Signature<i64> {
    add(1, 1).then(hush()).then(plus(2))
}

pub(super) fn a_step_for_later() -> Signature<i64> {
    add(1, 1).then(plus(2).countdown(Duration::from_millis(300))).then(plus(3))
}

pub(super) fn what_expires_later_runs() -> Signature<i64> {
    let later = Duration::from_secs(600);
    add(1, 1).expires(later).then(group([plus(1).expires(later), plus(2)])).then(total().expires(later))
}

pub(super) fn time_limits_go_along() -> Signature<i64> {
    let (soft, hard) = (Duration::from_secs(50), Duration::from_secs(60));
    add(1, 1).soft_time_limit(soft).time_limit(hard).then(plus(2).time_limit(hard))
}

pub(super) fn compressed_bodies_go_along() -> Signature<i64> {
    let header = group([plus(1).compression("zlib"), plus(2)]);
    add(1, 1)
        .compression("zlib")
        .then(header)
        .then(total().compression("zlib"))
        .then(plus(1).compression("zlib"))
}
