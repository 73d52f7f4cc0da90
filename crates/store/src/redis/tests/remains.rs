//! What workers and clients leave behind that are killed: nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::{GroupId, State, Timestamp, Value};

use super::desk::{call_on, consuming, ids, member, open_with, options, publish, queue};
use crate::clock::Clock;
use crate::{ChordPart, ConnectOptions, Finish, NewChord, Publication, SavedGroup, Settle};

const LEASE: Duration = Duration::from_secs(30);
const KILLED: usize = 1_000;

fn keys(server: &Server) -> BTreeSet<String> {
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut server.connection()).unwrap();
    keys.into_iter().collect()
}

fn expires(server: &Server, key: &str) -> bool {
    let left: i64 = redis::cmd("PTTL").arg(key).query(&mut server.connection()).unwrap();
    left > 0
}

#[tokio::test]
async fn a_thousand_killed_workers_leave_only_what_expires() {
    let server = Server::start();
    let (clock, hand) = Clock::with_hand(Timestamp::from_micros(1_800_000_000_000_000));
    let store = open_with(&server.url(0), &ConnectOptions { clock, ..options() }).await;
    let mut witness = store.broker().consume(consuming(LEASE * 1000)).await.unwrap();
    publish(&store, &["before"]).await;
    let first = witness.consumer.fetch(1).await.unwrap();
    let before = keys(&server);

    let names: Vec<String> = (0..KILLED).map(|number| number.to_string()).collect();
    for id in &names {
        publish(&store, &[id]).await;
        // Dropped without a word, with what it took, as a process is that is killed.
        let mut killed = store.broker().consume(consuming(LEASE)).await.unwrap();
        assert_eq!(ids(&killed.consumer.fetch(1).await.unwrap()), [id]);
    }
    hand.advance(LEASE * 2);
    let mut came_back = 0;
    while came_back < KILLED {
        let deliveries = witness.consumer.fetch(100).await.unwrap();
        came_back += deliveries.len();
        let done = |delivery: &crate::Delivery| Finish {
            delivery: Some(delivery.tag),
            settle: Settle::Ack,
            result: None,
            follow_ups: Vec::new(),
            workflow: None,
        };
        witness.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
    }
    let mut left = keys(&server);
    // What went back from each is known for a while.
    left.retain(|key| !(key.contains(":returned:") && expires(&server, key)));
    assert_eq!(left, before);
    drop(first);
    assert_eq!(store.broker().queues(&[queue()]).await.unwrap()[0].consumers, 1);
}

#[tokio::test]
async fn clients_that_only_send_and_wait_leave_the_keys_of_their_queue() {
    let server = Server::start();
    let store = open_with(&server.url(0), &options()).await;
    store.broker().publish(vec![call_on(&queue(), "a")].into()).await.unwrap();
    let before = keys(&server);
    for number in 0..20 {
        let client = open_with(&server.url(0), &options()).await;
        let ids = [celeriac_protocol::TaskId::new(format!("nobody {number}"))];
        let wait = tokio::time::timeout(Duration::from_millis(5), client.results().wait(&ids));
        assert!(wait.await.is_err(), "nobody stores this result");
        assert_eq!(client.presence().workers(Duration::ZERO).await.unwrap(), []);
    }
    let mut after = keys(&server);
    // One counter of questions for all clients.
    after.remove("celeriac:{tasks}:asked");
    assert_eq!(after, before);
}

/// Chords that are completed, that fail, and whose members never report: all that is left of them expires.
#[tokio::test]
async fn a_thousand_chords_leave_only_what_expires() {
    let server = Server::start();
    let store = open_with(&server.url(0), &options()).await;
    let before = keys(&server);
    for number in 0..KILLED {
        let name = number.to_string();
        let id: GroupId = name.as_str().into();
        let begins = NewChord { id: id.clone(), size: 3, expires_after: LEASE };
        let saved = SavedGroup { id: id.clone(), result: Value::Null, expires_after: LEASE };
        let publication = Publication { chords: vec![begins], groups: vec![saved], ..Publication::default() };
        // A stock producer would say the size after the first report.
        let (first, rest) = (member(&name, "a", 0), ["b", "c"].map(|id| member(&name, id, 1)));
        store.groups().count(vec![first]).await.unwrap();
        store.broker().publish(publication).await.unwrap();
        match number % 4 {
            0 => store.groups().count(rest.to_vec()).await.unwrap(),
            1 => store.groups().count(rest.map(failed).to_vec()).await.unwrap(),
            2 => {
                store.groups().extend(vec![(id, 1)]).await.unwrap();
                store.groups().count(rest.to_vec()).await.unwrap()
            }
            _ => Vec::new(),
        };
    }
    // One that nobody knows is extended, as a member does that is faster than its sender.
    store.groups().extend(vec![("nobody".into(), 1)]).await.unwrap();
    let left = keys(&server);
    assert!(left.len() > before.len() + KILLED);
    for key in left.difference(&before) {
        assert!(expires(&server, key), "{key} does not expire");
    }
}

fn failed(part: ChordPart) -> ChordPart {
    ChordPart { state: State::Failure, ..part }
}
