//! Time limits end tasks on time, on every pool, or the worker says at its start that it cannot.

use std::time::Duration;

use celeriac_app::protocol::{State, TimeLimits, Value};
use celeriac_app::{App, Reason, Signature, TaskBody, TaskDefinition, TaskOptions};
use tokio::time::Instant;

use crate::harness::{Bench, LONG, assert_state, blocking, hanging};

fn limits(soft: Option<u64>, hard: Option<u64>) -> TaskOptions {
    let mut options = TaskOptions::default();
    options.soft_time_limit = soft.map(Duration::from_secs);
    options.time_limit = hard.map(Duration::from_secs);
    options
}

#[tokio::test(start_paused = true)]
async fn the_hard_limit_drops_an_async_task_on_time() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task.with_options(limits(None, Some(10))))).await;
    let worker = bench.start();
    let result = bench.call("hang").await;
    let context = started.recv().await.unwrap();
    let since = Instant::now();
    let record = bench.ending(&result).await;
    assert!(since.elapsed() < Duration::from_millis(10_200), "{:?}", since.elapsed());
    assert_state(&record, &State::Failure);
    assert_eq!(&*record.exception().unwrap().exc_type, "TimeLimitExceeded");
    drop(context);
    bench.drained().await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_soft_limit_may_be_as_long_as_the_hard_one() {
    let (task, _started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task.with_options(limits(Some(5), Some(5))))).await;
    let worker = bench.start();
    let record = bench.ending(&bench.call("hang").await).await;
    assert_eq!(&*record.exception().unwrap().exc_type, "TimeLimitExceeded");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_soft_limit_asks_an_async_task_to_end() {
    let body = TaskBody::asynchronous(|context, _| async move {
        let reason = context.cancellation().cancelled().await;
        assert_eq!(reason, Reason::SoftTimeLimit);
        context.cancellation().check()?;
        Ok(Value::Null)
    });
    let task = TaskDefinition::new("polite", body).with_options(limits(Some(5), Some(60)));
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let since = Instant::now();
    let record = bench.ending(&bench.call("polite").await).await;
    assert!(since.elapsed() < Duration::from_millis(5_200));
    assert_eq!(&*record.exception().unwrap().exc_type, "SoftTimeLimitExceeded");
    worker.stop().await;
}

#[tokio::test]
async fn the_soft_limit_asks_a_thread_task_to_end() {
    let body = TaskBody::blocking(|context, _, _| {
        context.cancellation().sleep_blocking(LONG)?;
        Ok(Value::Null)
    });
    let mut options = limits(None, None);
    options.soft_time_limit = Some(Duration::from_millis(50));
    let bench =
        Bench::new(App::new("test").task(TaskDefinition::new("polite", body).with_options(options))).await;
    let worker = bench.start();
    let record = bench.ending(&bench.call("polite").await).await;
    assert_eq!(&*record.exception().unwrap().exc_type, "SoftTimeLimitExceeded");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_thread_task_that_declares_a_hard_limit_is_refused_at_the_start() {
    let (task, _release) = blocking("block");
    let bench = Bench::new(App::new("test").task(task.with_options(limits(None, Some(10))))).await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("block") && refusal.contains("isolation = \"process\""), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_hard_limit_for_all_tasks_is_refused_at_the_start_where_one_runs_on_threads() {
    let (task, _release) = blocking("block");
    let bench = Bench::new(App::new("test").task(task)).await;
    let bench = bench.with(|options| options.time_limit = Some(Duration::from_secs(10)));
    assert!(bench.refusal().await.contains("block"));
}

#[tokio::test(start_paused = true)]
async fn limits_in_the_wrong_order_are_refused_at_the_start() {
    let (task, _started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task.with_options(limits(Some(11), Some(10))))).await;
    assert!(bench.refusal().await.contains("above its hard limit"));
}

#[tokio::test]
async fn a_hard_limit_of_a_message_is_recorded_on_time_while_the_thread_is_still_busy() {
    let (task, release) = blocking("block");
    let bench = Bench::new(App::new("test").task(task)).await.with(|options| options.threads = 1);
    let worker = bench.start();
    let limited = Signature::named("block", vec![], vec![]).time_limit(Duration::from_millis(50));
    let late = bench.send(limited).await;
    let record = bench.ending(&late).await;
    assert_eq!(&*record.exception().unwrap().exc_type, "TimeLimitExceeded");

    let next = bench.call("block").await;
    assert_eq!(next.state().await.unwrap(), State::Pending, "the slot is still occupied");
    drop(release);
    assert_state(&bench.ending(&next).await, &State::Success);
    assert_eq!(late.state().await.unwrap(), State::Failure, "what the late task returned does not count");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_message_goes_before_that_of_the_task() {
    let (task, _started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task.with_options(limits(None, Some(500))))).await;
    let worker = bench.start();
    let since = Instant::now();
    let call = Signature::named("hang", vec![], vec![]).time_limit(Duration::from_secs(2));
    let result = bench.send(call).await;
    bench.ending(&result).await;
    assert!(since.elapsed() < Duration::from_secs(3));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_limit_beyond_every_clock_is_no_limit_and_harms_nobody() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let endless = TimeLimits { hard: Some(Duration::MAX), soft: Some(Duration::MAX) };
    let result = bench.publish("hang", |message| message.headers.timelimit = endless).await;
    started.recv().await.unwrap();
    result.revoke(true).await.unwrap();
    assert_state(&bench.ending(&result).await, &State::Revoked);
    worker.stop().await;
}
