//! Claims whose answers, or which themselves, the network loses or holds back.

use std::time::Duration;

use celeriac_faults::{Proxy, Server, Weather};
use celeriac_protocol::TaskId;

use super::desk::{DEADLINE, call, consume, done, fetch, ids, open, patiently, publish, queue, soon};
use crate::{Finish, Revocation, Settled};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_claim_whose_answer_is_cut_anywhere_loses_nothing() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    for round in 0..12 {
        let store = open(&proxy.url()).await;
        publish(&store, &["a", "b", "c"]).await;
        let mut subscription = consume(&store, LEASE).await;
        // The answer has about 1,500 bytes.
        let limit = if round == 0 { 0 } else { random.u64(0..1500) };
        proxy.weather(Weather::AnswersEnd(limit));
        let deliveries = soon("the claim", fetch(&mut subscription)).await;
        assert_eq!(ids(&deliveries), ["a", "b", "c"], "cut after {limit} bytes");
        assert!(deliveries.iter().all(|delivery| delivery.deliveries == 1), "cut after {limit} bytes");
        proxy.weather(Weather::Fair);
        let settled = subscription.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
        assert_eq!(settled, [Settled::Done; 3], "cut after {limit} bytes");
        subscription.settler.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_taken_arrives_also_if_what_must_be_asked_of_it_is_not_answered() {
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    let near = open(&server.url(0)).await;
    let revocation =
        |id: &str| Revocation { task_id: TaskId::new(id), terminate: false, expires_after: LEASE };
    near.revocations().revoke(vec![revocation("b")]).await.unwrap();
    let store = open(&proxy.url()).await;
    // What is no message goes to the failed tasks, and revocations are asked for, each with an answer of a few bytes
    // after that of the claim, which has about 1,000.
    for limit in (600..1400).step_by(6) {
        publish(&near, &["a", "b"]).await;
        redis::cmd("LPUSH").arg("tasks").arg("{").exec(&mut server.connection()).unwrap();
        let mut subscription = consume(&store, LEASE).await;
        proxy.weather(Weather::AnswersEnd(limit));
        let deliveries = soon("the claim", fetch(&mut subscription)).await;
        proxy.weather(Weather::Fair);
        assert_eq!(ids(&deliveries), ["a", "b"], "cut after {limit} bytes");
        assert_ne!(deliveries[1].revoked, Some(false), "cut after {limit} bytes");
        let finishes = deliveries.iter().map(done).collect();
        assert_eq!(patiently(|| store.finish(&*subscription.settler, Vec::clone(&finishes))).await.len(), 2);
        // The next claim does what the last could not.
        publish(&near, &["c"]).await;
        let next = soon("the next claim", fetch(&mut subscription)).await;
        assert_eq!(ids(&next), ["c"]);
        let finished = subscription.settler.finish(vec![done(&next[0])]).await.unwrap();
        assert_eq!(finished, [Settled::Done]);
        let lent: u64 = redis::cmd("HLEN").arg("unacked").query(&mut server.connection()).unwrap();
        assert_eq!(lent, 0, "cut after {limit} bytes");
        subscription.settler.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_claim_that_comes_late_takes_nothing() {
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    let store = open(&proxy.url()).await;
    let mut subscription = consume(&store, LEASE).await;
    publish(&store, &["a", "b", "c"]).await;
    let before = claims(&server);
    proxy.weather(Weather::Slow(DEADLINE * 2));
    // Given up when its time is over, but still on its way.
    let error = subscription.consumer.fetch(2).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    let deliveries = fetch(&mut subscription).await;
    assert_eq!(ids(&deliveries), ["a", "b", "c"]);
    publish(&store, &["d", "e"]).await;
    soon("the late claim", async {
        while claims(&server) < before + 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let waiting: u64 = redis::cmd("LLEN").arg("tasks").query(&mut server.connection()).unwrap();
    assert_eq!(waiting, 2);
    assert_eq!(ids(&fetch(&mut subscription).await), ["d", "e"]);
}

/// How many claims the server has seen.
fn claims(server: &Server) -> u64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query(&mut server.connection()).unwrap();
    let calls = info.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.and_then(|calls| calls.split(',').next()).map_or(0, |calls| calls.parse().unwrap())
}

#[tokio::test]
async fn a_finish_whose_answer_was_lost_is_done_and_not_done_twice() {
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    let near = open(&server.url(0)).await;
    let store = open(&proxy.url()).await;
    let mut subscription = consume(&store, LEASE).await;
    publish(&near, &["a", "b"]).await;
    let deliveries = soon("the claim", fetch(&mut subscription)).await;
    let finish = |delivery| Finish { follow_ups: vec![call("next")], ..done(delivery) };
    let finishes: Vec<Finish> = deliveries.iter().map(finish).collect();
    proxy.weather(Weather::AnswersEnd(0));
    subscription.settler.finish(finishes.clone()).await.unwrap_err();
    proxy.weather(Weather::Fair);
    let settled = patiently(|| subscription.settler.finish(finishes.clone())).await;
    assert_eq!(settled, [Settled::Done; 2]);
    assert_eq!(near.broker().queues(&[queue()]).await.unwrap()[0].ready, 2, "each was followed by one");
}

#[tokio::test]
async fn a_finish_whose_answer_was_lost_is_lost_if_somebody_else_has_the_delivery_since() {
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    let near = open(&server.url(0)).await;
    let store = open(&proxy.url()).await;
    let mut slow = consume(&store, Duration::from_millis(300)).await;
    publish(&near, &["a"]).await;
    let first = soon("the claim", fetch(&mut slow)).await;
    // Nothing arrives at the server, until somebody else has waited for the end of the lease.
    proxy.weather(Weather::BlackHole);
    slow.settler.finish(vec![done(&first[0])]).await.unwrap_err();
    let mut other = consume(&near, LEASE).await;
    let second = soon("the redelivery", fetch(&mut other)).await;
    assert_eq!(ids(&second), ["a"]);
    proxy.weather(Weather::Fair);
    let settled = patiently(|| slow.settler.finish(vec![done(&first[0])])).await;
    assert_eq!(settled, [Settled::Lost]);
    assert_eq!(other.settler.finish(vec![done(&second[0])]).await.unwrap(), [Settled::Done]);
}
