//! What the schedule promises.

use std::time::Duration;

use celeriac_protocol::Timestamp;

use super::StoreUnderTest;
use super::consuming::{id, ids};
use super::subject::{LEASE, MOMENT, message, message_with_priority, publish, queue, queue_of, task_ids};
use crate::Publish;

/// A message for later waits in the store until its time, and wakes who waits for it then.
pub async fn a_scheduled_message_comes_at_its_time_and_not_before(store: &StoreUnderTest) {
    let due = store.after(LEASE);
    store.publish_for(due, &queue(), "later").await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let mut fetch = std::pin::pin!(consuming.fetch(1));
    store.keeps_waiting("a fetch of a message for later", &mut fetch).await;
    store.advance(LEASE - 5 * MOMENT).await;
    store.keeps_waiting("a fetch of a message for later", &mut fetch).await;
    store.advance(6 * MOMENT).await;
    assert_eq!(ids(&fetch.await), ["later"]);
    assert!(store.now() >= due);
}

/// Without anybody moving the clock, messages come on time: the best of several within 50 ms.
pub async fn a_scheduled_message_comes_within_50_ms_of_its_time(store: &StoreUnderTest) {
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let mut best = Duration::MAX;
    for n in 1..=8 {
        let due = store.after(Duration::from_millis(20 * n));
        store.publish_for(due, &queue(), "soon").await;
        let delivery = consuming.one().await;
        assert!(store.now() >= due, "it came before its time");
        best = best.min(store.now().saturating_since(due));
        consuming.ack(&delivery).await;
    }
    assert!(best <= Duration::from_millis(50), "the best of several came {best:?} late");
}

/// A message whose time has passed when it is published is like any other.
pub async fn a_message_due_already_is_ready_at_once(store: &StoreUnderTest) {
    store.publish(&queue(), &["first"]).await;
    store.publish_for(store.now(), &queue(), "due now").await;
    store.publish_for(Timestamp::from_micros(0), &queue(), "long due").await;
    let mut consuming = store.consume(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(3).await), ["first", "due now", "long due"]);
}

/// Of two messages for later, the sooner one comes first, whichever was published first.
pub async fn scheduled_messages_come_in_the_order_of_their_times(store: &StoreUnderTest) {
    for (n, id) in [(3, "third"), (1, "first"), (2, "second")] {
        store.publish_for(store.after(MOMENT * n), &queue(), id).await;
    }
    store.advance(LEASE).await;
    let mut consuming = store.consume(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(3).await), ["first", "second", "third"]);
}

/// A message for later has its priority when its time has come.
pub async fn a_scheduled_message_keeps_its_priority(store: &StoreUnderTest) {
    let due = Some(store.after(MOMENT));
    let high = Publish { due, ..publish(&queue(), message_with_priority("high", 9)) };
    let low = Publish { due: None, ..publish(&queue(), message_with_priority("low", 0)) };
    store.broker().publish(vec![high, low].into()).await.unwrap();
    store.advance(LEASE).await;
    let first = store.consume(&[&queue()]).await.one().await;
    assert_eq!(id(&first), if store.capabilities().priorities > 1 { "high" } else { id(&first) });
}

/// A sooner message than the one waited for is not overlooked, from elsewhere too.
pub async fn a_sooner_message_wakes_sooner(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    store.publish_for(store.after(LEASE * 20), &queue(), "late").await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let mut fetch = std::pin::pin!(consuming.fetch(1));
    store.keeps_waiting("a fetch of a message for later", &mut fetch).await;
    let soon = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), message("soon")) };
    elsewhere.broker().publish(vec![soon].into()).await.unwrap();
    store.keeps_waiting("a fetch of a message for later", &mut fetch).await;
    store.advance(LEASE + MOMENT).await;
    assert_eq!(ids(&fetch.await), ["soon"]);
}

/// The next due time is the earliest over all queues; there is none without messages for later.
pub async fn the_next_due_time_is_the_earliest(store: &StoreUnderTest) {
    store.publish(&queue(), &["ready"]).await;
    assert_eq!(store.schedule().next_due().await.unwrap(), None);
    let (soon, late) = (store.after(MOMENT * 100), store.after(MOMENT * 200));
    store.publish_for(late, &queue_of("a"), "late").await;
    store.publish_for(soon, &queue_of("b"), "soon").await;
    assert_eq!(store.schedule().next_due().await.unwrap(), Some(soon));
}

