//! Machines whose clocks differ from the server's.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::{Timestamp, Value};

use super::desk::{call, open, open_with, options, queue};
use crate::clock::Clock;
use crate::{ConnectOptions, ConsumerId, Publish, Store, WorkerRecord};

const HOUR: Duration = Duration::from_secs(3600);

/// A server, and a store of a machine whose clock is an hour behind.
async fn late_machine() -> (Server, Store, Clock) {
    let server = Server::start();
    let an_hour_ago = Clock::system().now().as_micros() - i64::try_from(HOUR.as_micros()).unwrap();
    let clock = Clock::differing(Timestamp::from_micros(an_hour_ago));
    let options = ConnectOptions { clock: clock.clone(), ..options() };
    let store = open_with(&server.url(0), &options).await;
    (server, store, clock)
}

#[tokio::test]
async fn what_a_machine_puts_off_waits_as_long_as_it_says() {
    let (_server, store, clock) = late_machine().await;
    let due = clock.now().saturating_add(HOUR / 2);
    store.broker().publish(vec![Publish { due: Some(due), ..call("later") }].into()).await.unwrap();
    let queues = store.broker().queues(&[queue()]).await.unwrap();
    assert_eq!((queues[0].ready, queues[0].scheduled), (0, Some(1)));
    let due = store.schedule().next_due().await.unwrap().unwrap();
    let wait = due.saturating_since(Clock::system().now());
    assert!(wait <= HOUR / 2 && wait > HOUR / 2 - Duration::from_secs(60), "{wait:?}");
}

#[tokio::test]
async fn a_worker_is_seen_by_machines_with_other_clocks() {
    let (server, store, clock) = late_machine().await;
    let record = WorkerRecord {
        id: ConsumerId("1".to_owned()),
        name: "late".to_owned(),
        announced_at: clock.now(),
        valid_for: Duration::from_secs(30),
        facts: Value::Null,
    };
    store.presence().announce(record).await.unwrap();
    let near = open(&server.url(0)).await;
    assert_eq!(near.presence().workers(Duration::ZERO).await.unwrap().len(), 1);
}
