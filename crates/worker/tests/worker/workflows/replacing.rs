//! A task is replaced by another call, or adds to the chord that it is a member of.

use celeriac_app::protocol::{Signature, State, Value};
use celeriac_app::{TaskBody, TaskDefinition};

use super::canvas::{call, calls_of, chain, chord, group, ints, program, with_callbacks, with_errback};
use crate::harness::Bench;

/// A task that is replaced by this.
fn replaced_by(call: fn() -> Signature) -> TaskDefinition {
    let body = TaskBody::asynchronous(move |context, _| async move { Err(context.replace(call())) });
    TaskDefinition::new("replaced", body)
}

#[tokio::test(start_paused = true)]
async fn the_replacement_returns_under_the_id_of_the_replaced() {
    let bench = Bench::new(program().0.task(replaced_by(|| call("add", [20, 22])))).await;
    let worker = bench.start();
    let result = bench.apply(call("replaced", [])).await;
    assert_eq!(bench.value(&result).await, Value::Int(42));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_to_follow_the_replaced_follows_the_replacement() {
    let (app, calls) = program();
    let chained = || chain([call("add", [1, 2]), call("add", [3])]);
    let bench = Bench::new(app.task(replaced_by(chained))).await;
    let worker = bench.start();
    let first = with_callbacks(call("replaced", []), [call("heard", [])]);
    let result = bench.apply(chain([first, call("add", [100])])).await;
    assert_eq!(bench.value(&result).await, Value::Int(106));
    bench.drained().await;
    assert_eq!(calls_of(&calls, "heard"), [[Value::Int(6)]]);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_group_in_the_place_of_a_member_reports_the_list_of_its_results() {
    let parallel = || group([call("add", [1, 2]), call("add", [3, 4])]);
    let bench = Bench::new(program().0.task(replaced_by(parallel))).await;
    let worker = bench.start();
    let result = bench.apply(chord([call("replaced", []), call("echo", [9])], call("echo", []))).await;
    assert_eq!(bench.value(&result).await, Value::List(vec![ints([3, 7]), Value::Int(9)]));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_replacement_that_fails_calls_the_errback_of_the_replaced() {
    let (app, calls) = program();
    let failing = || chain([call("add", [1]), call("fail", [])]);
    let bench = Bench::new(app.task(replaced_by(failing))).await;
    let worker = bench.start();
    let result = bench.apply(with_errback(call("replaced", []), call("heard", []))).await;
    assert_eq!(bench.failure(result.id()).await, "ValueError: bad");
    bench.drained().await;
    assert_eq!(calls_of(&calls, "heard").len(), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_chain_replaces_nothing() {
    let bench = Bench::new(program().0.task(replaced_by(|| chain([])))).await;
    let worker = bench.start();
    let result = bench.apply(call("replaced", [])).await;
    assert!(bench.failure(result.id()).await.starts_with("ImproperlyConfigured"));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_body_waits_for_what_a_member_adds() {
    let body = TaskBody::asynchronous(|context, _| async move {
        context.add_to_chord(call("add", [10, 20]))?;
        context.add_to_chord(call("add", [30, 40]))?;
        Ok(Value::Int(1))
    });
    let bench = Bench::new(program().0.task(TaskDefinition::new("adding", body))).await;
    let worker = bench.start();
    let result = bench.apply(chord([call("adding", []), call("echo", [2])], call("add", []))).await;
    assert_eq!(bench.value(&result).await, Value::Int(103));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_outside_of_a_chord_cannot_add_to_it() {
    let body = TaskBody::asynchronous(|context, _| async move {
        context.add_to_chord(call("add", [1]))?;
        Ok(Value::Null)
    });
    let bench = Bench::new(program().0.task(TaskDefinition::new("adding", body))).await;
    let worker = bench.start();
    let result = bench.apply(call("adding", [])).await;
    assert_eq!(bench.ended(result.id()).await.state, State::Failure);
    worker.stop().await;
}
