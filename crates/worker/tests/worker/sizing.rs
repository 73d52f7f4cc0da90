//! How many tasks run at once is changed from afar.

use std::sync::Mutex;

use celeriac_app::protocol::Value;
use celeriac_app::{App, TaskBody, TaskDefinition};
use tokio::sync::mpsc;

use crate::harness::{Bench, gated};

fn ok(text: &str) -> Value {
    Value::Map(vec![("ok".into(), text.into())])
}

async fn most_at_once(bench: &Bench) -> Option<i64> {
    bench.ask("stats", &[]).await.get("pool")?.get("max-concurrency")?.as_i64()
}

/// A blocking task that says when it starts, and ends once it may.
fn held() -> (TaskDefinition, mpsc::UnboundedReceiver<()>, std::sync::mpsc::Sender<()>) {
    let (started, starts) = mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel();
    let released = Mutex::new(released);
    let body = TaskBody::blocking(move |_, _, _| {
        started.send(()).unwrap();
        // Only one of them waits at the gate, and the others for it.
        let _ = released.lock().unwrap().recv();
        Ok(Value::Int(1))
    });
    (TaskDefinition::new("held", body), starts, release)
}

#[tokio::test]
async fn threads_come_and_go() {
    let (task, mut starts, release) = held();
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    for _ in 0..4 {
        bench.call("held").await;
    }
    for _ in 0..2 {
        starts.recv().await.unwrap();
    }
    assert_eq!(most_at_once(&bench).await, Some(2));
    assert_eq!(starts.try_recv().ok(), None);
    assert_eq!(bench.ask("pool_grow", &[("n", 1)]).await, ok("pool will grow"));
    starts.recv().await.unwrap();
    assert_eq!(bench.ask("pool_shrink", &[("n", 2)]).await, ok("pool will shrink"));
    assert_eq!(most_at_once(&bench).await, Some(1));
    // Two of them run on threads that are too many.
    for left in [3, 2] {
        release.send(()).unwrap();
        bench.until(async || bench.in_store().await == left).await;
        most_at_once(&bench).await;
        assert_eq!(starts.try_recv().ok(), None);
    }
    release.send(()).unwrap();
    starts.recv().await.unwrap();
    release.send(()).unwrap();
    bench.drained().await;
    // With a thread that is idle.
    assert_eq!(bench.ask("pool_grow", &[("n", 3)]).await, ok("pool will grow"));
    assert_eq!(bench.ask("pool_shrink", &[("n", 2)]).await, ok("pool will shrink"));
    for _ in 0..3 {
        bench.call("held").await;
    }
    for _ in 0..2 {
        starts.recv().await.unwrap();
    }
    most_at_once(&bench).await;
    assert_eq!(starts.try_recv().ok(), None);
    drop(release);
    bench.drained().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_pool_keeps_one_slot() {
    let (task, _starts, _release) = held();
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    for (command, n, refusal) in [
        ("pool_shrink", 2, "ValueError('a pool keeps one process or thread at least')"),
        ("pool_grow", 9_999, "ValueError('a pool has 10000 slots at most')"),
    ] {
        assert_eq!(bench.ask(command, &[("n", n)]).await.get("error"), Some(&refusal.into()));
    }
    assert_eq!(most_at_once(&bench).await, Some(2));
    worker.stop().await;
}

#[tokio::test]
async fn where_all_tasks_are_async_more_of_them_run_at_once() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("held", body))).await;
    let bench = bench.with(|options| options.async_concurrency = 1);
    let worker = bench.start();
    for _ in 0..3 {
        bench.call("held").await;
    }
    gate.started().await;
    assert_eq!(bench.ask("pool_grow", &[("n", 1)]).await, ok("pool will grow"));
    gate.started().await;
    assert_eq!(bench.ask("pool_shrink", &[("n", 1)]).await, ok("pool will shrink"));
    assert_eq!(most_at_once(&bench).await, Some(1));
    for _ in 0..2 {
        gate.open();
    }
    gate.started().await;
    gate.open();
    bench.drained().await;
    worker.stop().await;
}

/// Async tasks are so many at once that a concurrency of processes and threads says nothing of them.
#[tokio::test]
async fn each_pool_says_how_many_tasks_it_runs_at_once() {
    let (task, _starts, _release) = held();
    let (body, _gate) = gated(|_| {});
    let app = App::new("test").task(task).task(TaskDefinition::new("async", body));
    let bench = Bench::new(app).await.with(|options| options.async_concurrency = 7);
    let worker = bench.start();
    assert_eq!(bench.ask("pool_grow", &[("n", 1)]).await, ok("pool will grow"));
    let pool = bench.ask("stats", &[]).await.get("pool").cloned().unwrap();
    assert_eq!(pool.get("max-concurrency"), Some(&Value::Int(10)));
    let pools = vec![("async".into(), Value::Int(7)), ("threads".into(), Value::Int(3))];
    assert_eq!(pool.get("pools"), Some(&Value::Map(pools)));
    worker.stop().await;
}
