//! What revocations promise.

use celeriac_protocol::Message;

use super::StoreUnderTest;
use super::consuming::ids;
use super::subject::{
    LEASE, MOMENT, message, message_with_priority, publish, queue, revocation, task_ids, within,
};
use crate::{Publish, Revocation, Settle};

/// Whoever asks learns which tasks are revoked, in the order asked, from everywhere.
pub async fn a_revoked_task_is_known_to_all(store: &StoreUnderTest) {
    store.revocations().revoke(vec![revocation("a"), revocation("b")]).await.unwrap();
    let elsewhere = store.elsewhere().await;
    let asked = task_ids(&["b", "other", "a"]);
    assert_eq!(elsewhere.revocations().revoked(&asked).await.unwrap(), task_ids(&["b", "a"]));
    assert_eq!(store.revocations().revoked(&[]).await.unwrap(), []);
}

/// Whoever asks learns all that is revoked, what is remembered longest first, and no more than was asked for.
pub async fn revocations_are_listed_while_they_count(store: &StoreUnderTest) {
    let long = Revocation { expires_after: LEASE * 100_000, ..revocation("long") };
    let short = Revocation { expires_after: LEASE, ..revocation("short") };
    let uuid = "0b1c8f4e-8d6e-4b0e-9c3a-3f1f0a5d7e21";
    store.revocations().revoke(vec![short, long, revocation(uuid)]).await.unwrap();
    let elsewhere = store.elsewhere().await;
    assert_eq!(elsewhere.revocations().list(9).await.unwrap(), task_ids(&["long", uuid, "short"]));
    assert_eq!(store.revocations().list(2).await.unwrap(), task_ids(&["long", uuid]));
    assert_eq!(store.revocations().list(0).await.unwrap(), []);
    store.advance(LEASE + MOMENT).await;
    assert_eq!(store.revocations().list(9).await.unwrap(), task_ids(&["long", uuid]));
}

/// A task may be revoked before it is sent; then its message comes marked.
pub async fn a_task_revoked_before_it_is_sent_comes_marked(store: &StoreUnderTest) {
    store.revocations().revoke(vec![revocation("revoked")]).await.unwrap();
    store.publish(&queue(), &["revoked", "fine"]).await;
    let deliveries = store.consume(&[&queue()]).await.several(2).await;
    let marks: Vec<_> = deliveries.iter().map(|delivery| delivery.revoked).collect();
    let checks = store.capabilities().fetch_checks_revocations;
    assert_eq!(marks, if checks { [Some(true), Some(false)] } else { [None, None] });
    let revoked = store.revocations().revoked(&task_ids(&["revoked", "fine"])).await.unwrap();
    assert_eq!(revoked, task_ids(&["revoked"]));
}

/// A task revoked while a worker has it comes marked when it comes again.
pub async fn a_task_revoked_while_lent_comes_again_marked(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    let removed = store.revocations().revoke(vec![revocation("a")]).await.unwrap();
    assert_eq!(removed, [], "what is lent is not removed");
    consuming.settle(&[delivery], Settle::Requeue).await;
    assert_eq!(consuming.one().await.revoked, Some(true));
}

/// What waits or is scheduled of a revoked task is gone at once, and the answer names just those tasks.
pub async fn a_revoked_task_leaves_its_queue_and_the_schedule(store: &StoreUnderTest) {
    store.publish(&queue(), &["waiting", "kept"]).await;
    store.publish_for(store.after(LEASE), &queue(), "scheduled").await;
    let revocations = ["scheduled", "unknown", "waiting"].map(revocation).to_vec();
    let mut removed = store.revocations().revoke(revocations).await.unwrap();
    removed.sort_unstable();
    assert_eq!(removed, task_ids(&["scheduled", "waiting"]));

    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.scheduled), (1, Some(0)));
    assert_eq!(ids(&store.consume(&[&queue()]).await.several(1).await), ["kept"]);
}

