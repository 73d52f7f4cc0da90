//! What a lease promises to its holder and to everybody else.

use std::time::Duration;

use celeriac_protocol::State;

use super::StoreUnderTest;
use super::consuming::{id, ids, settling};
use super::subject::{LEASE, MOMENT, consume_options, message, publish, queue, queue_of, result};
use crate::{ConsumeOptions, Finish, Settle, Settled};

/// A lease tells its length, so that a worker knows when to renew.
pub async fn a_lease_tells_its_length(store: &StoreUnderTest) {
    assert_eq!(store.consume(&[&queue()]).await.lease.length(), LEASE);
}

/// A consumer that renews keeps its deliveries for as long as it likes.
pub async fn a_renewed_delivery_stays_ours(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut holder = store.consume(&[&queue()]).await;
    let delivery = holder.one().await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    let mut fetch = std::pin::pin!(other.fetch(1));
    for _ in 0..9 {
        store.advance(LEASE / 3).await;
        holder.lease.renew().await.unwrap();
        store.keeps_waiting("a fetch of a renewed delivery", &mut fetch).await;
    }
    holder.ack(&delivery).await;
}

/// A consumer that falls silent loses its deliveries to one that waits, and they count.
pub async fn an_abandoned_delivery_wakes_who_waits(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut silent = store.consume(&[&queue()]).await;
    silent.one().await;
    let mut waiting = store.consume_patiently(&[&queue()]).await;
    let mut fetch = std::pin::pin!(waiting.fetch(1));
    store.keeps_waiting("a fetch of a lent message", &mut fetch).await;
    store.advance(LEASE + MOMENT).await;
    let again = fetch.await.remove(0);
    assert_eq!((id(&again), again.redelivered), ("a", true));
    assert_eq!(again.deliveries, 2);
}

/// What a consumer had that is gone without a word comes back after its lease, to whoever fetches next.
pub async fn a_dropped_consumers_deliveries_come_back(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut gone = store.consume(&[&queue()]).await;
    gone.several(2).await;
    drop(gone);
    store.advance(LEASE + MOMENT).await;
    let mut other = store.consume(&[&queue()]).await;
    assert_eq!(ids(&other.several(2).await), ["a", "b"]);
}

/// Abandoned deliveries go back before everything that waits.
pub async fn abandoned_deliveries_go_to_the_head(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut silent = store.consume(&[&queue()]).await;
    silent.several(2).await;
    store.publish(&queue(), &["c"]).await;
    store.advance(LEASE + MOMENT).await;
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(3).await), ["a", "b", "c"]);
}

