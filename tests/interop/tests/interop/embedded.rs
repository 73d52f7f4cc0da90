//! The embedded store from both languages: `python/embedded.py` and `python/embedded_bindings.py` have the scenarios that Python tells.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac::prelude::*;
use rustix::process::Signal;

use super::harness::{Broker, DEADLINE, Program};

/// Runs one scenario with nobody else there.
async fn tell(broker: &Broker, scenario: &str) {
    broker.begin("embedded.py", scenario).succeed().await;
}

/// A worker in Rust and a stock one, each on a queue of its own.
async fn both_workers(broker: &Broker) -> [Program; 2] {
    [broker.rust_worker_on("ours", &[]).await, broker.python_worker(&[]).await]
}

#[tokio::test]
async fn a_file_made_by_python_is_the_one_that_rust_makes() {
    let broker = Broker::embedded();
    tell(&broker, "a_file_is_as_rust_makes_it").await;
    // And goes on as its store.
    let _worker = broker.rust_worker(&[]).await;
    let sum = celeriac_interop::add.s(2, 3).apply_async(&broker.app()).await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
}

#[tokio::test]
async fn a_file_that_is_not_ours_to_write_is_refused_by_name() {
    tell(&Broker::embedded(), "files_are_refused").await;
}

#[tokio::test]
async fn what_is_bound_in_one_process_is_bound_in_all() {
    Broker::embedded().begin("embedded_bindings.py", "bindings_are_kept").succeed().await;
}

#[tokio::test]
async fn python_changes_bindings_in_any_process() {
    Broker::embedded().begin("embedded_bindings.py", "bindings_are_changed_by_any_process").succeed().await;
}

#[tokio::test]
async fn python_reads_bindings_when_they_have_changed() {
    Broker::embedded()
        .begin("embedded_bindings.py", "bindings_are_read_when_they_have_changed")
        .succeed()
        .await;
}

#[tokio::test]
async fn what_is_said_to_everybody_is_heard_by_those_who_listen_and_not_kept() {
    tell(&Broker::embedded(), "broadcasts_are_heard").await;
}

#[tokio::test]
async fn a_stock_worker_on_the_file_is_watched_and_steered() {
    let broker = Broker::embedded();
    let _worker = broker.python_worker(&[]).await;
    tell(&broker, "a_stock_worker_is_watched_and_steered").await;
}

#[tokio::test]
async fn a_producer_is_started_with_nothing_but_its_url() {
    let broker = Broker::embedded();
    let _worker = broker.rust_worker(&[]).await;
    tell(&broker, "nothing_is_imported").await;
}

#[tokio::test]
async fn a_producer_revokes_what_waits_and_what_runs() {
    let broker = Broker::embedded();
    tell(&broker, "what_waits_is_revoked").await;
    let _worker = broker.rust_worker(&[]).await;
    tell(&broker, "a_member_is_revoked").await;
}

#[tokio::test]
async fn queues_are_looked_at_and_emptied() {
    tell(&Broker::embedded(), "queues_are_emptied").await;
}

#[tokio::test]
async fn a_wait_ends_when_the_result_is_there() {
    let broker = Broker::embedded();
    let _worker = broker.rust_worker(&[]).await;
    tell(&broker, "waiting_is_prompt").await;
    tell(&broker, "waiting_survives_a_fork_and_threads").await;
}

