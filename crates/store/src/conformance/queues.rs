//! What is promised of the numbers about queues, of purging them, and of finding messages in them.

use std::collections::HashSet;

use celeriac_protocol::Headers;

use super::StoreUnderTest;
use super::consuming::ids;
use super::subject::{
    LEASE, MOMENT, consume_options, message, message_with_priority, publish, queue, queue_of, task_ids,
};
use crate::{
    Binding, ExchangeType, Located, Location, Publish, QueueStats, Search, Settle, Sighting, Sought,
};

fn empty(name: &str) -> QueueStats {
    QueueStats { queue: queue_of(name), ready: 0, scheduled: Some(0), lent: Some(0), consumers: 0 }
}

/// The numbers with zeros where the server cannot tell.
fn told(stats: QueueStats) -> QueueStats {
    QueueStats { scheduled: stats.scheduled.or(Some(0)), lent: stats.lent.or(Some(0)), ..stats }
}

/// A queue tells what waits, what is scheduled, what is lent and who consumes.
pub async fn a_queue_tells_its_numbers(store: &StoreUnderTest) {
    store.publish(&queue(), &["a", "b", "c", "d"]).await;
    store.publish_for(store.after(LEASE), &queue(), "later").await;
    let mut consuming = store.consume_at_most(3, &[&queue()]).await;
    let deliveries = consuming.several(3).await;
    consuming.ack(&deliveries[0]).await;
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.consumers), (1, 1));
    assert_eq!(stats.scheduled.unwrap_or(1), 1);
    assert_eq!(stats.lent.unwrap_or(2), 2);
    if store.capabilities().schedule_access {
        assert!(stats.scheduled.is_some() && stats.lent.is_some());
    }
}

/// Queues are answered in the order asked, and one that does not exist is empty.
pub async fn queues_are_answered_in_the_order_asked(store: &StoreUnderTest) {
    store.publish(&queue_of("b"), &["1"]).await;
    store.publish(&queue_of("a"), &["2", "3"]).await;
    let names = ["a", "unknown", "b"].map(queue_of);
    let stats: Vec<_> = store.broker().queues(&names).await.unwrap().into_iter().map(told).collect();
    let expected =
        [QueueStats { ready: 2, ..empty("a") }, empty("unknown"), QueueStats { ready: 1, ..empty("b") }];
    assert_eq!(stats, expected);
}

/// What has its turn next can be looked at, of each priority, and stays where it is.
pub async fn what_waits_first_can_be_looked_at(store: &StoreUnderTest) {
    let messages = [("1", 0), ("2", 0), ("3", 9)];
    let messages =
        messages.map(|(id, priority)| publish(&queue_of("a"), message_with_priority(id, priority)));
    store.broker().publish(Vec::from(messages).into()).await.unwrap();
    store.publish_for(store.after(LEASE), &queue_of("b"), "later").await;
    let names = ["a", "unknown", "b"].map(queue_of);
    for _ in 0..2 {
        let firsts = store.broker().first_waiting(&names).await.unwrap();
        let ids = |headers: &[Headers]| headers.iter().filter_map(|it| it.id.clone()).collect::<HashSet<_>>();
        let found: Vec<_> = firsts.iter().map(|headers| ids(headers)).collect();
        assert_eq!(found, [HashSet::from(["1".into(), "3".into()]), HashSet::new(), HashSet::new()]);
    }
}

/// Every queue that somebody published to or consumes from is known, by name.
pub async fn every_known_queue_is_listed(store: &StoreUnderTest) {
    assert_eq!(store.broker().queues(&[]).await.unwrap(), []);
    store.publish(&queue_of("published"), &["a"]).await;
    store.publish_for(store.after(LEASE), &queue_of("for later"), "b").await;
    let consuming = store.consume(&[&queue_of("consumed")]).await;
    let names = |stats: Vec<QueueStats>| stats.into_iter().map(|stats| stats.queue).collect::<Vec<_>>();
    let known = names(store.broker().queues(&[]).await.unwrap());
    assert_eq!(known, ["consumed", "for later", "published"].map(queue_of));
    consuming.settler.close().await.unwrap();
}

