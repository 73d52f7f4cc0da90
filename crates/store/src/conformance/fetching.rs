//! What a fetch promises.

use std::collections::BTreeSet;

use super::StoreUnderTest;
use super::consuming::{id, ids};
use super::subject::{message, message_with_priority, publish, queue, queue_of, within};
use crate::{Error, Settle};

/// Priorities that the store tells apart, the lowest first.
fn distinct_priorities(store: &StoreUnderTest) -> Vec<u8> {
    match store.capabilities().priorities {
        10.. => (0..10).collect(),
        4..10 => vec![0, 3, 6, 9],
        2 | 3 => vec![0, 9],
        0 | 1 => vec![0],
    }
}

/// A higher priority overtakes, as finely as the store tells them apart.
pub async fn the_highest_priority_comes_first(store: &StoreUnderTest) {
    let priorities = distinct_priorities(store);
    for priority in &priorities {
        let message = message_with_priority(&priority.to_string(), *priority);
        store.broker().publish(vec![publish(&queue(), message)].into()).await.unwrap();
    }
    let expected: Vec<String> = priorities.iter().rev().map(u8::to_string).collect();
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(priorities.len()).await), expected);
}

/// A rehearsed fetch takes nothing, whether or not there is something to take.
pub async fn a_rehearsed_fetch_takes_nothing(store: &StoreUnderTest) {
    store.broker().rehearse_fetch().await.unwrap();
    store.broker().publish(vec![publish(&queue(), message("a"))].into()).await.unwrap();
    store.broker().rehearse_fetch().await.unwrap();
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.lent.unwrap_or(0)), (1, 0));
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(1).await), ["a"]);
}

/// Among messages of one priority, the longest waiting comes first.
pub async fn messages_of_one_priority_keep_their_order(store: &StoreUnderTest) {
    let batch =
        (0..40).map(|n| publish(&queue(), message_with_priority(&format!("{n:02}"), n % 2 * 9))).collect();
    store.broker().publish(batch).await.unwrap();
    let deliveries = store.consume(&[&queue()]).await.several(40).await;
    for priority in [0, 9] {
        let of_it =
            deliveries.iter().filter(|delivery| delivery.message.properties.priority == Some(priority));
        assert!(of_it.map(id).is_sorted(), "priority {priority} lost its order: {:?}", ids(&deliveries));
    }
}

/// A message without a priority counts as 0, where all ten are told apart.
pub async fn no_priority_counts_as_zero(store: &StoreUnderTest) {
    let [none, zero, one] =
        [message("none"), message_with_priority("zero", 0), message_with_priority("one", 1)];
    let batch = [none, zero, one].map(|message| publish(&queue(), message)).to_vec();
    store.broker().publish(batch.into()).await.unwrap();
    let deliveries = store.consume(&[&queue()]).await.several(3).await;
    let expected =
        if store.capabilities().priorities == 10 { vec!["one", "none", "zero"] } else { ids(&deliveries) };
    assert_eq!(ids(&deliveries), expected);
}

/// The highest priority comes first, whichever of its queues a consumer finds it in.
pub async fn priorities_hold_over_all_queues(store: &StoreUnderTest) {
    let (left, right) = (queue_of("left"), queue_of("right"));
    let batch = vec![
        publish(&left, message_with_priority("left 3", 3)),
        publish(&right, message_with_priority("right 0", 0)),
        publish(&right, message_with_priority("right 6", 6)),
        publish(&left, message_with_priority("left 9", 9)),
    ];
    store.broker().publish(batch.into()).await.unwrap();
    let deliveries = store.consume(&[&left, &right]).await.several(4).await;
    assert_eq!(ids(&deliveries), ["left 9", "right 6", "left 3", "right 0"]);
}

/// The longest waiting of one priority comes first, whichever of its queues a consumer finds it in.
pub async fn the_longest_waiting_comes_first_over_all_queues(store: &StoreUnderTest) {
    let (left, right) = (queue_of("left"), queue_of("right"));
    for (queue, id) in [(&right, "1"), (&left, "2"), (&left, "3"), (&right, "4"), (&left, "5")] {
        store.publish(queue, &[id]).await;
    }
    let deliveries = store.consume(&[&left, &right]).await.several(5).await;
    assert_eq!(ids(&deliveries), ["1", "2", "3", "4", "5"]);
}

