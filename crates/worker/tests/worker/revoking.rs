//! Revoked tasks do not run, and stop if they do and that was asked for.

use celeriac_app::protocol::{State, Value};
use celeriac_app::{App, Reason, TaskBody, TaskDefinition};
use celeriac_worker::Exit;
use tokio::sync::mpsc;

use crate::harness::{Bench, LONG, assert_state, gated, hanging};

#[tokio::test(start_paused = true)]
async fn a_task_revoked_while_no_worker_ran_never_starts() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let result = bench.call("hang").await;
    result.revoke(false).await.unwrap();
    let worker = bench.start();
    assert_state(&bench.ending(&result).await, &State::Revoked);
    bench.drained().await;
    assert!(started.try_recv().is_err());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reserved_task_that_is_revoked_never_starts() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body)));
    let bench = bench.await.with(|options| options.async_concurrency = 1);
    let worker = bench.start();
    let first = bench.call("gated").await;
    let second = bench.call("gated").await;
    gate.started().await;
    bench.until(async || bench.ready().await == 0).await;
    second.revoke(false).await.unwrap();
    assert_state(&bench.ending(&second).await, &State::Revoked);
    gate.open();
    assert_state(&bench.ending(&first).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn terminating_a_running_async_task_drops_it() {
    struct Dropped(mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (tell, mut dropped) = mpsc::unbounded_channel();
    let (started, mut starts) = mpsc::unbounded_channel();
    let body = TaskBody::asynchronous(move |_, _| {
        let guard = Dropped(tell.clone());
        started.send(()).unwrap();
        async move {
            let _guard = guard;
            std::future::pending().await
        }
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("hang", body))).await;
    let worker = bench.start();
    let result = bench.call("hang").await;
    starts.recv().await.unwrap();
    result.revoke(true).await.unwrap();
    assert_state(&bench.ending(&result).await, &State::Revoked);
    dropped.recv().await.expect("its future was dropped");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn revoking_without_terminate_lets_a_running_task_end() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let worker = bench.start();
    let result = bench.call("gated").await;
    gate.started().await;
    result.revoke(false).await.unwrap();
    gate.open();
    assert_state(&bench.ending(&result).await, &State::Success);
    worker.stop().await;
}

#[tokio::test]
async fn a_thread_task_is_asked_to_stop() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let body = TaskBody::blocking(move |context, _, _| {
        started.send(()).unwrap();
        let stopped = context.cancellation().sleep_blocking(LONG);
        assert_eq!(context.cancellation().reason(), Some(Reason::Revoked));
        stopped?;
        Ok(Value::Null)
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("polite", body))).await;
    let worker = bench.start();
    let result = bench.call("polite").await;
    starts.recv().await.unwrap();
    result.revoke(true).await.unwrap();
    assert_state(&bench.ending(&result).await, &State::Revoked);
    assert_eq!(worker.stop().await, Exit::Warm);
}