/// Whoever revokes again learns again which tasks left their queues: the first answer may be lost. That is forgotten
/// with the revocation.
pub async fn revoking_again_answers_the_same(store: &StoreUnderTest) {
    store.publish_for(store.after(LEASE), &queue(), "scheduled").await;
    let both = || ["scheduled", "unknown"].map(revocation).to_vec();
    for _ in 0..3 {
        assert_eq!(store.revocations().revoke(both()).await.unwrap(), task_ids(&["scheduled"]));
    }
    assert_eq!(store.revocations().revoke(Vec::new()).await.unwrap(), []);
    store.advance(revocation("a").expires_after + MOMENT).await;
    assert_eq!(store.revocations().revoke(both()).await.unwrap(), []);
}

/// A watch tells every revocation made since its start, from wherever, and none made before.
pub async fn a_watch_tells_what_is_revoked_from_its_start_on(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    elsewhere.revocations().revoke(vec![revocation("before")]).await.unwrap();
    let mut watch = store.revocations().watch().await.unwrap();
    let terminate = Revocation { terminate: true, ..revocation("b") };
    elsewhere.revocations().revoke(vec![revocation("a"), terminate.clone()]).await.unwrap();
    store.revocations().revoke(vec![revocation("c")]).await.unwrap();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(within("a revocation", watch.next()).await.unwrap());
    }
    let told: Vec<_> = told.iter().map(|told| (told.task_id.as_str(), told.terminate)).collect();
    assert_eq!(told, [("a", false), ("b", true), ("c", false)]);
}

/// A waiting watch is woken by a revocation from elsewhere.
pub async fn a_revocation_wakes_a_watch(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut watch = store.revocations().watch().await.unwrap();
    let mut next = std::pin::pin!(watch.next());
    store.keeps_waiting("a watch of nothing", &mut next).await;
    elsewhere.revocations().revoke(vec![revocation("a")]).await.unwrap();
    assert_eq!(within("the revocation", next).await.unwrap()[0].task_id.as_str(), "a");
}

/// Dropping the wait for a revocation loses none.
pub async fn a_watch_may_be_interrupted(store: &StoreUnderTest) {
    let mut watch = store.revocations().watch().await.unwrap();
    store.keeps_waiting("a watch of nothing", &mut std::pin::pin!(watch.next())).await;
    store.revocations().revoke(vec![revocation("a")]).await.unwrap();
    let mut told = Vec::new();
    within("the revocation", async {
        for polls in 0.. {
            let interrupt = async {
                for _ in 0..polls {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                revocations = watch.next() => {
                    told.extend(revocations.unwrap());
                    break;
                }
                () = interrupt => {}
            }
        }
    })
    .await;
    assert_eq!(told.len(), 1);
}

/// Every watch is told.
pub async fn every_watch_is_told(store: &StoreUnderTest) {
    let elsewhere = store.elsewhere().await;
    let mut watches = Vec::new();
    for watching in [store.store(), store.store(), &elsewhere] {
        watches.push(watching.revocations().watch().await.unwrap());
    }
    store.revocations().revoke(vec![revocation("a")]).await.unwrap();
    for watch in &mut watches {
        assert_eq!(within("the revocation", watch.next()).await.unwrap().len(), 1);
    }
}

/// A revocation is remembered as long as was asked; then the task may run.
pub async fn a_revocation_expires(store: &StoreUnderTest) {
    let short = Revocation { expires_after: LEASE, ..revocation("short") };
    store.revocations().revoke(vec![short, revocation("long")]).await.unwrap();
    store.advance(LEASE + MOMENT).await;
    let asked = task_ids(&["short", "long"]);
    assert_eq!(store.revocations().revoked(&asked).await.unwrap(), task_ids(&["long"]));
    let batch = ["short", "long"].map(|id| publish(&queue(), message(id))).to_vec();
    store.broker().publish(batch.into()).await.unwrap();
    if store.capabilities().fetch_checks_revocations {
        let deliveries = store.consume(&[&queue()]).await.several(2).await;
        assert_eq!((deliveries[0].revoked, deliveries[1].revoked), (Some(false), Some(true)));
    }
}

/// All messages of a revoked task go, and naming it twice names it once.
pub async fn every_message_of_a_revoked_task_goes(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "a", "b"]).await;
    store.publish_for(store.after(LEASE), &queue(), "a").await;
    let removed = store.revocations().revoke(vec![revocation("a"), revocation("a")]).await.unwrap();
    assert_eq!(removed, task_ids(&["a"]));
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.scheduled), (1, Some(0)));
}