/// The schedule lists what it holds, the soonest first, as much as was asked for.
pub async fn the_schedule_lists_the_soonest_first(store: &StoreUnderTest) {
    let due = |n| store.after(MOMENT * 100 * n);
    let dues = [due(3), due(1), due(2)];
    for (due, id) in dues.into_iter().zip(["third", "first", "second"]) {
        store.publish_for(due, &queue_of(id), id).await;
    }
    let listed = store.schedule().scheduled(2).await.unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!((listed[0].due, &listed[0].queue), (dues[1], &queue_of("first")));
    assert_eq!((listed[1].due, &listed[1].message), (dues[2], &message("second")));
    assert_eq!(store.schedule().scheduled(10).await.unwrap().len(), 3);
}

/// A cancelled message never comes; what is ready or lent is not cancelled.
pub async fn a_cancelled_message_never_comes(store: &StoreUnderTest) {
    store.publish(&queue(), &["ready"]).await;
    for id in ["cancelled", "kept"] {
        store.publish_for(store.after(MOMENT), &queue(), id).await;
    }
    let cancelled = store.schedule().cancel(&task_ids(&["cancelled", "ready", "unknown"])).await.unwrap();
    assert_eq!(cancelled, 1);
    store.advance(LEASE).await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(2).await), ["ready", "kept"]);
    assert_eq!(store.schedule().next_due().await.unwrap(), None);
}

/// A message that has become ready is not scheduled any more.
pub async fn a_ready_message_leaves_the_schedule(store: &StoreUnderTest) {
    store.publish_for(store.after(MOMENT), &queue(), "a").await;
    store.advance(LEASE).await;
    let mut consuming = store.consume(&[&queue()]).await;
    consuming.one().await;
    assert_eq!(store.schedule().scheduled(10).await.unwrap(), []);
    assert_eq!(store.stats(&queue()).await.scheduled.unwrap_or(0), 0);
}

/// A due time may lie beyond all that will be, and before all that was.
pub async fn a_due_time_may_be_at_the_end_of_time(store: &StoreUnderTest) {
    let (first, last) = (Timestamp::from_micros(i64::MIN), Timestamp::from_micros(i64::MAX));
    store.publish_for(last, &queue(), "never").await;
    store.publish_for(first, &queue(), "ever").await;
    store.publish(&queue(), &["now"]).await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(2).await), ["ever", "now"]);
    if store.capabilities().schedule_access {
        assert_eq!(store.schedule().next_due().await.unwrap(), Some(last));
        assert_eq!(store.schedule().cancel(&task_ids(&["never"])).await.unwrap(), 1);
    }
}

/// A task that is scheduled twice is cancelled twice; naming it twice cancels nothing more.
pub async fn cancelling_counts_messages(store: &StoreUnderTest) {
    for _ in 0..2 {
        store.publish_for(store.after(LEASE), &queue(), "a").await;
    }
    assert_eq!(store.schedule().cancel(&task_ids(&["a", "a"])).await.unwrap(), 2);
    assert_eq!(store.schedule().cancel(&task_ids(&["a"])).await.unwrap(), 0);
    assert_eq!(store.stats(&queue()).await.scheduled, Some(0));
}

/// Many messages that are due together come together, in their order.
pub async fn a_crowd_that_is_due_comes_in_order(store: &StoreUnderTest) {
    const MANY: usize = 3000;
    let due = Some(store.after(LEASE));
    let batch =
        (0..MANY).map(|n| Publish { due, ..publish(&queue(), message(&format!("{n:04}"))) }).collect();
    store.broker().publish(batch).await.unwrap();
    store.advance(LEASE + MOMENT).await;
    let mut consuming = store.consume_at_most(MANY, &[&queue()]).await;
    let deliveries = consuming.several(MANY).await;
    assert!(ids(&deliveries).is_sorted(), "messages due together lost their order");
}