/// Nobody else gets a delivery before its lease has run out.
pub async fn a_delivery_is_ours_for_a_whole_lease(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut holder = store.consume(&[&queue()]).await;
    let delivery = holder.one().await;
    store.advance(LEASE - 5 * MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    store.keeps_waiting("a fetch of a lent message", &mut std::pin::pin!(other.fetch(1))).await;
    holder.ack(&delivery).await;
}

/// The lease of a delivery counts from its own fetch, however old the consumer is.
pub async fn a_lease_counts_from_the_fetch(store: &StoreUnderTest) {
    let mut holder = store.consume(&[&queue()]).await;
    store.advance(LEASE - 5 * MOMENT).await;
    store.publish(&queue(), &["a"]).await;
    let delivery = holder.one().await;
    store.advance(LEASE - 5 * MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    store.keeps_waiting("a fetch of a lent message", &mut std::pin::pin!(other.fetch(1))).await;
    holder.ack(&delivery).await;
}

/// A finish that comes after somebody else got the delivery is lost, whole.
pub async fn a_finish_after_the_lease_is_lost(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut late = store.consume(&[&queue()]).await;
    let delivery = late.one().await;
    store.advance(LEASE + MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    let theirs = other.one().await;

    let finish = Finish {
        result: Some(result("a", State::Success)),
        follow_ups: vec![publish(&queue_of("next"), message("never"))],
        ..settling(delivery.tag, Settle::Ack)
    };
    assert_eq!(late.finish(finish).await, Settled::Lost);
    assert_eq!(late.finish(settling(delivery.tag, Settle::Requeue)).await, Settled::Lost);
    assert_eq!(store.state_of("a").await, None);
    assert_eq!(store.stats(&queue_of("next")).await.ready, 0);
    other.ack(&theirs).await;
}

/// Renewing too late brings nothing back: the delivery is somebody else's.
pub async fn renewing_too_late_keeps_nothing(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut late = store.consume(&[&queue()]).await;
    let delivery = late.one().await;
    store.advance(LEASE + MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    let theirs = other.one().await;
    late.lease.renew().await.unwrap();
    assert_eq!(late.finish(settling(delivery.tag, Settle::Ack)).await, Settled::Lost);
    other.ack(&theirs).await;
}

/// A consumer that fell silent and lost everything may go on: what it fetches then is leased anew.
pub async fn a_consumer_may_come_back_from_silence(store: &StoreUnderTest) {
    let mut silent = store.consume(&[&queue()]).await;
    store.advance(LEASE * 3).await;
    store.publish(&queue(), &["a"]).await;
    // Others that look now find it gone.
    store.consume_patiently(&[&queue_of("other")]).await.lease.renew().await.unwrap();
    let delivery = silent.one().await;
    store.advance(LEASE / 3).await;
    silent.lease.renew().await.unwrap();
    store.advance(LEASE - 5 * MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    store.keeps_waiting("a fetch of a lent message", &mut std::pin::pin!(other.fetch(1))).await;
    silent.ack(&delivery).await;
}

/// Whoever renews gives back what others abandoned, though nobody fetches.
pub async fn renewing_gives_back_what_others_abandoned(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut silent = store.consume(&[&queue()]).await;
    silent.one().await;
    let other = store.consume_patiently(&[&queue_of("other")]).await;
    store.advance(LEASE + MOMENT).await;
    other.lease.renew().await.unwrap();
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.lent.unwrap_or(0)), (1, 0));
}

/// Renewing with nothing in hand is no error, on every kind of lease.
pub async fn renewing_nothing_does_nothing(store: &StoreUnderTest) {
    let consuming = store.consume(&[&queue()]).await;
    consuming.lease.renew().await.unwrap();
    consuming.lease.renew().await.unwrap();
}

/// A consumer that held all it may and lost it has room again.
pub async fn losing_deliveries_makes_room(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut silent = store.consume_at_most(1, &[&queue()]).await;
    let lost = silent.one().await;
    store.advance(LEASE + MOMENT).await;
    let mut other = store.consume_patiently(&[&queue()]).await;
    let theirs = other.one().await;
    silent.lease.renew().await.unwrap();
    store.publish(&queue(), &["b"]).await;
    let found = silent.one().await;
    assert_eq!(id(&found), "b");
    assert_eq!(silent.finish(settling(lost.tag, Settle::Ack)).await, Settled::Lost);
    silent.ack(&found).await;
    other.ack(&theirs).await;
}

/// Losing a delivery whose task had started counts again and again, until somebody settles it.
pub async fn every_lost_start_counts(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    for time in 1..=4 {
        let mut consuming = store.consume(&[&queue()]).await;
        let delivery = consuming.one().await;
        assert_eq!(
            delivery.deliveries,
            if store.capabilities().counts_deliveries { time } else { time.min(2) }
        );
        consuming.start(&delivery).await;
        store.advance(LEASE + MOMENT).await;
    }
}

/// The first delivery counts when it is lost, whether or not anybody said that its task starts.
pub async fn a_lost_first_delivery_counts_either_way(store: &StoreUnderTest) {
    store.publish(&queue(), &["started", "waited"]).await;
    let mut silent = store.consume(&[&queue()]).await;
    let first = silent.several(2).await;
    silent.start(&first[0]).await;
    store.advance(LEASE + MOMENT).await;
    let again = store.consume(&[&queue()]).await.several(2).await;
    assert!(again.iter().all(|delivery| delivery.deliveries == 2), "{again:?}");
}

/// A message that waits in one consumer after another, all of which die, is not counted up by that.
pub async fn a_lost_redelivery_that_did_not_start_does_not_count(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    for deliveries in [1, 2, 2, 2] {
        let delivery = store.consume(&[&queue()]).await.one().await;
        assert_eq!((delivery.deliveries, delivery.redelivered), (deliveries, deliveries > 1));
        store.advance(LEASE + MOMENT).await;
    }
}

/// A start is one of its own delivery: it says nothing of the next one.
pub async fn a_start_counts_once(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut counts = Vec::new();
    for time in 0..4 {
        let mut consuming = store.consume(&[&queue()]).await;
        let delivery = consuming.one().await;
        counts.push(delivery.deliveries);
        if time == 1 {
            consuming.start(&delivery).await;
        }
        store.advance(LEASE + MOMENT).await;
    }
    assert_eq!(counts, if store.capabilities().counts_deliveries { [1, 2, 3, 3] } else { [1, 2, 2, 2] });
}

/// Saying that a delivery starts that was lost says nothing of the next one; nor does it of one that is settled.
pub async fn starting_what_is_not_ours_does_nothing(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut late = store.consume(&[&queue()]).await;
    let lost = late.one().await;
    store.advance(LEASE + MOMENT).await;
    store.consume(&[&queue()]).await.one().await;
    late.start(&lost).await;
    store.advance(LEASE + MOMENT).await;
    let mut last = store.consume(&[&queue()]).await;
    let again = last.one().await;
    assert_eq!(again.deliveries, 2, "nobody started the second delivery");
    last.ack(&again).await;
    last.start(&again).await;
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// A lease may be so long that it never ends.
pub async fn a_lease_may_be_endless(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let endless = ConsumeOptions { lease: Duration::MAX, ..consume_options(&[&queue()]) };
    let mut consuming = store.consume_with(endless).await;
    let delivery = consuming.one().await;
    consuming.lease.renew().await.unwrap();
    store.advance(LEASE * 1000).await;
    store.consume_patiently(&[&queue()]).await.lease.renew().await.unwrap();
    consuming.ack(&delivery).await;
}
