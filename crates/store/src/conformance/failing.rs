//! What the keeper of failed tasks promises.

use celeriac_protocol::{State, TaskId};

use super::StoreUnderTest;
use super::consuming::ids;
use super::subject::{
    LEASE, MOMENT, message, message_with_priority, publish, queue, queue_of, reason, record, result, task_ids,
};
use crate::{ConnectOptions, Settle, connect};

/// Publishes, fetches and fails these tasks, one after the other.
async fn fail(store: &StoreUnderTest, tasks: &[&str]) {
    let mut consuming = store.consume(&[&queue()]).await;
    for task in tasks {
        store.publish(&queue(), &[task]).await;
        let delivery = consuming.one().await;
        consuming.fail(&delivery, "unknown-task").await;
    }
    consuming.settler.close().await.unwrap();
}

/// A failed task is kept with its message as it came, the reason and the count.
pub async fn a_failed_task_is_kept_unharmed(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let first = consuming.one().await;
    consuming.settle(&[first], Settle::Requeue).await;
    let delivery = consuming.one().await;
    let before = store.now();
    consuming.fail(&delivery, "delivery-limit").await;

    let failed = store.failed().get(&TaskId::new("a")).await.unwrap().expect("the failed task is kept");
    assert_eq!((failed.task_id.as_str(), &failed.queue, failed.deliveries), ("a", &queue(), 2));
    assert_eq!(failed.reason, reason("delivery-limit"));
    assert_eq!((failed.message, failed.undecodable), (Some(delivery.message), None));
    assert!(failed.failed_at >= before);
    assert_eq!(store.state_of("a").await, Some(State::Failure));
}

/// The list begins with the latest and is as long as was asked.
pub async fn failed_tasks_are_listed_latest_first(store: &StoreUnderTest) {
    fail(store, &["first", "second"]).await;
    store.advance(MOMENT).await;
    fail(store, &["third"]).await;
    let listed =
        |failed: Vec<crate::FailedTask>| failed.into_iter().map(|task| task.task_id).collect::<Vec<_>>();
    assert_eq!(listed(store.failed().list(10).await.unwrap()), task_ids(&["third", "second", "first"]));
    assert_eq!(listed(store.failed().list(2).await.unwrap()), task_ids(&["third", "second"]));
}

/// A list leaves out what may be large and says how large it is.
pub async fn a_list_of_failed_tasks_comes_without_bodies(store: &StoreUnderTest) {
    store.publish_undecodable(&queue(), b"{").await;
    fail(store, &["a"]).await;
    let listed = store.failed().list(10).await.unwrap();
    for task in &listed {
        let whole = store.failed().get(&task.task_id).await.unwrap().expect("the failed task is kept");
        let body = whole.message.as_ref().map_or(0, |message| message.body.len());
        let bytes = whole.undecodable.as_ref().map_or(0, Vec::len);
        assert!(whole.size > 0 && whole.size == body + bytes, "{whole:?}");
        assert_eq!(*task, whole.without_bytes());
    }
    assert_eq!(listed.len(), 2);
}

/// A failed task is found by its id, and only if there is one.
pub async fn a_failed_task_is_found_by_its_id(store: &StoreUnderTest) {
    fail(store, &["a", "b"]).await;
    let found = store.failed().get(&TaskId::new("b")).await.unwrap();
    assert_eq!(found.map(|task| task.task_id), Some(TaskId::new("b")));
    assert_eq!(store.failed().get(&TaskId::new("c")).await.unwrap(), None);
}

/// A requeued task starts anew in its queue: no deliveries, no result, not failed.
pub async fn a_requeued_failed_task_starts_anew(store: &StoreUnderTest) {
    fail(store, &["a", "b"]).await;
    let requeued = store.failed().requeue(&task_ids(&["a", "unknown"])).await.unwrap();
    assert_eq!(requeued, 1);
    assert_eq!((store.state_of("a").await, store.state_of("b").await), (None, Some(State::Failure)));
    let left = store.failed().list(10).await.unwrap();
    assert_eq!(left.iter().map(|task| task.task_id.as_str()).collect::<Vec<_>>(), ["b"]);

    let deliveries = store.consume(&[&queue()]).await.several(1).await;
    assert_eq!(ids(&deliveries), ["a"]);
    assert_eq!(deliveries[0].message, message("a"));
    assert_eq!((deliveries[0].deliveries, deliveries[0].redelivered), (1, false));
    assert_eq!(store.failed().requeue(&task_ids(&["a"])).await.unwrap(), 0);
}

/// Requeueing wakes who waits for the queue.
pub async fn requeueing_wakes_who_waits(store: &StoreUnderTest) {
    fail(store, &["a"]).await;
    let mut waiting = store.consume(&[&queue()]).await;
    let mut fetch = std::pin::pin!(waiting.fetch(1));
    store.keeps_waiting("a fetch of a failed task", &mut fetch).await;
    store.failed().requeue(&task_ids(&["a"])).await.unwrap();
    assert_eq!(ids(&fetch.await), ["a"]);
}

