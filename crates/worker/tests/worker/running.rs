//! Tasks run, on the pool that they are for, and their results are stored.

use celeriac_app::protocol::{State, Value};
use celeriac_app::task::Acks;
use celeriac_app::{App, Signature, TaskBody, TaskDefinition, TaskOptions, args};
use celeriac_worker::Exit;

use crate::harness::{Bench, LONG, assert_state};

fn double() -> TaskDefinition {
    let body = TaskBody::asynchronous(|_context, arguments| async move {
        let Some(Value::Int(number)) = arguments.args.first() else { panic!("no number") };
        Ok(Value::Int(number * 2))
    });
    TaskDefinition::new("double", body)
}

fn triple() -> TaskDefinition {
    let body = TaskBody::blocking(|_context, _locals, arguments| {
        let Some(Value::Int(number)) = arguments.args.first() else { panic!("no number") };
        Ok(Value::Int(number * 3))
    });
    TaskDefinition::new("triple", body)
}

#[tokio::test]
async fn async_and_thread_tasks_run_in_one_worker() {
    let bench = Bench::new(App::new("test").tasks([double(), triple()])).await;
    let twice = bench.send(Signature::named("double", args![21], vec![])).await;
    let thrice = bench.send(Signature::named("triple", args![14], vec![])).await;
    let worker = bench.start();
    assert_eq!(twice.get(LONG).await.unwrap(), 42);
    assert_eq!(thrice.get(LONG).await.unwrap(), 42);
    assert_eq!(worker.stop().await, Exit::Warm);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_message_and_place() {
    let bench = Bench::new(App::new("test").tasks([double(), triple()])).await;
    let worker = bench.start();
    for name in ["double", "triple"] {
        let record = bench.ending(&bench.call(name).await).await;
        assert_state(&record, &State::Failure);
        let said = record.exception().unwrap().message();
        assert!(said.contains("no number") && said.contains("running.rs:"), "{said}");
    }
    assert_eq!(worker.stop().await, Exit::Warm);
}

#[tokio::test(start_paused = true)]
async fn an_ignored_result_is_not_stored() {
    let mut options = TaskOptions::default();
    options.ignore_result = Some(true);
    let bench = Bench::new(App::new("test").task(double().with_options(options))).await;
    let result = bench.send(Signature::named("double", args![1], vec![])).await;
    let worker = bench.start();
    bench.drained().await;
    assert_eq!(result.record().await.unwrap(), None);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_acknowledged_early_runs_and_stores_its_result() {
    let mut options = TaskOptions::default();
    options.acks = Some(Acks::Early);
    let bench = Bench::new(App::new("test").task(double().with_options(options))).await;
    let worker = bench.start();
    let result = bench.send(Signature::named("double", args![4], vec![])).await;
    assert_eq!(result.get(LONG).await.unwrap(), 8);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_acknowledged_early_is_not_repeated_after_a_crash() {
    let (task, mut started) = crate::harness::hanging("hang");
    let mut options = TaskOptions::default();
    options.acks = Some(Acks::Early);
    let bench = Bench::new(App::new("test").task(task.with_options(options))).await;
    bench.call("hang").await;
    let worker = bench.start();
    started.recv().await.unwrap();
    worker.die().await;
    assert_eq!(bench.in_store().await, 0);
}

#[tokio::test(start_paused = true)]
async fn progress_is_stored_before_the_outcome() {
    let (body, mut gate) = crate::harness::gated(|context| {
        context.update_state("PROGRESS", 50).unwrap();
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("slow", body))).await;
    let worker = bench.start();
    let result = bench.call("slow").await;
    gate.started().await;
    bench.until(async || result.progress().await.unwrap().is_some()).await;
    assert_eq!(result.progress().await.unwrap().unwrap().1, Value::Int(50));
    gate.open();
    assert_state(&bench.ending(&result).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn started_is_stored_where_it_is_asked_for() {
    let (task, mut started) = crate::harness::hanging("hang");
    let mut options = TaskOptions::default();
    options.track_started = Some(true);
    let bench = Bench::new(App::new("test").task(task.with_options(options))).await;
    let worker = bench.start();
    let result = bench.call("hang").await;
    started.recv().await.unwrap();
    bench.until(async || result.state().await.unwrap() == State::Started).await;
    worker.die().await;
}

#[tokio::test]
async fn a_full_thread_pool_does_not_starve_async_tasks() {
    let (blocker, release) = crate::harness::blocking("block");
    let bench = Bench::new(App::new("test").tasks([double(), blocker])).await.with(|options| {
        options.threads = 1;
        options.async_concurrency = 8;
    });
    for _ in 0..10 {
        bench.call("block").await;
    }
    let result = bench.send(Signature::named("double", args![5], vec![])).await;
    let worker = bench.start();
    assert_eq!(result.get(LONG).await.unwrap(), 10);
    drop(release);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reserved_task_that_is_not_yet_acknowledged_early_can_go_back() {
    let (body, mut gate) = crate::harness::gated(|_| {});
    let mut options = TaskOptions::default();
    options.acks = Some(Acks::Early);
    let task = TaskDefinition::new("gated", body).with_options(options);
    let bench = Bench::new(App::new("test").task(task)).await.with(|options| options.async_concurrency = 1);
    let worker = bench.start();
    for _ in 0..3 {
        bench.call("gated").await;
    }
    gate.started().await;
    bench.until(async || bench.ready().await == 0).await;
    worker.stopper.terminate();
    gate.open();
    worker.end().await;
    assert_eq!(bench.ready().await, 2);
}
