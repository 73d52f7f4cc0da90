//! Rate limits space the starts of a task and touch no other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::store::{ControlChange, Finish, Settle, Whose};
use celeriac_app::{App, TaskBody, TaskDefinition, TaskOptions};
use tokio::time::Instant;

use crate::harness::{Bench, LONG, START, assert_state};

fn limited(rate: &str) -> (TaskDefinition, Arc<Mutex<Vec<Instant>>>) {
    let starts = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&starts);
    let body = TaskBody::asynchronous(move |_, _| {
        noted.lock().unwrap().push(Instant::now());
        async { Ok(Value::Null) }
    });
    let mut options = TaskOptions::default();
    options.rate_limit = Some(rate.parse().unwrap());
    (TaskDefinition::new("limited", body).with_options(options), starts)
}

#[tokio::test(start_paused = true)]
async fn starts_keep_to_the_rate() {
    let (task, starts) = limited("10/s");
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    for _ in 0..100 {
        bench.call("limited").await;
    }
    bench.drained().await;
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 100);
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(99)), "{starts:?}");
    let took = starts[99] - starts[0];
    assert!(took < Duration::from_secs(15), "the limit is used: {took:?}");
    worker.stop().await;
}

/// Keeps a rate limit of this task in the store, as a worker does that has obeyed it.
async fn keep_limit(bench: &Bench, task: &str, rate: &str) {
    let arguments = Value::Map(vec![("task_name".into(), task.into()), ("rate_limit".into(), rate.into())]);
    let value = Value::Map(vec![("method".into(), "rate_limit".into()), ("arguments".into(), arguments)]);
    let change = ControlChange { name: format!("rate_limit {task}").into(), value, at: START };
    bench.store.control_state().keep(&Whose::All, vec![change], LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_was_set_earlier_holds_for_the_first_tasks_of_a_worker() {
    let (task, starts) = limited("1000/s");
    let bench = Bench::new(App::new("test").task(task)).await;
    keep_limit(&bench, "limited", "10/s").await;
    for _ in 0..50 {
        bench.call("limited").await;
    }
    let worker = bench.start();
    bench.drained().await;
    let starts = starts.lock().unwrap().clone();
    assert_eq!(starts.len(), 50);
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= Duration::from_millis(99)), "{starts:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_limited_task_does_not_hold_up_another() {
    let (task, _starts) = limited("1/m");
    let free = TaskDefinition::new("free", TaskBody::asynchronous(|_, _| async { Ok(Value::Null) }));
    let bench = Bench::new(App::new("test").tasks([task, free])).await.with(|options| {
        options.async_concurrency = 2;
    });
    let worker = bench.start();
    for _ in 0..1000 {
        bench.call("limited").await;
    }
    let since = Instant::now();
    let result = bench.call("free").await;
    assert_state(&bench.ending(&result).await, &State::Success);
    assert!(since.elapsed() < Duration::from_millis(100), "{:?}", since.elapsed());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_limited_task_keeps_its_delivery_count_while_it_waits() {
    let deliveries = Arc::new(Mutex::new(Vec::new()));
    let body = TaskBody::asynchronous({
        let deliveries = Arc::clone(&deliveries);
        move |context, _| {
            deliveries.lock().unwrap().push(context.deliveries());
            async { Ok(Value::Null) }
        }
    });
    let mut options = TaskOptions::default();
    options.rate_limit = Some("1/m".parse().unwrap());
    let task = TaskDefinition::new("suspect", body).with_options(options);
    let bench = Bench::new(App::new("test").task(task)).await;
    for _ in 0..3 {
        bench.call("suspect").await;
    }
    let mut before = bench.subscribe().await;
    let back = |tag| Finish {
        delivery: Some(tag),
        settle: Settle::Requeue,
        result: None,
        follow_ups: Vec::new(),
        workflow: None,
    };
    let taken = before.consumer.fetch(3).await.unwrap();
    before.settler.finish(taken.iter().map(|delivery| back(delivery.tag)).collect()).await.unwrap();
    before.settler.close().await.unwrap();

    let worker = bench.start();
    bench.drained().await;
    assert_eq!(*deliveries.lock().unwrap(), [2, 2, 2]);
    worker.stop().await;
}