/// A dropped task is gone for good.
pub async fn a_dropped_failed_task_is_gone(store: &StoreUnderTest) {
    fail(store, &["a", "b"]).await;
    assert_eq!(store.failed().drop_failed(&task_ids(&["a", "unknown"])).await.unwrap(), 1);
    assert_eq!(store.failed().get(&TaskId::new("a")).await.unwrap(), None);
    assert_eq!(store.failed().list(10).await.unwrap().len(), 1);
    assert_eq!(store.failed().requeue(&task_ids(&["a"])).await.unwrap(), 0);
}

/// A task that fails again is kept once, as it failed last.
pub async fn a_task_that_fails_again_is_kept_once(store: &StoreUnderTest) {
    fail(store, &["a", "b"]).await;
    store.publish(&queue_of("other"), &["a"]).await;
    let mut consuming = store.consume(&[&queue_of("other")]).await;
    let again = consuming.one().await;
    consuming.fail(&again, "again").await;
    let failed = store.failed().list(10).await.unwrap();
    let codes: Vec<_> = failed.iter().map(|task| (task.task_id.as_str(), &*task.reason.code)).collect();
    assert_eq!(codes, [("a", "again"), ("b", "unknown-task")]);
}

/// A message without an id fails under an id that the store makes up, and can be requeued by it.
pub async fn a_failed_message_without_an_id_gets_one(store: &StoreUnderTest) {
    let mut nameless = message("x");
    nameless.headers.id = None;
    store.broker().publish(vec![publish(&queue(), nameless.clone())].into()).await.unwrap();
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.fail(&delivery, "no-id").await;
    let failed = store.failed().list(1).await.unwrap().remove(0);
    assert!(!failed.task_id.as_str().is_empty());
    assert_eq!(store.failed().requeue(&[failed.task_id]).await.unwrap(), 1);
    assert_eq!(consuming.one().await.message, nameless);
}

/// Bytes that are not a message cannot be requeued, only dropped.
pub async fn undecodable_bytes_can_only_be_dropped(store: &StoreUnderTest) {
    store.publish_undecodable(&queue(), b"{").await;
    store.publish(&queue(), &["good"]).await;
    store.consume(&[&queue()]).await.one().await;
    let failed = store.failed().list(1).await.unwrap().remove(0);
    let id = [failed.task_id.clone()];
    assert_eq!(store.failed().requeue(&id).await.unwrap(), 0);
    assert_eq!(store.failed().get(&id[0]).await.unwrap().unwrap().undecodable, Some(b"{".to_vec()));
    assert_eq!(store.failed().drop_failed(&id).await.unwrap(), 1);
}

/// Failed tasks are kept until somebody decides, whatever their results do.
pub async fn failed_tasks_do_not_expire(store: &StoreUnderTest) {
    fail(store, &["a"]).await;
    store.advance(LEASE * 1000).await;
    assert_eq!(store.state_of("a").await, None);
    assert_eq!(store.failed().list(10).await.unwrap().len(), 1);
}

/// Whoever asks for all gets all, and who asks for none gets none; an id named twice is one task.
pub async fn failed_tasks_are_counted_once(store: &StoreUnderTest) {
    fail(store, &["a", "b", "c"]).await;
    assert_eq!(store.failed().list(usize::MAX).await.unwrap().len(), 3);
    assert_eq!(store.failed().list(0).await.unwrap(), []);
    assert_eq!(store.failed().requeue(&task_ids(&["a", "a"])).await.unwrap(), 1);
    assert_eq!(store.failed().drop_failed(&task_ids(&["b", "b"])).await.unwrap(), 1);
    assert_eq!(store.stats(&queue()).await.ready, 1);
    assert_eq!(store.failed().list(usize::MAX).await.unwrap().len(), 1);
}

/// A requeued task goes back with its priority.
pub async fn a_requeued_failed_task_keeps_its_priority(store: &StoreUnderTest) {
    let high = publish(&queue(), message_with_priority("high", 9));
    store.broker().publish(vec![high].into()).await.unwrap();
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.fail(&delivery, "unknown-task").await;
    store.broker().publish(vec![publish(&queue(), message_with_priority("low", 0))].into()).await.unwrap();
    store.failed().requeue(&task_ids(&["high"])).await.unwrap();
    let first = consuming.one().await;
    assert_eq!(first.message.headers.id == Some(TaskId::new("high")), store.capabilities().priorities > 1);
}

/// A requeued task has no old result, in whichever store results are kept.
pub async fn requeueing_forgets_results_kept_elsewhere(store: &StoreUnderTest) {
    let other = connect(&format!("memory://{}", TaskId::fresh()), &ConnectOptions::default()).await.unwrap();
    let both = store.store().clone().with_results(&other);
    fail(store, &["failed"]).await;
    let results = ["failed", "other"].map(|id| result(id, State::Failure)).to_vec();
    both.results().store(results).await.unwrap();
    assert_eq!(both.requeue_failed(&task_ids(&["failed", "other"])).await.unwrap(), 1);
    let left = other.results().get(&task_ids(&["failed", "other"])).await.unwrap();
    assert_eq!(left, [None, Some(record("other", State::Failure))]);
    assert_eq!(store.stats(&queue()).await.ready, 1);
}
