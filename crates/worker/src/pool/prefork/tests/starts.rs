//! Children that start slowly, badly, or not at all.

use std::fs;
use std::time::Duration;

use celeriac_protocol::Value;

use super::harness::{Bench, json_of, options, with_diary};
use crate::death::{DeathReason, Ending};
use crate::pool::Pool;

#[tokio::test]
async fn a_child_may_take_long_to_start_as_long_as_it_gives_signs_of_life() {
    let mut slow = options(1, "child_with_slow_init");
    slow.silence = Duration::from_secs(2);
    let mut bench = Bench::with(slow).await;
    assert_eq!(bench.deaths, []);
    assert_eq!(bench.value("echo", [Value::Int(1)]).await, Value::Int(1));
}

#[tokio::test]
async fn a_silent_child_is_killed_and_started_again() {
    let mut silent = options(1, "child_that_never_says_hello");
    silent.start = Duration::from_millis(100);
    let mut bench = Bench::starting(silent);
    for _ in 0..2 {
        let death = bench.wait("it is killed", |it| it.deaths.pop()).await;
        assert!(matches!(death.reason, DeathReason::Silent { phase: "starting", .. }), "{death:?}");
    }
}

#[tokio::test]
async fn a_child_that_cannot_start_is_tried_again_and_its_reason_is_kept() {
    let mut bench = Bench::starting(options(1, "child_that_exits"));
    for _ in 0..2 {
        let death = bench.wait("it has died", |it| it.deaths.pop()).await;
        assert_eq!(death.reason, DeathReason::StartFailed { ending: Ending::Exit(5), said: None });
    }
    let facts = json_of(&bench.pool.facts());
    assert!(facts.contains("died while it started: exit code 5"), "{facts}");
}

#[tokio::test]
async fn a_child_says_why_it_cannot_start() {
    let mut bench = Bench::starting(options(1, "child_without_its_resource"));
    let death = bench.wait("it has died", |it| it.deaths.pop()).await;
    let DeathReason::StartFailed { said: Some(said), .. } = death.reason else { panic!("{death:?}") };
    assert!(said.contains("Connection") && said.contains("not registered"), "{said}");
}

#[tokio::test]
async fn a_resource_that_cannot_be_built_is_seen_and_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let mut waiting = with_diary(options(1, "child_that_waits_for_its_diary"), &diary);
    waiting.silence = Duration::from_secs(2);
    let mut bench = Bench::starting(waiting);
    let deadline = tokio::time::Instant::now() + super::harness::PATIENCE;
    // Nothing tells of a change of the facts, as nothing but an inspection looks at them.
    while !json_of(&bench.pool.facts()).contains("there is no diary yet") {
        assert!(tokio::time::Instant::now() < deadline, "{}", json_of(&bench.pool.facts()));
        tokio::task::yield_now().await;
    }
    fs::write(&diary, "").unwrap();
    bench.wait_for_all_children().await;
    assert_eq!(bench.deaths, [], "the same child went on trying");
    bench.value("pid", []).await;
    let facts = json_of(&bench.pool.facts());
    assert!(facts.contains(r#""state": "ready""#), "{facts}");
}
