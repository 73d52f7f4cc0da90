//! Replies to Celery's control clients, and what becomes of them.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::Message;

use super::desk::open;

const EXCHANGE: &str = "reply.celery.pidbox";
const EXPIRES: Duration = Duration::from_secs(10);

/// Binds a queue as kombu does.
fn bind(server: &Server, key: &str, queue: &str) {
    let member = format!("{key}\x06\x16\x06\x16{queue}");
    let bindings = format!("_kombu.binding.{EXCHANGE}");
    redis::cmd("SADD").arg(bindings).arg(member).exec(&mut server.connection()).unwrap();
}

fn waiting(server: &Server, queue: &str) -> (usize, i64) {
    let mut connection = server.connection();
    let length = redis::cmd("LLEN").arg(queue).query(&mut connection).unwrap();
    (length, redis::cmd("PTTL").arg(queue).query(&mut connection).unwrap())
}

#[tokio::test]
async fn a_reply_waits_where_its_key_is_bound_and_not_for_ever() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let broadcasts = store.broadcasts();
    bind(&server, "me", "me.reply.celery.pidbox");
    bind(&server, "mean", "other");
    bind(&server, "own", "my.queue");
    for (key, queue) in [("me", "me.reply.celery.pidbox"), ("own", "my.queue")] {
        for count in 1..3 {
            assert!(broadcasts.reply(EXCHANGE, key, Message::default(), EXPIRES).await.unwrap());
            let (length, expiry) = waiting(&server, queue);
            assert!(length == count && (1..=10_000).contains(&expiry), "{length} {expiry}");
        }
    }
    assert!(!broadcasts.reply(EXCHANGE, "mea", Message::default(), EXPIRES).await.unwrap());
    assert_eq!(waiting(&server, "other").0, 0);
}

#[tokio::test]
async fn the_expiry_that_a_client_has_set_is_kept() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    bind(&server, "me", "mine");
    let mut connection = server.connection();
    redis::cmd("LPUSH").arg("mine").arg("earlier").exec(&mut connection).unwrap();
    redis::cmd("PEXPIRE").arg("mine").arg(60_000).exec(&mut connection).unwrap();
    store.broadcasts().reply(EXCHANGE, "me", Message::default(), EXPIRES).await.unwrap();
    let (length, expiry) = waiting(&server, "mine");
    assert!(length == 2 && expiry > 10_000, "{length} {expiry}");
}

/// What somebody who was killed has left of a mailbox goes when the next one is opened; mailboxes of kombu stay.
#[tokio::test]
async fn mailboxes_leave_nothing_behind() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let broadcasts = store.broadcasts();
    bind(&server, "kombu", "kombu.reply.celery.pidbox");
    let killed = "celeriac.1700000000.0123456789abcdef";
    bind(&server, killed, &format!("{killed}.{EXCHANGE}"));
    // As a stock worker replies: without an expiry.
    redis::cmd("LPUSH")
        .arg(format!("{killed}.{EXCHANGE}"))
        .arg("late")
        .exec(&mut server.connection())
        .unwrap();
    let mailbox = broadcasts.await_replies(EXCHANGE, EXPIRES).await.unwrap();
    let key = mailbox.routing_key().to_owned();
    assert!(broadcasts.reply(EXCHANGE, &key, Message::default(), EXPIRES).await.unwrap());
    assert_eq!(waiting(&server, &format!("{key}.{EXCHANGE}")).0, 1);
    mailbox.close().await.unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut server.connection()).unwrap();
    keys.retain(|key| !key.starts_with("celeriac:"));
    assert_eq!(keys, [format!("_kombu.binding.{EXCHANGE}")]);
    let bound: Vec<String> = redis::cmd("SMEMBERS")
        .arg(format!("_kombu.binding.{EXCHANGE}"))
        .query(&mut server.connection())
        .unwrap();
    assert_eq!(bound, ["kombu\x06\x16\x06\x16kombu.reply.celery.pidbox"]);
}

/// A reply that waits for long stays there for as long as its mailbox is open, and not for ever.
#[tokio::test]
async fn replies_wait_as_long_as_their_mailbox_is_open() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let broadcasts = store.broadcasts();
    let mut mailbox = broadcasts.await_replies(EXCHANGE, EXPIRES * 60).await.unwrap();
    let key = mailbox.routing_key().to_owned();
    broadcasts.reply(EXCHANGE, &key, Message::default(), EXPIRES).await.unwrap();
    mailbox.next().await.unwrap();
    let (length, expiry) = waiting(&server, &format!("{key}.{EXCHANGE}"));
    assert!(length == 1 && (10_001..=600_000).contains(&expiry), "{length} {expiry}");
}