/// A queue that was bound is there, and may be bound again, in other ways too.
pub async fn a_queue_that_was_bound_is_there(store: &StoreUnderTest) {
    let binding = |exchange_type| Binding {
        queue: queue(),
        exchange: "feeds".into(),
        exchange_type,
        routing_key: "feed.*".into(),
    };
    let mut bindings = vec![binding(ExchangeType::Direct), binding(ExchangeType::Topic)];
    for _ in 0..2 {
        store.broker().bind(&bindings).await.unwrap();
        let known = store.broker().queues(&[]).await.unwrap();
        assert_eq!(known.into_iter().map(|stats| stats.queue).collect::<Vec<_>>(), [queue()]);
    }
    store.broker().bind(&[]).await.unwrap();
    bindings.push(binding(ExchangeType::Fanout));
    let bound = store.broker().bind(&bindings).await;
    assert_eq!(bound.is_ok(), store.capabilities().fanout_bindings, "{bound:?}");
}

/// A consumer takes from the queues that it was last told to take from, and counts there.
pub async fn a_consumer_takes_from_the_queues_it_was_told_last(store: &StoreUnderTest) {
    let (before, after) = (queue_of("before"), queue_of("after"));
    let mut consuming = store.consume(&[&before]).await;
    store.publish(&before, &["a"]).await;
    let lent = consuming.one().await;
    for queues in [vec![after.clone()], vec![after.clone(), after.clone()]] {
        consuming.consumer.consume_from(queues).await.unwrap();
        store.publish(&before, &["left"]).await;
        store.publish(&after, &["b"]).await;
        let next = consuming.one().await;
        assert_eq!((next.queue.as_str(), super::consuming::id(&next)), ("after", "b"));
        consuming.ack(&next).await;
    }
    let consumers = [store.stats(&before).await.consumers, store.stats(&after).await.consumers];
    assert_eq!(consumers, [0, 1]);
    consuming.ack(&lent).await;
    consuming.consumer.consume_from(vec![before, after]).await.unwrap();
    assert_eq!(ids(&consuming.several(2).await), ["left", "left"]);
}

/// What a consumer has of a queue that it takes from no more is its own, and goes back to that queue.
pub async fn a_delivery_of_a_queue_that_was_left_goes_back_there(store: &StoreUnderTest) {
    let (before, after) = (queue_of("before"), queue_of("after"));
    store.publish(&before, &["a", "b"]).await;
    store.publish(&after, &["c"]).await;
    let mut consuming = store.consume(&[&before]).await;
    let lent = consuming.several(2).await;
    consuming.consumer.consume_from(vec![after.clone()]).await.unwrap();
    let other = consuming.one().await;
    consuming.settle(&lent[..1], Settle::Requeue).await;
    assert_eq!(store.stats(&before).await.ready, 1);
    consuming.settler.close().await.unwrap();
    assert_eq!([store.stats(&before).await.ready, store.stats(&after).await.ready], [2, 1]);
    assert_eq!(ids(&[other]), ["c"]);
}

/// A consumer that was told to take from no queue takes nothing, until it is told otherwise.
pub async fn a_consumer_of_no_queue_waits(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let mut consuming = store.consume(&[&queue_of("other")]).await;
    consuming.consumer.consume_from(Vec::new()).await.unwrap();
    store.keeps_waiting("a consumer of no queue", &mut std::pin::pin!(consuming.consumer.fetch(1))).await;
    consuming.consumer.consume_from(vec![queue()]).await.unwrap();
    assert_eq!(ids(&consuming.several(1).await), ["a"]);
}

/// Only consumers that live count: not those that closed.
pub async fn a_closed_consumer_does_not_count(store: &StoreUnderTest) {
    let first = store.consume(&[&queue()]).await;
    let second = store.consume(&[&queue(), &queue_of("other")]).await;
    assert_eq!(store.stats(&queue()).await.consumers, 2);
    first.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.consumers, 1);
    assert_eq!(store.stats(&queue_of("other")).await.consumers, 1);
    second.settler.close().await.unwrap();
    assert_eq!(store.stats(&queue()).await.consumers, 0);
}

