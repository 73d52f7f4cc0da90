//! What is promised of workers that announce themselves.

use std::time::Duration;

use celeriac_protocol::Value;

use super::StoreUnderTest;
use super::subject::{LEASE, MOMENT, keeps_waiting, within};
use crate::{ConsumerId, WorkerRecord};

/// What a worker of this name says of itself now.
fn record(store: &StoreUnderTest, name: &str, running: i64) -> WorkerRecord {
    WorkerRecord {
        id: ConsumerId(format!("id of {name}")),
        name: name.to_owned(),
        announced_at: store.now(),
        valid_for: LEASE,
        facts: Value::Map(vec![("running".into(), Value::Int(running))]),
    }
}

/// The live workers, without waiting for fresh words.
async fn workers(store: &StoreUnderTest) -> Vec<WorkerRecord> {
    within("the list of workers", store.presence().workers(Duration::ZERO)).await.unwrap()
}

/// A worker that announces itself is listed with what it said, everywhere and by name.
pub async fn announced_workers_are_listed_by_name(store: &StoreUnderTest) {
    let (a, b) = (record(store, "a@h", 1), record(store, "b@h", 2));
    let elsewhere = store.elsewhere().await;
    elsewhere.presence().announce(b.clone()).await.unwrap();
    store.presence().announce(a.clone()).await.unwrap();
    assert_eq!(workers(store).await, [a, b]);
}

/// What a worker says replaces what it said before.
pub async fn a_new_announcement_replaces_the_last(store: &StoreUnderTest) {
    for running in 1..=3 {
        store.presence().announce(record(store, "a@h", running)).await.unwrap();
    }
    let listed = workers(store).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].facts, record(store, "a@h", 3).facts);
}

/// A worker that withdraws is gone at once, another stays.
pub async fn a_withdrawn_worker_is_gone(store: &StoreUnderTest) {
    for name in ["a@h", "b@h"] {
        store.presence().announce(record(store, name, 0)).await.unwrap();
    }
    store.presence().withdraw(&ConsumerId("id of a@h".to_owned())).await.unwrap();
    store.presence().withdraw(&ConsumerId("nobody".to_owned())).await.unwrap();
    let names: Vec<_> = workers(store).await.into_iter().map(|worker| worker.name).collect();
    assert_eq!(names, ["b@h"]);
}

/// A worker that falls silent is forgotten when its last words have lost their worth.
pub async fn a_silent_worker_is_forgotten(store: &StoreUnderTest) {
    store.presence().announce(record(store, "silent", 0)).await.unwrap();
    store.presence().announce(record(store, "talking", 0)).await.unwrap();
    store.advance(LEASE - 5 * MOMENT).await;
    store.presence().announce(record(store, "talking", 1)).await.unwrap();
    assert_eq!(workers(store).await.len(), 2);
    store.advance(6 * MOMENT).await;
    let names: Vec<_> = workers(store).await.into_iter().map(|worker| worker.name).collect();
    assert_eq!(names, ["talking"]);
}

/// Asking makes workers announce anew, and the answer comes as soon as all have, long before patience ends.
pub async fn asking_brings_fresh_announcements(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    elsewhere.presence().announce(record(store, "a@h", 1)).await.unwrap();
    let mut question = std::pin::pin!(elsewhere.presence().asked());
    keeps_waiting(elsewhere.broker().as_ref(), "a wait for no question", &mut question).await;
    let worker = async {
        within("a question", question).await.unwrap();
        elsewhere.presence().announce(record(store, "a@h", 2)).await.unwrap();
    };
    let patience = Duration::from_secs(3600);
    let ((), listed) = tokio::join!(worker, within("an early answer", store.presence().workers(patience)));
    assert_eq!(listed.unwrap()[0].facts, record(store, "a@h", 2).facts);
}

/// Nobody to ask is nobody to wait for.
pub async fn asking_nobody_returns_at_once(store: &StoreUnderTest) {
    let listed = within("an empty list", store.presence().workers(Duration::from_secs(3600))).await;
    assert_eq!(listed.unwrap(), []);
}

/// A worker that does not answer in time is listed with what it said last.
pub async fn a_worker_that_does_not_answer_is_still_listed(store: &StoreUnderTest) {
    store.presence().announce(record(store, "busy", 7)).await.unwrap();
    let listed = store.presence().workers(Duration::from_millis(20)).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].facts, record(store, "busy", 7).facts);
}

/// A question that is not asked wakes nobody; one that is wakes everybody who waits.
pub async fn a_question_reaches_everybody_who_waits(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut here = std::pin::pin!(store.presence().asked());
    let mut there = std::pin::pin!(elsewhere.presence().asked());
    store.keeps_waiting("a wait for no question", &mut here).await;
    keeps_waiting(elsewhere.broker().as_ref(), "a wait for no question", &mut there).await;
    workers(store).await;
    within("the question", here).await.unwrap();
    within("the question", there).await.unwrap();
}

/// A worker that does something else meanwhile misses no question.
pub async fn a_question_between_two_waits_is_heard(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut first = std::pin::pin!(elsewhere.presence().asked());
    keeps_waiting(elsewhere.broker().as_ref(), "a wait for no question", &mut first).await;
    workers(store).await;
    within("the first question", first).await.unwrap();
    workers(store).await;
    within("the second question", elsewhere.presence().asked()).await.unwrap();
    let mut third = std::pin::pin!(elsewhere.presence().asked());
    keeps_waiting(elsewhere.broker().as_ref(), "a wait for a third question", &mut third).await;
}

/// A worker may be listed until it withdraws.
pub async fn a_worker_may_be_valid_for_ever(store: &StoreUnderTest) {
    let endless = WorkerRecord { valid_for: Duration::MAX, ..record(store, "eternal", 0) };
    store.presence().announce(endless.clone()).await.unwrap();
    store.advance(LEASE * 100_000).await;
    let listed = workers(store).await;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, &listed[0].facts), (&endless.id, &endless.facts));
}
