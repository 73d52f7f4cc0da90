//! Jobs that come back from children.

use celeriac_protocol::Value;
use std::time::Duration;

use super::harness::{Bench, options, text};
use crate::outcome::{FailureCode, Outcome};

#[tokio::test]
async fn a_task_runs_in_another_process_and_its_value_comes_back() {
    let mut bench = Bench::ready(2).await;
    let value = Value::List(vec![text("ä\u{0}"), Value::Float(f64::INFINITY), Value::Bytes([0, 255].into())]);
    assert_eq!(bench.value("echo", [value.clone()]).await, value);
    let pid = bench.value("pid", []).await;
    assert_ne!(pid, Value::Int(std::process::id().into()));
    assert!(bench.pids().contains(&u32::try_from(pid.as_i64().unwrap()).unwrap()));
}

#[tokio::test]
async fn every_outcome_comes_back_as_it_was_meant() {
    let mut bench = Bench::ready(1).await;
    let Outcome::Failure(failure) = bench.outcome("fail", []).await else { panic!("a failure") };
    assert_eq!((&*failure.exc_type, &*failure.message), ("Broken", "it broke"));
    let Outcome::Failure(failure) = bench.outcome("panic", []).await else { panic!("a failure") };
    assert!(failure.message.contains("the sky falls"), "{failure:?}");
    let Outcome::Retry { delay, .. } = bench.outcome("retry", []).await else { panic!("a retry") };
    assert_eq!(delay, Duration::from_secs(7));
    assert_eq!(bench.outcome("ignore", []).await, Outcome::Ignored);
    let refused = Outcome::Rejected { requeue: true, reason: "not now".into() };
    assert_eq!(bench.outcome("refuse", []).await, refused);
    assert_eq!(bench.deaths, [], "none of this costs a child its life");
}

#[tokio::test]
async fn the_last_report_comes_before_the_end_however_many_there_were() {
    let mut bench = Bench::ready(1).await;
    let request = bench.submit("report", [Value::Int(1000)]).await;
    bench.end_of(&request).await;
    assert_eq!(bench.reports.last(), Some(&(request.id.clone(), Value::Int(999))));
}

#[tokio::test]
async fn what_does_not_fit_a_frame_fails_and_the_child_lives_on() {
    let mut small = options(1, "ordinary_child");
    small.frame_limit = 64 << 10;
    let mut bench = Bench::with(small).await;
    let pids = bench.pids();
    let code = |outcome| match outcome {
        Outcome::Failure(failure) => failure.code,
        other => panic!("{other:?}"),
    };
    let large = text("x".repeat(70 << 10));
    assert_eq!(code(bench.outcome("echo", [large]).await), Some(FailureCode::TooLarge));
    assert_eq!(code(bench.outcome("large", [Value::Int(70 << 10)]).await), Some(FailureCode::ResultTooLarge));
    assert_eq!(bench.value("echo", [Value::Int(1)]).await, Value::Int(1));
    assert_eq!(bench.pids(), pids);
}
