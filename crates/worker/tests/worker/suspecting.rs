//! Tasks that were in a worker when it died: which of them count, and what becomes of those on their last chance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::{App, AsyncResult, TaskBody, TaskDefinition};

use crate::harness::{Bench, assert_state, gated, hanging};

/// What `worker_delivery_limit` is unless set.
const LIMIT: u32 = 3;

fn noop(name: &str) -> TaskDefinition {
    TaskDefinition::new(name, TaskBody::asynchronous(|_, _| async { Ok(Value::Int(1)) }))
}

/// Lets so many consumers die with everything that waits in hand, of which all or nothing had started.
async fn die_with_everything(bench: &Bench, times: u32, started: bool) {
    for _ in 0..times {
        let mut subscription = bench.subscribe().await;
        let deliveries = subscription.consumer.fetch(10).await.unwrap();
        if started {
            let tags = deliveries.iter().map(|delivery| delivery.tag).collect();
            subscription.settler.started(tags).await.unwrap();
        }
        tokio::time::advance(bench.options.lease * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_only_waited_in_killed_workers_runs_however_often_it_was_delivered() {
    let bench = Bench::new(App::new("test").task(noop("innocent"))).await;
    let result = bench.call("innocent").await;
    die_with_everything(&bench, 10, false).await;
    let worker = bench.start();
    assert_state(&bench.ending(&result).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_slot_of_a_worker_that_dies_is_not_counted() {
    let (killer, mut started) = hanging("killer");
    let bench = Bench::new(App::new("test").tasks([killer, noop("innocent")])).await;
    let bench = bench.with(|options| options.async_concurrency = 1);
    let killer = bench.call("killer").await;
    let innocent = bench.call("innocent").await;
    for _ in 0..LIMIT {
        let worker = bench.start();
        started.recv().await.unwrap();
        bench.until(async || bench.ready().await == 0).await;
        worker.die().await;
        tokio::time::advance(bench.options.lease * 2).await;
    }
    let worker = bench.start();
    assert_state(&bench.ending(&innocent).await, &State::Success);
    assert_eq!(&*bench.failed(killer.id()).await.reason.code, "delivery-limit");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_is_said_to_have_started_before_it_runs() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    bench.call("hang").await;
    die_with_everything(&bench, 1, false).await;
    let worker = bench.start();
    started.recv().await.unwrap();
    worker.die().await;
    tokio::time::advance(bench.options.lease * 2).await;
    let third = bench.subscribe().await.consumer.fetch(1).await.unwrap().remove(0);
    assert_eq!(third.deliveries, 3);
}

/// Tasks on their last chance, and how many of them ran at once at most.
async fn on_their_last_chance(count: usize) -> (Bench, Vec<AsyncResult<i64>>, Arc<AtomicU32>) {
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let highest = Arc::clone(&most);
    let body = TaskBody::asynchronous(move |_, _| {
        let (running, highest) = (Arc::clone(&running), Arc::clone(&highest));
        async move {
            highest.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(Value::Int(1))
        }
    });
    let tasks = [TaskDefinition::new("suspect", body), noop("other")];
    let bench = Bench::new(App::new("test").tasks(tasks)).await;
    let mut results = Vec::new();
    for _ in 0..count {
        results.push(bench.call("suspect").await);
    }
    die_with_everything(&bench, LIMIT - 1, true).await;
    (bench, results, most)
}

#[tokio::test(start_paused = true)]
async fn tasks_on_their_last_chance_run_one_at_a_time() {
    let (bench, suspects, most) = on_their_last_chance(5).await;
    let worker = bench.start();
    for suspect in &suspects {
        assert_state(&bench.ending(suspect).await, &State::Success);
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn tasks_on_their_last_chance_hold_no_slot_while_they_wait() {
    let (bench, suspects, most) = on_their_last_chance(5).await;
    let bench = bench.with(|options| options.async_concurrency = 2);
    let other = bench.call("other").await;
    let worker = bench.start();
    assert_state(&bench.ending(&other).await, &State::Success);
    assert_eq!(suspects[1].state().await.unwrap(), State::Pending, "the first suspect still runs");
    assert_eq!(most.load(Ordering::SeqCst), 1);
    worker.die().await;
}

#[tokio::test(start_paused = true)]
async fn a_killer_on_its_last_chance_takes_no_other_suspect_with_it() {
    let (killer, mut started) = hanging("killer");
    let bench = Bench::new(App::new("test").tasks([killer, noop("innocent")])).await;
    let killer = bench.call("killer").await;
    let innocent = bench.call("innocent").await;
    die_with_everything(&bench, LIMIT - 1, true).await;
    let worker = bench.start();
    started.recv().await.unwrap();
    bench.until(async || bench.ready().await == 0).await;
    worker.die().await;
    tokio::time::advance(bench.options.lease * 2).await;
    let worker = bench.start();
    assert_state(&bench.ending(&innocent).await, &State::Success);
    assert_eq!(&*bench.failed(killer.id()).await.reason.code, "delivery-limit");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_suspect_gives_its_turn_to_the_next() {
    let (body, mut gate) = gated(|_| {});
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let (first, second, third) =
        (bench.call("gated").await, bench.call("gated").await, bench.call("gated").await);
    die_with_everything(&bench, LIMIT - 1, true).await;
    let worker = bench.start();
    assert_eq!(gate.started().await.id(), first.id());
    bench.until(async || bench.ready().await == 0).await;
    second.revoke(false).await.unwrap();
    assert_state(&bench.ending(&second).await, &State::Revoked);
    gate.open();
    assert_eq!(gate.started().await.id(), third.id());
    gate.open();
    assert_state(&bench.ending(&third).await, &State::Success);
    worker.stop().await;
}
