//! What a finish with a result and follow-ups promises.

use celeriac_protocol::{ResultRecord, State, TaskId, Value};

use super::StoreUnderTest;
use super::consuming::{ids, settling};
use super::subject::{
    LEASE, LIMIT, MOMENT, message, oversized_message, publish, queue, queue_of, record, result, within,
};
use crate::{ConnectOptions, Delivery, Error, Finish, Publish, Settle, Settled, StoreResult, connect};

/// The end of a task that returned and called another.
fn success(delivery: &Delivery, follow_up: &str) -> Finish {
    Finish {
        result: Some(result(ids(std::slice::from_ref(delivery))[0], State::Success)),
        follow_ups: vec![publish(&queue_of("next"), message(follow_up))],
        ..settling(delivery.tag, Settle::Ack)
    }
}

/// A finish stores the result, publishes what follows and settles.
pub async fn a_finish_does_all_its_parts(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    assert_eq!(consuming.finish(success(&delivery, "after a")).await, Settled::Done);
    assert_eq!(store.state_of("a").await, Some(State::Success));
    assert_eq!(ids(&store.consume(&[&queue_of("next")]).await.several(1).await), ["after a"]);
    consuming.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// Whoever sees the result of a finish sees all of it.
pub async fn a_finish_becomes_visible_at_once(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut consuming = store.consume(&[&queue()]).await;
    for n in 0..20 {
        let id = format!("{n}");
        store.publish(&queue(), &[&id]).await;
        let delivery = consuming.one().await;
        let (settler, finish) = (consuming.settler.clone(), success(&delivery, "next"));
        let finished = tokio::spawn(async move { settler.finish(vec![finish]).await });
        within("the result", elsewhere.results().wait(&[TaskId::new(&id)])).await.unwrap();
        assert_eq!(store.stats(&queue_of("next")).await.ready, n + 1);
        assert_eq!(store.stats(&queue()).await.lent.unwrap_or(0), 0);
        assert_eq!(finished.await.unwrap().unwrap(), [Settled::Done]);
    }
}

/// A finish of what is settled already repeats nothing: the caller may try again after an error.
pub async fn nothing_of_a_lost_finish_takes_effect(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.ack(&delivery).await;
    assert_eq!(consuming.finish(success(&delivery, "never")).await, Settled::Lost);
    let failing = settling(delivery.tag, Settle::Fail(super::subject::reason("late")));
    assert_eq!(consuming.finish(failing).await, Settled::Lost);
    assert_eq!(store.state_of("a").await, None);
    assert_eq!(store.stats(&queue_of("next")).await.ready, 0);
    assert_eq!(store.failed().list(1).await.unwrap(), []);
}

/// What was acknowledged early ends by a finish without a delivery, after its consumer has closed too.
pub async fn a_finish_without_a_delivery_takes_effect(store: &StoreUnderTest) {
    let consuming = store.consume(&[&queue()]).await;
    let early = |id: &str| Finish {
        delivery: None,
        settle: Settle::Ack,
        result: Some(result(id, State::Success)),
        follow_ups: vec![publish(&queue_of("next"), message(id))],
        workflow: None,
    };
    assert_eq!(consuming.finish(early("open")).await, Settled::Done);
    consuming.settler.close().await.unwrap();
    assert_eq!(consuming.finish(early("closed")).await, Settled::Done);
    assert_eq!(store.state_of("open").await, Some(State::Success));
    assert_eq!(store.state_of("closed").await, Some(State::Success));
    assert_eq!(ids(&store.consume(&[&queue_of("next")]).await.several(2).await), ["open", "closed"]);
}

/// One follow-up over the limit, and no finish of that call has any effect.
pub async fn a_follow_up_over_the_limit_finishes_nothing(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let deliveries = consuming.several(2).await;
    let good = success(&deliveries[0], "next");
    let mut bad = success(&deliveries[1], "next");
    bad.follow_ups.push(publish(&queue(), oversized_message("large")));
    let refused = consuming.settler.finish(vec![good.clone(), bad]).await;
    assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
    assert_eq!((store.state_of("a").await, store.state_of("b").await), (None, None));
    assert_eq!(store.stats(&queue_of("next")).await.ready, 0);
    assert_eq!(consuming.finish(good).await, Settled::Done, "the delivery is still ours");
}

/// One result over the limit, and no finish of that call has any effect.
pub async fn a_result_over_the_limit_finishes_nothing(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    let large =
        ResultRecord { result: Value::String("x".repeat(LIMIT + 1).into()), ..record("a", State::Success) };
    let large = StoreResult::new(large, LEASE);
    let refused =
        consuming.settler.finish(vec![Finish { result: Some(large), ..success(&delivery, "next") }]).await;
    match refused {
        Err(Error::TooLarge { what, .. }) => assert!(what.contains('a'), "{what:?} names the task"),
        other => panic!("a result over the limit: {other:?}"),
    }
    assert_eq!(store.state_of("a").await, None);
    assert_eq!(consuming.finish(success(&delivery, "next")).await, Settled::Done);
}

/// A retry is a follow-up with a time: it comes then and not before.
pub async fn a_follow_up_may_be_for_later(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let delivery = consuming.one().await;
    let retry = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), message("retry")) };
    let finish = Finish { follow_ups: vec![retry], ..settling(delivery.tag, Settle::Ack) };
    assert_eq!(consuming.finish(finish).await, Settled::Done);
    let mut fetch = std::pin::pin!(consuming.fetch(1));
    store.keeps_waiting("a fetch of a retry for later", &mut fetch).await;
    store.advance(LEASE + MOMENT).await;
    assert_eq!(ids(&fetch.await), ["retry"]);
}

