//! A worker says what it is and does, to whoever asks.

use std::time::Duration;

use celeriac_app::protocol::Value;
use celeriac_app::{App, TaskDefinition};

use crate::harness::{Bench, LONG, hanging};

#[tokio::test(start_paused = true)]
async fn a_worker_lists_what_it_runs_and_for_how_long() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let result = bench.call("hang").await;
    started.recv().await.unwrap();
    tokio::time::advance(Duration::from_secs(5)).await;
    let records = bench.workers().await;
    assert_eq!(records.len(), 1);
    let facts = &records[0].facts;
    assert_eq!(facts.get("state").and_then(Value::as_str), Some("ready"));
    assert_eq!(facts.get("pid"), Some(&Value::Int(i64::from(std::process::id()))));
    let Some(Value::List(running)) = facts.get("running") else { panic!("{facts:?}") };
    assert_eq!(running[0].get("id").and_then(Value::as_str), Some(result.id().as_str()));
    assert_eq!(running[0].get("name").and_then(Value::as_str), Some("hang"));
    let Some(Value::Float(seconds)) = running[0].get("runtime_seconds") else { panic!("{running:?}") };
    assert!(*seconds >= 5.0, "{seconds}");
    worker.die().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stays_listed() {
    let (task, _started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    tokio::time::sleep(LONG).await;
    assert_eq!(bench.workers().await.len(), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_says_how_soon_tasks_start_and_end() {
    let (body, mut gate) = crate::harness::gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let result = bench.call("gated").await;
    tokio::time::advance(Duration::from_secs(2)).await;
    let worker = bench.start();
    gate.started().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    gate.open();
    bench.ending(&result).await;
    let records = bench.workers().await;
    let mean = |promise: &str| match records[0]
        .facts
        .get("totals")
        .unwrap()
        .get(promise)
        .unwrap()
        .get("mean_seconds")
    {
        Some(Value::Float(seconds)) => seconds.round(),
        other => panic!("{other:?}"),
    };
    assert_eq!((mean("response"), mean("resolution")), (2.0, 5.0));
    worker.stop().await;
}
