//! A worker that is asked to stop loses nothing, and keeps to its deadlines.

use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::{App, Reason, TaskBody, TaskDefinition};
use celeriac_worker::Exit;
use tokio::time::Instant;

use crate::harness::{Bench, assert_state, gated, hanging};

#[tokio::test(start_paused = true)]
async fn a_warm_shutdown_lets_running_tasks_end() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let worker = bench.start();
    let result = bench.call("gated").await;
    gate.started().await;
    worker.stopper.terminate();
    gate.open();
    assert_state(&bench.ending(&result).await, &State::Success);
    assert_eq!(worker.end().await, Exit::Warm);
}

#[tokio::test(start_paused = true)]
async fn reserved_tasks_go_back_at_once_and_uncounted() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body)));
    let bench = bench.await.with(|options| options.async_concurrency = 1);
    for _ in 0..4 {
        bench.call("gated").await;
    }
    let worker = bench.start();
    gate.started().await;
    bench.until(async || bench.ready().await == 0).await;
    let since = Instant::now();
    worker.stopper.terminate();
    bench.until(async || bench.ready().await == 3).await;
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    gate.open();
    worker.end().await;

    let worker = bench.start();
    assert_eq!(gate.started().await.deliveries(), 1);
    worker.die().await;
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_a_worker_drains_goes_back() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let worker = bench.start();
    bench.call("gated").await;
    gate.started().await;
    worker.stopper.terminate();
    bench.call("gated").await;
    bench.call("gated").await;
    bench.until(async || bench.ready().await == 2).await;
    gate.open();
    assert_eq!(worker.end().await, Exit::Warm);
    assert_eq!(bench.in_store().await, 2);
}

#[tokio::test(start_paused = true)]
async fn tasks_are_told_before_the_deadline_and_returned_uncounted_at_it() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await.with(|options| {
        options.shutdown_timeout = Some(Duration::from_secs(20));
        options.shutdown_grace = Duration::from_secs(3);
    });
    let worker = bench.start();
    bench.call("hang").await;
    let context = started.recv().await.unwrap();
    let since = Instant::now();
    worker.stopper.terminate();
    assert_eq!(context.cancellation().cancelled().await, Reason::Shutdown);
    assert_eq!(since.elapsed().as_secs(), 17);
    assert_eq!(worker.end().await, Exit::Warm);
    assert_eq!(since.elapsed().as_secs(), 20);
    assert_eq!(bench.ready().await, 1);

    let worker = bench.start();
    assert_eq!(started.recv().await.unwrap().deliveries(), 1);
    worker.die().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_ends_because_of_the_shutdown_is_delivered_again() {
    let body = TaskBody::asynchronous(|context, _| async move {
        context.cancellation().cancelled().await;
        context.cancellation().check()?;
        Ok(Value::Null)
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("polite", body)));
    let bench = bench.await.with(|options| options.shutdown_timeout = Some(Duration::from_secs(1)));
    let worker = bench.start();
    let result = bench.call("polite").await;
    bench.until(async || bench.ready().await == 0).await;
    worker.stop().await;
    assert_eq!(bench.ready().await, 1);
    assert_eq!(result.state().await.unwrap(), State::Pending);
}

#[tokio::test(start_paused = true)]
async fn the_second_signal_is_cold() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    bench.call("hang").await;
    started.recv().await.unwrap();
    let since = Instant::now();
    worker.stopper.terminate();
    tokio::task::yield_now().await;
    assert!(!worker.has_ended());
    worker.stopper.terminate();
    assert_eq!(worker.end().await, Exit::Cold);
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    assert_eq!(bench.ready().await, 1);
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_at_once() {
    let (task, _started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    bench.until(async || bench.workers().await.len() == 1).await;
    let since = Instant::now();
    worker.stopper.interrupt();
    assert_eq!(worker.end().await, Exit::Interrupted);
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
    assert!(bench.workers().await.is_empty(), "it is no longer listed");
}

#[tokio::test]
async fn a_thread_that_cannot_be_stopped_does_not_hold_the_worker() {
    let (task, _release) = crate::harness::blocking("block");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    bench.call("block").await;
    bench.until(async || bench.ready().await == 0).await;
    worker.stopper.quit();
    assert_eq!(worker.end().await, Exit::Cold);
    assert_eq!(bench.ready().await, 1);
}

#[tokio::test]
async fn a_warm_shutdown_ends_on_time_beside_a_thread_that_does_not() {
    let (task, _release) = crate::harness::blocking("block");
    let timeout = Duration::from_millis(50);
    let bench = Bench::new(App::new("test").task(task)).await;
    let bench = bench.with(|options| options.shutdown_timeout = Some(timeout));
    let worker = bench.start();
    bench.call("block").await;
    bench.until(async || bench.ready().await == 0).await;
    let since = Instant::now();
    assert_eq!(worker.stop().await, Exit::Warm);
    let took = since.elapsed();
    assert!(took < timeout + Duration::from_secs(3), "{took:?}");
    assert_eq!(bench.ready().await, 1);
}