/// A thousand outcomes in one call are as good as a thousand calls.
pub async fn one_call_finishes_many(store: &StoreUnderTest) {
    const MANY: usize = 1000;
    let names: Vec<String> = (0..MANY).map(|n| format!("{n:04}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    store.publish(&queue(), &names).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let deliveries = consuming.several(MANY).await;
    let finishes = deliveries.iter().map(|delivery| success(delivery, "next")).collect();
    assert_eq!(consuming.settler.finish(finishes).await.unwrap(), vec![Settled::Done; MANY]);
    let records = store.results().get(&super::subject::task_ids(&names)).await.unwrap();
    assert!(records.iter().flatten().map(|record| record.task_id.as_str()).eq(names));
    assert_eq!(store.stats(&queue_of("next")).await.ready, MANY as u64);
}

/// Follow-ups of one finish keep their order.
pub async fn follow_ups_keep_their_order(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    let follow_ups = ["1", "2", "3"].map(|id| publish(&queue(), message(id))).to_vec();
    let finish = Finish { follow_ups, ..settling(delivery.tag, Settle::Ack) };
    assert_eq!(consuming.finish(finish).await, Settled::Done);
    assert_eq!(ids(&consuming.several(3).await), ["1", "2", "3"]);
}

/// Retries keep their task id: the message is replaced by one for later, and nothing is taken for the other.
pub async fn a_retry_replaces_its_message(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    for retry in 0..3 {
        let delivery = consuming.one().await;
        assert_eq!((delivery.message.headers.retries, delivery.deliveries), (retry, 1));
        let mut message = delivery.message.clone();
        message.headers.retries += 1;
        let again = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), message) };
        let finish = Finish {
            result: Some(result("a", State::Retry)),
            follow_ups: vec![again],
            ..settling(delivery.tag, Settle::Ack)
        };
        assert_eq!(consuming.finish(finish).await, Settled::Done);
        store.advance(LEASE + MOMENT).await;
    }
}

/// With results in another store, a finish brings each part to its place.
pub async fn results_may_be_kept_in_another_store(store: &StoreUnderTest) {
    let other = connect(&format!("memory://{}", TaskId::fresh()), &ConnectOptions::default()).await.unwrap();
    let both = store.store().clone().with_results(&other);
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    let finishes = vec![success(&delivery, "next")];
    assert_eq!(both.finish(&*consuming.settler, finishes).await.unwrap(), [Settled::Done]);
    let elsewhere = other.results().get(&[TaskId::new("a")]).await.unwrap();
    assert_eq!(elsewhere[0].as_ref().map(|record| &record.state), Some(&State::Success));
    assert_eq!(store.state_of("a").await, None);
    assert_eq!(ids(&store.consume(&[&queue_of("next")]).await.several(1).await), ["next"]);
}
