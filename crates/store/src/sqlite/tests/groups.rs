//! How operations share transactions, and how they wait for other processes.

use std::time::Duration;

use super::{Folder, publish, publish_many, queue};
use crate::{Broker, ConnectOptions, Error};

#[tokio::test]
async fn an_operation_that_fails_does_not_fail_its_neighbours() {
    let folder = Folder::new();
    let server = folder.server(&ConnectOptions::default()).await.unwrap();
    // While a stranger holds the write lock, these three gather into one group.
    let stranger = folder.plain();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writer = server.shared.writer.clone();
    let broken = writer.call("break", |tx| tx.connection.execute("INSERT INTO no_such_table VALUES (1)", []));
    let one = vec![publish("one")];
    let two = vec![publish("two")];
    let release = async {
        // The three have been handed over by the time this is polled.
        stranger.execute_batch("COMMIT").unwrap();
    };
    let (first, broken, second, ()) =
        tokio::join!(server.publish(one.into()), broken, server.publish(two.into()), release);
    assert!(first.is_ok() && second.is_ok(), "{first:?} {second:?}");
    assert!(matches!(broken, Err(Error::Failed { .. })), "{broken:?}");
    assert_eq!(server.queues(&[queue()]).await.unwrap()[0].ready, 2);
}

#[tokio::test]
async fn a_lock_that_is_held_too_long_is_a_timeout_and_changes_nothing() {
    let folder = Folder::new();
    let options = ConnectOptions { deadline: Duration::from_millis(200), ..ConnectOptions::default() };
    let store = folder.open(&options).await;
    let stranger = folder.plain();
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.broker().publish(vec![publish("a")].into()).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { operation: "publish", .. }) && error.is_transient(), "{error}");
    stranger.execute_batch("COMMIT").unwrap();
    store.broker().publish(vec![publish("b")].into()).await.unwrap();
    assert_eq!(store.broker().queues(&[queue()]).await.unwrap()[0].ready, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_on_one_file_all_get_their_turn() {
    let folder = Folder::new();
    let mut writers = Vec::new();
    for writer in 0..4 {
        let store = folder.open(&ConnectOptions::default()).await;
        writers.push(tokio::spawn(async move {
            for round in 0..50 {
                store.broker().publish(publish_many(&format!("{writer}-{round}"), 10).into()).await.unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let store = folder.open(&ConnectOptions::default()).await;
    assert_eq!(store.broker().queues(&[queue()]).await.unwrap()[0].ready, 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_together_on_a_new_file_all_open_it() {
    let folder = std::sync::Arc::new(Folder::new());
    let openers = (0..8).map(|_| {
        let folder = folder.clone();
        tokio::spawn(async move { folder.server(&ConnectOptions::default()).await.map(drop) })
    });
    for opener in openers.collect::<Vec<_>>() {
        opener.await.unwrap().unwrap();
    }
}