/// A queue that is never empty does not keep another of the same priority from its turn.
pub async fn no_queue_is_passed_over_for_ever(store: &StoreUnderTest) {
    let (busy, quiet) = (queue_of("busy"), queue_of("quiet"));
    store.publish(&busy, &["busy"; 5]).await;
    store.publish(&quiet, &["quiet"]).await;
    let mut consuming = store.consume_at_most(1, &[&busy, &quiet]).await;
    for _ in 0..50 {
        store.publish(&busy, &["busy"]).await;
        let delivery = consuming.one().await;
        if delivery.queue == quiet {
            return;
        }
        consuming.ack(&delivery).await;
    }
    panic!("the quiet queue got no turn");
}

/// A fetch takes what its limit says and leaves the rest.
pub async fn a_fetch_takes_no_more_than_its_limit(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    // `fetch` asserts the limit.
    assert_eq!(ids(&consuming.fetch(2).await)[0], "a");
}

/// Limits of zero would wait for ever; they count as one.
pub async fn a_limit_of_zero_counts_as_one(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut consuming = store.consume_at_most(0, &[&queue()]).await;
    let deliveries = within("a delivery", consuming.consumer.fetch(0)).await.unwrap();
    assert_eq!(ids(&deliveries), ["a"]);
    let second = std::pin::pin!(consuming.consumer.fetch(1));
    store.keeps_waiting("a fetch beyond a prefetch of zero", &mut { second }).await;
}

/// A fetch waits on empty queues, and a publish from elsewhere wakes it.
pub async fn a_waiting_fetch_is_woken_by_a_publish_from_elsewhere(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut consuming = store.consume(&[&queue_of("empty"), &queue()]).await;
    for round in ["first", "second", "third"] {
        let mut fetch = std::pin::pin!(consuming.fetch(10));
        store.keeps_waiting("a fetch from empty queues", &mut fetch).await;
        elsewhere.broker().publish(vec![publish(&queue(), message(round))].into()).await.unwrap();
        assert_eq!(ids(&fetch.await), [round]);
    }
}

