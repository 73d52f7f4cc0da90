//! What settling a delivery and closing a consumer promise.

use super::consuming::{id, ids, settling};
use super::subject::{queue, queue_of};
use super::{START, StoreUnderTest};
use crate::{DeliveryTag, Settle, Settled};

/// An acknowledged message never comes again.
pub async fn an_acknowledged_message_is_gone(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.ack(&delivery).await;
    consuming.settler.close().await.unwrap();
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.lent.unwrap_or(0)), (0, 0));
}

/// A requeued message comes again as a redelivery, and the delivery before counts.
pub async fn a_requeued_message_comes_again_and_counts(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let first = consuming.one().await;
    consuming.settle(std::slice::from_ref(&first), Settle::Requeue).await;
    let second = consuming.one().await;
    assert_eq!((id(&second), second.redelivered, second.deliveries), ("a", true, 2));
    assert_ne!(first.tag, second.tag, "a redelivery has another tag");
    assert_eq!(second.message.body, first.message.body);
}

/// A released message comes again as if it had never been delivered.
pub async fn a_released_message_comes_again_and_does_not_count(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let first = consuming.one().await;
    consuming.settle(&[first], Settle::Release).await;
    let second = consuming.one().await;
    assert_eq!(id(&second), "a");
    if store.capabilities().counts_deliveries {
        assert_eq!((second.redelivered, second.deliveries), (false, 1));
    }
}

/// Releasing takes back the last delivery only; those before it still count.
pub async fn releasing_does_not_forget_earlier_deliveries(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    for settle in [Settle::Requeue, Settle::Release, Settle::Requeue] {
        let delivery = consuming.one().await;
        consuming.settle(&[delivery], settle).await;
    }
    assert_eq!(consuming.one().await.deliveries, 3);
}

/// What is given back comes before everything that waits.
pub async fn what_goes_back_goes_to_the_head(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    for settle in [Settle::Requeue, Settle::Release] {
        let first = consuming.one().await;
        assert_eq!(id(&first), "a");
        consuming.settle(&[first], settle).await;
    }
    assert_eq!(ids(&consuming.several(3).await), ["a", "b", "c"]);
}

/// What is given back in one call keeps its order.
pub async fn what_goes_back_in_one_call_keeps_its_order(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c", "d"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    for settle in [Settle::Requeue, Settle::Release] {
        let deliveries = consuming.several(4).await;
        assert_eq!(ids(&deliveries), ["a", "b", "c", "d"]);
        consuming.settle(&deliveries, settle).await;
    }
    assert_eq!(ids(&consuming.several(4).await), ["a", "b", "c", "d"]);
}

/// A message goes back to the queue it came from, with its priority.
pub async fn a_message_goes_back_to_its_own_queue(store: &StoreUnderTest) {
    let (left, right) = (queue_of("left"), queue_of("right"));
    store.publish(&left, &["l"]).await;
    store.publish(&right, &["r"]).await;
    let mut consuming = store.consume(&[&left, &right]).await;
    let deliveries = consuming.several(2).await;
    consuming.settle(&deliveries, Settle::Requeue).await;
    assert_eq!(ids(&store.consume(&[&right]).await.several(1).await), ["r"]);
    assert_eq!(ids(&store.consume(&[&left]).await.several(1).await), ["l"]);
}

/// A settled delivery is lost to whoever settles it again, in a later call or the same.
pub async fn a_delivery_settles_once(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let deliveries = consuming.several(2).await;
    consuming.ack(&deliveries[0]).await;
    for settle in [Settle::Ack, Settle::Requeue, Settle::Release] {
        assert_eq!(consuming.finish(settling(deliveries[0].tag, settle)).await, Settled::Lost);
    }
    let twice =
        vec![settling(deliveries[1].tag, Settle::Requeue), settling(deliveries[1].tag, Settle::Requeue)];
    assert_eq!(consuming.settler.finish(twice).await.unwrap(), [Settled::Done, Settled::Lost]);
    assert_eq!(store.stats(&queue()).await.ready, 1, "only what was requeued, once");
}

/// Every finish has its answer, in order, and one that is lost does not touch the others.
pub async fn each_finish_of_a_call_is_answered(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let tags: Vec<_> = consuming.several(3).await.iter().map(|delivery| delivery.tag).collect();
    let never = DeliveryTag(u64::MAX >> 1);
    let finishes = [tags[2], never, tags[0], tags[2], tags[1]].map(|tag| settling(tag, Settle::Ack)).to_vec();
    let answers = consuming.settler.finish(finishes).await.unwrap();
    assert_eq!(answers, [Settled::Done, Settled::Lost, Settled::Done, Settled::Lost, Settled::Done]);
    assert_eq!(consuming.settler.finish(Vec::new()).await.unwrap(), []);
}

/// Closing gives back what is unsettled, as if it had never been delivered, and nothing else.
pub async fn closing_gives_everything_back(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c", "d"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let deliveries = consuming.several(3).await;
    consuming.ack(&deliveries[1]).await;
    consuming.settler.close().await.unwrap();

    let again = store.consume(&[&queue()]).await.several(3).await;
    if store.capabilities().returns_to_head {
        assert_eq!(ids(&again), ["a", "c", "d"]);
    }
    if store.capabilities().counts_deliveries {
        assert!(again.iter().all(|delivery| delivery.deliveries == 1 && !delivery.redelivered));
    }
}

/// A message that a closing consumer gives back wakes one that waits.
pub async fn closing_wakes_who_waits(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut closing = store.consume(&[&queue()]).await;
    closing.one().await;
    let mut waiting = store.consume(&[&queue()]).await;
    let mut fetch = std::pin::pin!(waiting.fetch(1));
    store.keeps_waiting("a fetch of a lent message", &mut fetch).await;
    closing.settler.close().await.unwrap();
    assert_eq!(ids(&fetch.await), ["a"]);
}

/// Closing again does nothing, and what is finished afterwards is lost.
pub async fn a_closed_consumer_has_no_deliveries(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.settler.close().await.unwrap();
    consuming.settler.close().await.unwrap();
    assert_eq!(consuming.finish(settling(delivery.tag, Settle::Ack)).await, Settled::Lost);
    consuming.lease.renew().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 1);
}

/// What is settled as failed leaves its queue for the failed tasks.
pub async fn a_failed_message_moves_to_the_failed_tasks(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.fail(&delivery, "unknown-task").await;
    assert_eq!(store.failed().list(10).await.unwrap().len(), 1);
    let failed = store.failed().get(&celeriac_protocol::TaskId::new("a")).await.unwrap().unwrap();
    assert_eq!(failed.message, Some(delivery.message));
    assert!(failed.failed_at >= START);
    assert_eq!(store.stats(&queue()).await.ready, 0);
}