/// Only consumers that live count: not those whose lease ran out.
pub async fn a_silent_consumer_does_not_count(store: &StoreUnderTest) {
    let silent = store.consume(&[&queue()]).await;
    let renewing = store.consume(&[&queue()]).await;
    store.advance(LEASE / 2).await;
    renewing.lease.renew().await.unwrap();
    assert_eq!(store.stats(&queue()).await.consumers, 2);
    store.advance(LEASE / 2 + MOMENT).await;
    assert_eq!(store.stats(&queue()).await.consumers, 1);
    drop(silent);
}

/// Purging removes what waits and is scheduled in that queue, counts it, and leaves what is lent.
pub async fn purging_empties_a_queue_but_keeps_what_is_lent(store: &StoreUnderTest) {
    store.publish(&queue(), &["lent", "a", "b"]).await;
    store.publish(&queue_of("other"), &["kept"]).await;
    store.publish_for(store.after(LEASE), &queue(), "later").await;
    let mut consuming =
        store.consume_with(crate::ConsumeOptions { prefetch: 1, ..consume_options(&[&queue()]) }).await;
    let lent = consuming.one().await;

    let purged = store.broker().purge(&queue()).await.unwrap();
    assert_eq!(purged, if store.capabilities().schedule_access { 3 } else { 2 });
    let stats = store.stats(&queue()).await;
    assert_eq!((stats.ready, stats.lent.unwrap_or(1)), (0, 1));
    consuming.ack(&lent).await;
    assert_eq!(ids(&store.consume(&[&queue_of("other")]).await.several(1).await), ["kept"]);
}

/// An empty or unknown queue has nothing to purge, and does not come to be by it.
pub async fn purging_nothing_removes_nothing(store: &StoreUnderTest) {
    assert_eq!(store.broker().purge(&queue_of("unknown")).await.unwrap(), 0);
    assert_eq!(store.broker().queues(&[]).await.unwrap(), []);
    store.publish(&queue(), &["a"]).await;
    assert_eq!(store.broker().purge(&queue()).await.unwrap(), 1);
    assert_eq!(store.broker().purge(&queue()).await.unwrap(), 0);
}

/// Every name asked is answered, also one asked twice.
pub async fn a_queue_asked_twice_is_answered_twice(store: &StoreUnderTest) {
    store.publish(&queue(), &["a"]).await;
    let stats = store.broker().queues(&[queue(), queue()]).await.unwrap();
    assert_eq!(stats.iter().map(|stats| stats.ready).collect::<Vec<_>>(), [1, 1]);
}

/// A purged queue works on: what is published after comes, and what was lent may come back.
pub async fn a_purged_queue_works_on(store: &StoreUnderTest) {
    store.publish(&queue(), &["lent", "purged"]).await;
    let mut consuming = store.consume_at_most(1, &[&queue()]).await;
    let lent = consuming.one().await;
    store.broker().purge(&queue()).await.unwrap();
    store.publish(&queue(), &["new"]).await;
    consuming.settle(&[lent], Settle::Requeue).await;
    consuming.settler.close().await.unwrap();
    let mut deliveries = store.consume(&[&queue()]).await.several(2).await;
    deliveries.sort_by_key(|delivery| delivery.message.headers.id.clone());
    assert_eq!(ids(&deliveries), ["lent", "new"]);
}

/// The messages of tasks are found wherever they are, in the order asked, and of several the one nearest to its end.
pub async fn messages_are_found_by_their_tasks(store: &StoreUnderTest) {
    store.publish(&queue(), &["lent", "failed"]).await;
    let mut consuming = store.consume_patiently(&[&queue()]).await;
    let taken = consuming.several(2).await;
    consuming.fail(&taken[1], "unknown-task").await;
    store.publish(&queue_of("other"), &["ready", "lent"]).await;
    let due = store.after(LEASE);
    for id in ["scheduled", "ready"] {
        store.publish_for(due, &queue(), id).await;
    }
    let asked = task_ids(&["unknown", "scheduled", "ready", "lent", "failed"]);
    let (law, other) = (queue(), queue_of("other"));
    let places = [
        None,
        Some(Location::Scheduled { queue: law.clone(), due }),
        Some(Location::Ready { queue: other.clone() }),
        Some(Location::Lent { queue: law.clone(), worker: "law@here".to_owned() }),
        Some(Location::Failed { queue: law.clone() }),
    ];
    let elsewhere = store.elsewhere().await;
    let located = |places: Vec<_>| Located { places, is_complete: true };
    assert_eq!(elsewhere.broker().locate(&asked, EFFORT).await.unwrap(), located(places.into()));
    assert_eq!(store.broker().locate(&[], EFFORT).await.unwrap(), located(vec![]));
    store.advance(LEASE + MOMENT).await;
    let found = store.broker().locate(&task_ids(&["scheduled"]), EFFORT).await.unwrap();
    assert_eq!(found, located(vec![Some(Location::Ready { queue: law })]));
}