/// Other queues do not concern a consumer.
pub async fn a_consumer_takes_only_from_its_queues(store: &StoreUnderTest) {
    store.publish(&queue_of("other"), &["theirs"]).await;
    store.publish(&queue(), &["ours"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    assert_eq!(ids(&consuming.fetch(10).await), ["ours"]);
    store.keeps_waiting("a fetch from an empty queue", &mut std::pin::pin!(consuming.fetch(10))).await;
}

/// A fetch that is dropped, at whatever stage, neither loses nor doubles a message.
pub async fn a_dropped_fetch_loses_nothing(store: &StoreUnderTest) {
    const MESSAGES: usize = 40;
    let elsewhere = store.elsewhere().await;
    let publisher = tokio::spawn(async move {
        for n in 0..MESSAGES {
            elsewhere
                .broker()
                .publish(vec![publish(&queue(), message(&format!("{n:02}")))].into())
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
    });
    let mut consuming = store.consume(&[&queue()]).await;
    let mut seen = Vec::new();
    within("every message", async {
        for turn in 0.. {
            tokio::select! {
                biased;
                deliveries = consuming.consumer.fetch(2) => seen.extend(deliveries.unwrap()),
                () = polls(turn % 7) => {}
            }
            if seen.len() == MESSAGES {
                break;
            }
        }
    })
    .await;
    publisher.await.unwrap();
    assert_eq!(ids(&seen).into_iter().collect::<BTreeSet<_>>().len(), MESSAGES);
    assert!(seen.iter().all(|delivery| delivery.deliveries == 1), "nothing was delivered twice");
}

/// What a dropped fetch has taken goes back when the consumer closes, as if it had never been delivered.
pub async fn what_a_dropped_fetch_took_goes_back_at_close(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    for turn in 0..12 {
        let mut consuming = store.consume(&[&queue()]).await;
        tokio::select! {
            biased;
            _ = consuming.consumer.fetch(2) => {}
            () = polls(turn) => {}
        }
        consuming.settler.close().await.unwrap();
    }
    let deliveries = store.consume(&[&queue()]).await.several(3).await;
    assert_eq!(ids(&deliveries).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from(["a", "b", "c"]));
    if store.capabilities().counts_deliveries {
        assert!(deliveries.iter().all(|delivery| delivery.deliveries == 1), "close does not count");
    }
}

/// Ends after its task was polled this many times.
async fn polls(count: usize) {
    for _ in 0..count {
        tokio::task::yield_now().await;
    }
}

/// What is lent to one consumer is not delivered to another.
pub async fn a_lent_message_is_nobody_elses(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut first = store.consume(&[&queue()]).await;
    let mut second = store.consume(&[&queue()]).await;
    let lent = first.one().await;
    store.keeps_waiting("a fetch of a lent message", &mut std::pin::pin!(second.fetch(1))).await;
    first.ack(&lent).await;
}

/// No more than `prefetch` deliveries are unsettled at once; settling one makes room and wakes the fetch.
pub async fn the_prefetch_limit_holds(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c", "d", "e"]).await;
    let mut consuming = store.consume_at_most(3, &[&queue()]).await;
    let unsettled = consuming.several(3).await;
    let settler = consuming.settler.clone();
    let mut fetch = std::pin::pin!(consuming.fetch(10));
    store.keeps_waiting("a fetch over the prefetch limit", &mut fetch).await;
    let finish = super::consuming::settling(unsettled[1].tag, Settle::Ack);
    settler.finish(vec![finish]).await.unwrap();
    assert_eq!(ids(&fetch.await), ["d"]);
}

/// A consumer at its limit leaves the rest to others.
pub async fn a_full_consumer_leaves_messages_to_others(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    let mut full = store.consume_at_most(2, &[&queue()]).await;
    assert_eq!(ids(&full.several(2).await), ["a", "b"]);
    let mut other = store.consume(&[&queue()]).await;
    assert_eq!(ids(&other.several(1).await), ["c"]);
}

/// The first delivery counts as one and is no redelivery; every further one counts one more.
pub async fn the_delivery_count_rises_at_each_fetch(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    for time in 1..=4 {
        let delivery = consuming.one().await;
        let expected = if store.capabilities().counts_deliveries { time } else { time.min(2) };
        assert_eq!(delivery.deliveries, expected);
        assert_eq!(delivery.redelivered, time > 1);
        consuming.settle(&[delivery], Settle::Requeue).await;
    }
}

/// Stored bytes that are not a message are kept with the failed tasks; the queue flows on.
pub async fn undecodable_bytes_go_to_the_failed_tasks(store: &StoreUnderTest) {
    let bytes = b"\xff\x00 not a message";
    store.publish_undecodable(&queue(), bytes).await;
    store.publish(&queue(), &["good"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    assert_eq!(ids(&consuming.several(1).await), ["good"]);

    let failed = store.failed().list(10).await.unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((&failed[0].queue, &*failed[0].reason.code), (&queue(), "undecodable"));
    let whole = store.failed().get(&failed[0].task_id).await.unwrap().unwrap();
    assert_eq!((whole.message, whole.undecodable.as_deref()), (None, Some(&bytes[..])));
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// A waiting fetch ends when its consumer is closed, and so does every later one.
pub async fn a_closed_consumer_fetches_nothing(store: &StoreUnderTest) {
    let mut consuming = store.consume(&[&queue()]).await;
    let settler = consuming.settler.clone();
    {
        let mut fetch = std::pin::pin!(consuming.consumer.fetch(1));
        store.keeps_waiting("a fetch from an empty queue", &mut fetch).await;
        settler.close().await.unwrap();
        assert!(matches!(within("the end of the fetch", fetch).await, Err(Error::Closed)));
    }
    store.publish(&queue(), &["a"]).await;
    assert!(matches!(within("the end of the fetch", consuming.consumer.fetch(1)).await, Err(Error::Closed)));
    assert_eq!(store.stats(&queue()).await.ready, 1);
}

/// Producers may write any number as a priority: beyond nine it counts as nine.
pub async fn a_priority_beyond_nine_counts_as_nine(store: &StoreUnderTest) {
    let messages = [("first", 9), ("second", 200), ("third", 9)]
        .map(|(id, priority)| message_with_priority(id, priority));
    let batch = messages.map(|message| publish(&queue(), message)).to_vec();
    store.broker().publish(batch.into()).await.unwrap();
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(3).await), ["first", "second", "third"]);
}

/// Who sets no limit gets what there is.
pub async fn limits_may_be_as_large_as_wanted(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut consuming = store.consume_at_most(usize::MAX, &[&queue()]).await;
    assert_eq!(ids(&consuming.fetch(usize::MAX).await)[0], "a");
}

/// Naming a queue twice is naming it once.
pub async fn a_queue_named_twice_is_consumed_once(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut consuming = store.consume(&[&queue(), &queue()]).await;
    assert_eq!(ids(&consuming.several(2).await), ["a", "b"]);
    assert_eq!(store.stats(&queue()).await.consumers, 1);
}

/// A consumer of no queue waits until it is closed.
pub async fn a_consumer_of_no_queue_waits(store: &StoreUnderTest) {
    let mut consuming = store.consume(&[]).await;
    let settler = consuming.settler.clone();
    let mut fetch = std::pin::pin!(consuming.consumer.fetch(1));
    store.keeps_waiting("a fetch from no queue", &mut fetch).await;
    settler.close().await.unwrap();
    assert!(matches!(within("the end of the fetch", fetch).await, Err(Error::Closed)));
}
