//! Failed tasks are tried again, later, as new messages of the same call.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::task::{RetryFor, RetryPolicy};
use celeriac_app::{App, TaskBody, TaskDefinition, TaskError, TaskOptions};
use tokio::time::Instant;

use crate::harness::{Bench, assert_state};

fn policy(change: impl FnOnce(&mut RetryPolicy)) -> TaskOptions {
    let mut options = TaskOptions::default();
    options.retry.retry_for = RetryFor::Everything;
    options.retry.backoff = Some(Duration::from_secs(1));
    options.retry.jitter = false;
    change(&mut options.retry);
    options
}

/// A task that fails this often before it succeeds, and counts its runs.
fn flaky(failures: u32, options: TaskOptions) -> (TaskDefinition, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let body = TaskBody::asynchronous(move |context, _| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            assert_eq!(context.retries(), run, "each retry knows its number");
            if run < failures {
                Err(io::Error::other("not yet").into())
            } else {
                Ok(Value::Int(i64::from(run)))
            }
        }
    });
    (TaskDefinition::new("flaky", body).with_options(options), runs)
}

#[tokio::test(start_paused = true)]
async fn a_retried_task_succeeds_after_growing_delays() {
    let (task, runs) = flaky(3, policy(|_| {}));
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let started = Instant::now();
    let result = bench.call("flaky").await;
    assert_state(&bench.ending(&result).await, &State::Success);
    assert_eq!(runs.load(Ordering::SeqCst), 4);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_secs(7) && took < Duration::from_millis(7500),
        "1 + 2 + 4 seconds: {took:?}"
    );
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_waiting_retry_is_held_by_the_store_and_not_by_the_worker() {
    let (task, _runs) = flaky(1, policy(|_| {}));
    let bench = Bench::new(App::new("test").task(task)).await;
    let result = bench.call("flaky").await;
    let worker = bench.start();
    bench.until(async || result.state().await.unwrap() == State::Retry).await;
    worker.stop().await;
    let scheduled = bench.store.schedule().scheduled(10).await.unwrap();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0].message.headers.id.as_ref(), Some(result.id()));
    assert_eq!(scheduled[0].message.headers.retries, 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_without_retries_left_fails_with_its_own_error() {
    let (task, runs) = flaky(100, policy(|retry| retry.max_retries = Some(2)));
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let record = bench.ending(&bench.call("flaky").await).await;
    assert_state(&record, &State::Failure);
    assert_eq!(record.exception().unwrap().message(), "not yet");
    assert_eq!(runs.load(Ordering::SeqCst), 3);
    bench.drained().await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_may_ask_for_its_retry_itself() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let body = TaskBody::asynchronous(move |context, _| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            match run {
                0 => Err(context.retry(io::Error::other("busy")).countdown(Duration::from_secs(30))),
                _ => Ok(Value::Null),
            }
        }
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("asks", body))).await;
    let result = bench.call("asks").await;
    let worker = bench.start();
    bench.until(async || result.state().await.unwrap() == State::Retry).await;
    let reason = result.record().await.unwrap().unwrap().exception().unwrap().message();
    assert_eq!(reason, "busy");
    assert_state(&bench.ending(&result).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_tried_again() {
    let body =
        TaskBody::asynchronous(|_, _| async { Err(TaskError::failure("Hopeless", "never").permanent()) });
    let task = TaskDefinition::new("hopeless", body).with_options(policy(|_| {}));
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    assert_state(&bench.ending(&bench.call("hopeless").await).await, &State::Failure);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn jitter_follows_the_seed() {
    let mut delays = Vec::new();
    for seed in [1, 1, 2] {
        let (task, _runs) = flaky(1, policy(|retry| retry.jitter = true));
        let bench = Bench::new(App::new("test").task(task)).await.with(|options| options.seed = Some(seed));
        let call = celeriac_app::Signature::named("flaky", vec![], vec![]).task_id("the-same-call");
        let result = bench.send(call).await;
        let worker = bench.start();
        bench.until(async || result.state().await.unwrap() == State::Retry).await;
        let due = bench.store.schedule().next_due().await.unwrap();
        let done = result.record().await.unwrap().unwrap().date_done.unwrap();
        delays.push(due.unwrap().saturating_since(done));
        worker.die().await;
    }
    assert_eq!(delays[0], delays[1]);
    assert_ne!(delays[0], delays[2]);
    assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(1)), "{delays:?}");
}

#[tokio::test(start_paused = true)]
async fn rejected_and_ignored_tasks_end_as_they_ask() {
    let reject = TaskBody::asynchronous(|_, _| async { Err(TaskError::reject(false, "not for me")) });
    let ignore = TaskBody::asynchronous(|_, _| async { Err(TaskError::ignore()) });
    let tasks = [TaskDefinition::new("reject", reject), TaskDefinition::new("ignore", ignore)];
    let bench = Bench::new(App::new("test").tasks(tasks)).await;
    let worker = bench.start();
    let rejected = bench.call("reject").await;
    let ignored = bench.call("ignore").await;
    let failed = bench.failed(rejected.id()).await;
    assert_eq!(&*failed.reason.code, "rejected");
    bench.drained().await;
    assert_eq!(ignored.record().await.unwrap(), None);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_requeued_task_comes_again_marked_as_redelivered() {
    let body = TaskBody::asynchronous(|context, _| async move {
        if context.delivery().redelivered { Ok(Value::Int(2)) } else { Err(TaskError::reject(true, "again")) }
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("again", body))).await;
    let worker = bench.start();
    assert_state(&bench.ending(&bench.call("again").await).await, &State::Success);
    worker.stop().await;
}