/// How many messages may be read to find one.
const EFFORT: usize = 1000;

/// A search for tasks brings their messages, with how many are before those that are ready.
pub async fn a_search_for_tasks_brings_their_messages(store: &StoreUnderTest) {
    store.publish(&queue(), &["lent"]).await;
    let mut consuming = store.consume_at_most(1, &[&queue()]).await;
    consuming.one().await;
    store.publish(&queue(), &["first", "second", "third"]).await;
    store.publish_for(store.after(LEASE), &queue(), "later").await;
    let asked = task_ids(&["third", "lent", "later", "unknown"]);
    let search = Search { sought: Sought::Tasks(&asked), limit: 10, effort: EFFORT };
    let seen = store.broker().search(search).await.unwrap();
    let mut found: Vec<_> = seen.found.iter().map(|seen| (id_in(seen), seen.ahead)).collect();
    found.sort_unstable();
    assert_eq!(found, [("later", None), ("lent", None), ("third", Some(2))]);
    assert!(seen.is_complete);
    assert!(seen.found.iter().all(|seen| seen.message.body == message("any").body));
}

/// A text is found in the headers and in the bodies of messages, wherever these are.
pub async fn a_search_for_a_text_brings_the_messages_that_mention_it(store: &StoreUnderTest) {
    let mentioning = |id: &str| {
        let mut message = message(id);
        message.body = r#"[["needle-7"], {}, {}]"#.into();
        message
    };
    let mut in_headers = message("in-headers");
    in_headers.headers.group = Some("needle-7".into());
    let lent = vec![publish(&queue(), mentioning("lent"))];
    store.broker().publish(lent.into()).await.unwrap();
    let mut consuming = store.consume_at_most(1, &[&queue()]).await;
    consuming.one().await;
    let later = Publish { due: Some(store.after(LEASE)), ..publish(&queue(), mentioning("later")) };
    let ready = publish(&queue_of("other"), in_headers);
    store.broker().publish(vec![later, ready].into()).await.unwrap();
    store.publish(&queue(), &["not"]).await;
    let search = Search { sought: Sought::Mention("needle-7"), limit: 3, effort: EFFORT };
    let seen = store.broker().search(search).await.unwrap();
    let mut found: Vec<_> = seen.found.iter().map(id_in).collect();
    found.sort_unstable();
    assert_eq!(found, ["in-headers", "later", "lent"]);
    assert!(seen.is_complete);
    let seen = store.broker().search(Search { limit: 2, ..search }).await.unwrap();
    assert_eq!((seen.found.len(), seen.is_complete), (2, false));
}

/// A search that was given up early says so, unless it has found all the same.
pub async fn a_search_that_did_not_see_everything_says_so(store: &StoreUnderTest) {
    let ids: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    store.publish(&queue(), &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let last = task_ids(&["t19"]);
    for sought in [Sought::Tasks(&last), Sought::Mention("t19")] {
        let seen = store.broker().search(Search { sought, limit: 10, effort: 5 }).await.unwrap();
        assert!(!seen.is_complete || seen.found.len() == 1, "{sought:?}: {seen:?}");
    }
    let located = store.broker().locate(&last, 5).await.unwrap();
    assert_eq!(located.is_complete, located.places[0].is_some());
}

fn id_in(seen: &Sighting) -> &str {
    seen.message.headers.id.as_ref().map_or("", |id| id.as_str())
}