/// A message that was given back before its task was revoked is removed like any other.
pub async fn a_released_message_of_a_revoked_task_goes(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue()]).await;
    let delivery = consuming.one().await;
    consuming.settle(&[delivery], Settle::Requeue).await;
    assert_eq!(store.revocations().revoke(vec![revocation("a")]).await.unwrap(), task_ids(&["a"]));
    assert_eq!(store.stats(&queue()).await.ready, 0);
}

/// A revocation may be remembered for ever.
pub async fn a_revocation_may_be_endless(store: &StoreUnderTest) {
    let endless = Revocation { expires_after: std::time::Duration::MAX, ..revocation("a") };
    store.revocations().revoke(vec![endless]).await.unwrap();
    store.advance(LEASE * 100_000).await;
    assert_eq!(store.revocations().revoked(&task_ids(&["a"])).await.unwrap(), task_ids(&["a"]));
}

/// A message that calls a task with a callback.
fn linked(id: &str) -> Message {
    let body =
        br#"[[], {}, {"callbacks": [{"task": "next"}], "errbacks": null, "chain": null, "chord": null}]"#;
    Message { body: body[..].into(), ..message(id) }
}

/// A scheduled task for which others wait is not removed when it is revoked: it comes at once, and marked.
pub async fn a_revoked_member_of_a_workflow_leaves_the_schedule_for_a_worker(store: &StoreUnderTest) {
    let later = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), linked("scheduled")) };
    store.broker().publish(vec![later].into()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.revocations().revoke(vec![revocation("scheduled")]).await.unwrap(), []);
    }
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.scheduled), (1, Some(0)));
    let delivery = store.consume(&[&queue()]).await.one().await;
    assert_eq!((super::consuming::id(&delivery), delivery.revoked), ("scheduled", Some(true)));
}

/// A waiting task for which others wait is not removed when it is revoked: it comes before everything else, and marked.
pub async fn a_revoked_member_of_a_workflow_comes_first(store: &StoreUnderTest) {
    store.broker().publish(vec![publish(&queue(), message_with_priority("urgent", 9))].into()).await.unwrap();
    store.publish(&queue(), &["plain", "late"]).await;
    let later = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), linked("scheduled")) };
    let waiting = publish(&queue(), linked("waiting"));
    store.broker().publish(vec![later, waiting].into()).await.unwrap();
    let revoked = ["waiting", "plain", "scheduled"];
    for _ in 0..2 {
        let gone = store.revocations().revoke(revoked.map(revocation).to_vec()).await.unwrap();
        assert_eq!(gone, task_ids(&["plain"]), "what was taken to a worker is not gone");
    }
    let mut consuming = store.consume(&[&queue()]).await;
    let first = consuming.several(2).await;
    let mut names = ids(&first);
    names.sort_unstable();
    assert_eq!(names, ["scheduled", "waiting"]);
    assert_eq!([first[0].revoked, first[1].revoked], [Some(true); 2]);
    // What was moved is nobody else's: all the others come, once.
    let rest = consuming.several(2).await;
    assert_eq!(ids(&rest), ["urgent", "late"]);
    consuming.settle(&first, Settle::Requeue).await;
    assert_eq!(consuming.several(2).await.len(), 2);
}
