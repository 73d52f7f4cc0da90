//! Servers that forget their scripts, stop for a while, or start again.

use std::time::{Duration, Instant};

use celeriac_faults::Server;
use celeriac_protocol::TaskId;

use super::desk::{DEADLINE, call, consume, done, fetch, ids, open, patiently, publish, soon};
use crate::{Binding, Error, ExchangeType, Settled};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_server_that_forgets_its_scripts_is_told_them_again() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let mut subscription = consume(&store, LEASE).await;
    let forget = || redis::cmd("SCRIPT").arg("FLUSH").exec(&mut server.connection()).unwrap();
    publish(&store, &["a"]).await;
    forget();
    let deliveries = subscription.consumer.fetch(1).await.unwrap();
    assert_eq!(ids(&deliveries), ["a"]);
    forget();
    subscription.lease.renew().await.unwrap();
    forget();
    let settled = subscription.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
}

#[tokio::test]
async fn a_durable_server_starts_again_with_what_waits_and_what_is_lent() {
    let mut server = Server::durable();
    let store = open(&server.url(0)).await;
    let mut subscription = consume(&store, LEASE).await;
    publish(&store, &["a", "b", "c"]).await;
    let first = subscription.consumer.fetch(1).await.unwrap();
    server.kill();
    let error = store.broker().publish(vec![call("x")].into()).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    server.start_again();
    let second = soon("the fetch", fetch(&mut subscription)).await;
    assert_eq!(ids(&second), ["b", "c"]);
    let all: Vec<_> = first.iter().chain(&second).map(done).collect();
    assert_eq!(subscription.settler.finish(all).await.unwrap(), [Settled::Done; 3]);
}

#[tokio::test]
async fn what_a_worker_held_that_died_with_the_server_comes_back() {
    let mut server = Server::durable();
    let store = open(&server.url(0)).await;
    let mut dead = consume(&store, Duration::from_secs(2)).await;
    publish(&store, &["a"]).await;
    assert_eq!(ids(&dead.consumer.fetch(1).await.unwrap()), ["a"]);
    server.kill();
    drop((dead, store));
    server.start_again();
    let store = soon("the server", patiently(|| open_again(&server))).await;
    let mut subscription = consume(&store, LEASE).await;
    let deliveries = soon("the redelivery", fetch(&mut subscription)).await;
    assert_eq!((ids(&deliveries), deliveries[0].deliveries), (vec!["a"], 2));
}

async fn open_again(server: &Server) -> crate::Result<crate::Store> {
    crate::connect(&server.url(0), &super::desk::options()).await
}

#[tokio::test]
async fn a_server_that_stops_for_a_while_holds_nobody_up_for_longer() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let mut subscription = consume(&store, LEASE).await;
    let waiting = tokio::spawn(async move { fetch(&mut subscription).await.len() });
    server.pause();
    let began = Instant::now();
    let error = store.results().get(&[TaskId::new("r")]).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    assert!(error.is_transient(), "{error}");
    server.go_on();
    soon("publishing", patiently(|| store.broker().publish(vec![call("a")].into()))).await;
    assert_eq!(soon("the fetch", waiting).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_whose_memory_is_full_says_so_and_is_worked_off_all_the_same() {
    let server = Server::with(&["--save", "", "--maxmemory", "3mb", "--maxmemory-policy", "noeviction"]);
    let store = open(&server.url(0)).await;
    let mut subscription = consume(&store, LEASE).await;
    let large = |number: usize| {
        let mut publish = call(&number.to_string());
        publish.message.body = vec![b' '; 20_000].into();
        publish
    };
    let mut published = 0;
    let error = loop {
        match store.broker().publish(vec![large(published)].into()).await {
            Ok(()) => published += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert!(published > 10, "only {published} messages fit");
    while published > 0 {
        let deliveries = soon("the fetch", subscription.consumer.fetch(3)).await.unwrap();
        subscription.lease.renew().await.unwrap();
        published -= deliveries.len();
        let settled = subscription.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Done), "{settled:?}");
    }
    store.broker().publish(vec![large(0)].into()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_write_for_now_is_tried_again() {
    let server = Server::with(&["--save", "", "--min-replicas-to-write", "1"]);
    let store = open(&server.url(0)).await;
    let error = store.broker().publish(vec![call("a")].into()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("NOREPLICAS"), "{error}");
}

#[tokio::test]
async fn queues_are_known_again_after_the_server_has_lost_everything() {
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let feeds = Binding {
        queue: "tasks".into(),
        exchange: "feeds".into(),
        exchange_type: ExchangeType::Topic,
        routing_key: "feed.#".into(),
    };
    store.broker().bind(&[feeds]).await.unwrap();
    let subscription = consume(&store, Duration::from_secs(60)).await;
    let mut connection = server.connection();
    redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
    subscription.lease.renew().await.unwrap();
    soon("the declaration", async {
        while store.broker().queues(&[]).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let bound: Vec<String> =
        redis::cmd("SMEMBERS").arg("_kombu.binding.tasks").query(&mut connection).unwrap();
    assert_eq!(bound, ["tasks\x06\x16\x06\x16tasks"]);
    let feeds = "_kombu.binding.feeds";
    soon("the binding", async {
        while !redis::cmd("EXISTS").arg(feeds).query::<bool>(&mut connection).unwrap() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    for key in [feeds, "_kombu.binding_permanent.feeds"] {
        let bound: Vec<String> = redis::cmd("SMEMBERS").arg(key).query(&mut connection).unwrap();
        assert_eq!(bound, ["feed.#\x06\x16^feed\\..*?$\x06\x16tasks"]);
    }
}
