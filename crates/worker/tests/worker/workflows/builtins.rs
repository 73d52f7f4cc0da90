//! The tasks that every worker knows.

use celeriac_app::App;
use celeriac_app::protocol::{Signature, State, Value};
use celeriac_app::{TaskBody, TaskDefinition};

use super::canvas::{call, chain, chord, ints, program, with_errback};
use crate::harness::Bench;

/// A mapping of a task to these items.
fn mapping(kind: &str, task: &str, items: Vec<Value>) -> Signature {
    let mut signature = Signature::new(kind);
    signature.kwargs.push(("task".into(), call(task, []).into_value()));
    signature.kwargs.push(("it".into(), Value::List(items)));
    signature.immutable = true;
    signature
}

#[tokio::test(start_paused = true)]
async fn a_mapping_calls_a_task_with_one_item_after_the_other() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let map = bench.apply(mapping("celery.map", "add", vec![Value::Int(1), ints([2, 3])])).await;
    assert_eq!(bench.value(&map).await, ints([1, 5]));
    let starmap = bench.apply(mapping("celery.starmap", "add", vec![ints([1, 2]), ints([3, 4])])).await;
    assert_eq!(bench.value(&starmap).await, ints([3, 7]));
    worker.stop().await;
}

#[tokio::test]
async fn a_mapping_of_a_blocking_task_runs_on_its_threads() {
    let body = TaskBody::blocking(|_, _, arguments| Ok(arguments.args[0].clone()));
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("same", body))).await;
    let worker = bench.start();
    let map = bench.apply(mapping("celery.map", "same", vec![Value::Int(1), Value::Int(2)])).await;
    assert_eq!(bench.value(&map).await, ints([1, 2]));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_mapping_fails_with_the_first_item_that_does() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let map = bench.apply(mapping("celery.map", "fail", vec![Value::Int(1)])).await;
    assert_eq!(bench.failure(map.id()).await, "ValueError: bad");
    let unknown = bench.apply(mapping("celery.map", "nobody.knows", vec![Value::Int(1)])).await;
    assert!(bench.failure(unknown.id()).await.starts_with("NotRegistered"));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn chunks_within_a_chain_are_sent_as_a_group() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let items = (1..=5).map(|number| ints([number, number])).collect();
    let mut chunks = mapping("celery.chunks", "add", items);
    chunks.kwargs.push(("n".into(), Value::Int(2)));
    let result = bench.apply(chain([call("add", [1]), chunks])).await;
    let record = bench.ended(result.id()).await;
    assert_eq!(record.state, State::Success);
    let members = record.result.as_list().unwrap()[1].as_list().unwrap();
    assert_eq!(members.len(), 3);
    let last = members[2].as_list().unwrap()[0].as_list().unwrap()[0].as_str().unwrap();
    assert_eq!(bench.ended(&last.into()).await.result, ints([10]));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chain_is_no_task() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let result = bench.apply(call("celery.chain", [])).await;
    assert_eq!(bench.failure(result.id()).await, "NotImplementedError: chain is not a real task");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_message_of_a_chord_runs_it() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let mut old = Signature::new("celery.chord");
    let inner =
        chord([call("echo", [1]), call("echo", [2])], super::canvas::with_id(call("add", []), "body"));
    old.kwargs = inner.kwargs;
    old.kwargs.retain(|(name, _)| **name != *"kwargs");
    let result = bench.apply(old).await;
    assert_eq!(bench.ended(result.id()).await.state, State::Success);
    assert_eq!(bench.ended(&"body".into()).await.result, Value::Int(3));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_poll_for_a_chord_is_refused_and_its_body_hears_of_it() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let body = with_errback(super::canvas::with_id(call("add", []), "body"), call("heard", []));
    let mut unlock = Signature::new("celery.chord_unlock");
    unlock.args = vec!["group".into(), body.into_value()];
    bench.apply(unlock).await;
    assert!(bench.failure(&"body".into()).await.contains("polls for them"));
    bench.drained().await;
    assert_eq!(super::canvas::calls_of(&calls, "heard").len(), 1);
    worker.stop().await;
}