#[tokio::test]
async fn results_of_a_stock_worker_are_read_in_rust() {
    let broker = Broker::embedded();
    let _worker = broker.python_worker(&[]).await;
    let app = broker.app();
    let sum: AsyncResult<i64> = app.send_task("python.add", args![2, 3], kwargs! {}).await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    let stubborn: AsyncResult<u32> = app.send_task("python.stubborn", args![2], kwargs! {}).await.unwrap();
    assert_eq!(stubborn.get(DEADLINE).await.unwrap(), 2);
    let failed: AsyncResult<()> =
        app.send_task("python.fail", args!["no leaves: ü"], kwargs! {}).await.unwrap();
    let error = failed.get(DEADLINE).await.unwrap_err().to_string();
    assert!(error.contains("OutOfTea") && error.contains("no leaves: ü"), "{error}");
    let whoami = Signature::<Value>::named("python.whoami", args![], kwargs! {});
    let seen = whoami.priority(9).apply_async(&app).await.unwrap().get(DEADLINE).await.unwrap();
    assert_eq!(seen.get("priority"), Some(&Value::Int(9)));
    let later =
        Signature::<i64>::named("python.add", args![1, 1], kwargs! {}).countdown(Duration::from_secs(1));
    let later = later.apply_async(&app).await.unwrap();
    assert_eq!(later.get(DEADLINE).await.unwrap(), 2);
}

/// One file, two workers and two producers in different languages: every result is right, and both kinds have worked.
#[tokio::test]
async fn workers_and_producers_of_both_kinds_share_a_file() {
    let broker = Broker::embedded();
    let small = [("CELERIAC_WORKER_ASYNC_CONCURRENCY", "1"), ("CELERIAC_WORKER_PREFETCH_MULTIPLIER", "1")];
    let _workers = [broker.rust_worker(&small).await, broker.python_worker(&[]).await];
    let python_sends = broker.begin("embedded.py", "half_of_naps");
    let app = broker.app();
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(celeriac_interop::shared_nap.s(0.02).apply_async(&app).await.unwrap());
    }
    let mut kinds = BTreeSet::new();
    for result in sent {
        kinds.insert(result.get(DEADLINE).await.unwrap());
    }
    python_sends.succeed().await;
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["python", "rust"]);
    tell(&broker, "nothing_is_left").await;
}

#[tokio::test]
async fn chords_over_both_kinds_are_counted_once() {
    let broker = Broker::embedded();
    let _workers = both_workers(&broker).await;
    tell(&broker, "chords_are_counted_once").await;
}

#[tokio::test]
async fn canvases_come_to_what_they_come_to() {
    let broker = Broker::embedded();
    let _workers = both_workers(&broker).await;
    tell(&broker, "canvases").await;
}

/// What a stock worker held when it was killed runs elsewhere once its lease has run out.
#[tokio::test]
async fn the_lease_of_a_stock_worker_that_died_runs_out() {
    let broker = Broker::embedded();
    let stock = broker.python_worker(&[("BROKER_TRANSPORT_OPTIONS", r#"{"lease": 3}"#)]).await;
    let attendant = super::harness::Attendant::listen().await;
    let slow = celeriac_interop::shared_slow.s(attendant.address()).apply_async(&broker.app()).await.unwrap();
    let first = attendant.run().await;
    assert_eq!(first.kind, "python");
    stock.kill();
    let _rust = broker.rust_worker(&[]).await;
    let second = attendant.run().await;
    assert_eq!(second.kind, "rust");
    second.end().await;
    assert_eq!(slow.get(DEADLINE).await.unwrap(), "rust");
}

/// Whatever a producer was told that it has sent is there when it is killed, and what it was about to send is whole or not there.
#[tokio::test]
async fn a_producer_that_is_killed_leaves_what_it_has_sent() {
    let broker = Broker::embedded();
    let folder = tempfile::tempdir().unwrap();
    let sent = folder.path().join("sent");
    for round in 1..=5 {
        let producer = broker.run("embedded.py", &["send_without_end", sent.to_str().unwrap()]);
        let enough = || std::fs::read_to_string(&sent).unwrap_or_default().lines().count() >= 40 * round;
        let until = tokio::time::Instant::now() + DEADLINE;
        while !enough() {
            assert!(tokio::time::Instant::now() < until, "the producer sends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        producer.signal(Signal::KILL);
        drop(producer);
    }
    let _worker = broker.rust_worker(&[]).await;
    broker.run("embedded.py", &["all_that_was_sent_has_run", sent.to_str().unwrap()]).succeed().await;
}
