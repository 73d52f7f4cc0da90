//! Keys of ours that somebody else has put something into.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::QueueName;

use super::desk::{call, call_on, consume, consuming, done, fetch, ids, member, open, publish, queue};
use crate::clock::Clock;
use crate::{ConsumeOptions, Counted, Finish, NewChord, Settle, Settled, Store};

const LEASE: Duration = Duration::from_secs(60);

/// A server, a store on it, and keys that hold text.
async fn place(texts: &[&str]) -> (Server, Store) {
    let server = Server::start();
    for key in texts {
        redis::cmd("SET").arg(key).arg("text").exec(&mut server.connection()).unwrap();
    }
    let store = open(&server.url(0)).await;
    (server, store)
}

fn remove(server: &Server, key: &str) {
    redis::cmd("DEL").arg(key).exec(&mut server.connection()).unwrap();
}

#[tokio::test]
async fn a_queue_that_is_no_list_holds_up_no_other() {
    let (_server, store) = place(&["spoilt"]).await;
    publish(&store, &["a", "b"]).await;
    let queues = vec![queue(), QueueName::new("spoilt")];
    let options = ConsumeOptions { queues, ..consuming(LEASE) };
    let mut subscription = store.broker().consume(options).await.unwrap();
    assert_eq!(ids(&subscription.consumer.fetch(10).await.unwrap()), ["a", "b"]);
    let error = subscription.consumer.fetch(10).await.unwrap_err().to_string();
    assert!(error.contains("WRONGTYPE"), "{error}");
}

#[tokio::test]
async fn a_fetch_that_fails_takes_nothing() {
    for key in ["unacked", "unacked_index"] {
        let (server, store) = place(&[key]).await;
        publish(&store, &["a", "b"]).await;
        let mut subscription = consume(&store, LEASE).await;
        subscription.consumer.fetch(10).await.unwrap_err();
        remove(&server, key);
        assert_eq!(ids(&fetch(&mut subscription).await), ["a", "b"], "{key}");
    }
}

#[tokio::test]
async fn a_result_takes_the_place_of_what_is_none() {
    let (server, store) = place(&[]).await;
    redis::cmd("LPUSH").arg("celery-task-meta-a").arg("x").exec(&mut server.connection()).unwrap();
    publish(&store, &["a", "b"]).await;
    let mut subscription = consume(&store, LEASE).await;
    let deliveries = fetch(&mut subscription).await;
    let settled = subscription.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done; 2]);
    let found = store.results().get(&["a".into(), "b".into()]).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_finish_whose_follow_up_has_no_place_changes_nothing() {
    let (server, store) = place(&["spoilt"]).await;
    publish(&store, &["a", "b"]).await;
    let mut subscription = consume(&store, LEASE).await;
    let deliveries = fetch(&mut subscription).await;
    let next = call_on(&QueueName::new("spoilt"), "next");
    let finishes =
        || vec![done(&deliveries[0]), Finish { follow_ups: vec![next.clone()], ..done(&deliveries[1]) }];
    let error = subscription.settler.finish(finishes()).await.unwrap_err().to_string();
    assert!(error.contains("the key spoilt is a string"), "{error}");
    remove(&server, "spoilt");
    assert_eq!(subscription.settler.finish(finishes()).await.unwrap(), [Settled::Done; 2]);
}

#[tokio::test]
async fn what_cannot_go_back_stays_lent() {
    let (server, store) = place(&[]).await;
    publish(&store, &["a"]).await;
    let mut subscription = consume(&store, LEASE).await;
    let deliveries = fetch(&mut subscription).await;
    redis::cmd("SET").arg("tasks").arg("text").exec(&mut server.connection()).unwrap();
    let back = Finish { settle: Settle::Requeue, result: None, ..done(&deliveries[0]) };
    subscription.settler.finish(vec![back.clone()]).await.unwrap_err();
    remove(&server, "tasks");
    assert_eq!(subscription.settler.finish(vec![back]).await.unwrap(), [Settled::Done]);
    assert_eq!(ids(&fetch(&mut subscription).await), ["a"]);
}

#[tokio::test]
async fn what_is_due_for_no_list_is_kept_and_holds_up_nobody() {
    let server = Server::start();
    let options = super::desk::options();
    let store = super::desk::open_with(&server.url(0), &options).await;
    let spoilt = QueueName::new("spoilt");
    let due = Clock::system().now().saturating_add(Duration::from_millis(100));
    let later = crate::Publish { due: Some(due), ..call_on(&spoilt, "later") };
    store.broker().publish(vec![later, crate::Publish { due: Some(due), ..call("b") }].into()).await.unwrap();
    redis::cmd("SET").arg("spoilt").arg("text").exec(&mut server.connection()).unwrap();
    let mut subscription = consume(&store, LEASE).await;
    assert_eq!(ids(&fetch(&mut subscription).await), ["b"]);
    let scheduled = store.schedule().scheduled(10).await.unwrap();
    assert_eq!(scheduled.len(), 1);
    assert_eq!(scheduled[0].message.headers.id.as_ref().unwrap().as_str(), "later");
}

#[tokio::test]
async fn a_chord_in_keys_of_another_kind_counts_nothing_and_holds_up_no_other() {
    for ending in [".j", ".d"] {
        let (server, store) = place(&[]).await;
        let begins = |id: &str| NewChord { id: id.into(), size: 2, expires_after: LEASE };
        store.groups().begin(vec![begins("spoilt"), begins("fine")]).await.unwrap();
        let spoilt = format!("celery-taskset-meta-spoilt{ending}");
        redis::cmd("SET").arg(&spoilt).arg("text").exec(&mut server.connection()).unwrap();
        let parts = ["spoilt", "fine"].map(|chord| member(chord, "a", 0));
        let counted = store.groups().count(parts.to_vec()).await.unwrap();
        assert_eq!(counted, [Counted::Over, Counted::Open], "{ending}");
    }
}
