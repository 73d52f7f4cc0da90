//! Connections that break, or look as if they had not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_faults::{Ending, Proxy, Server, Weather};
use tokio::task::JoinHandle;

use super::desk::{
    DEADLINE, SOON, call, consume, done, fetch, ids, open, open_with, options, passes, patiently, publish,
    soon, success,
};
use crate::redis::RedisStore;
use crate::redis::door::LONGEST_PAUSE;
use crate::redis::link::SILENCE;
use crate::redis::pushes::PING_EVERY;
use crate::{Broker, ConnectOptions, Error, Revocation, RevocationWatch, Settled, Store, Subscription};
use celeriac_protocol::{Message, TaskId};

const LEASE: Duration = Duration::from_secs(60);
/// A lease that is over at once, unless it is renewed all the time.
const SHORT: Duration = Duration::from_millis(50);

/// Which connection is which, in the order they are made.
const COMMANDS: u64 = 0;
const RENEWALS: u64 = 1;
const PUSHES: u64 = 2;

/// What a fetch from one queue listens to besides a channel: its lists.
const QUEUE_KEYS: u64 = 4;

/// A server, the store as somebody far away sees it, and as somebody on the same machine does.
struct Place {
    server: Server,
    proxy: Proxy,
    far: Store,
    near: Store,
}

impl Place {
    async fn new() -> Self {
        let server = Server::start();
        let proxy = Proxy::before(server.port());
        let (far, near) = (open(&proxy.url()).await, open(&server.url(0)).await);
        Self { server, proxy, far, near }
    }

    /// How many consumers the server knows.
    fn consumers(&self) -> usize {
        redis::cmd("HLEN").arg("celeriac:{tasks}:consumers").query(&mut self.server.connection()).unwrap()
    }

    /// Lets the time of all leases be over.
    fn end_leases(&self) {
        let (leases, mut connection) = ("celeriac:{tasks}:leases", self.server.connection());
        let all: Vec<String> =
            redis::cmd("ZRANGE").arg(leases).arg(0).arg(-1).query(&mut connection).unwrap();
        for consumer in all {
            redis::cmd("ZADD").arg(leases).arg(0).arg(consumer).exec(&mut connection).unwrap();
        }
    }

    /// Waits until the server has been asked to tell of so many keys, and of messages on so many channels.
    async fn until_told(&self, keys: u64, channels: usize) {
        let mut connection = self.server.connection();
        let mut counts = || -> (u64, usize) {
            let info: String = redis::cmd("INFO").arg("stats").query(&mut connection).unwrap();
            let keys = info.lines().find_map(|line| line.strip_prefix("tracking_total_keys:"));
            let channels: Vec<String> = redis::cmd("PUBSUB").arg("CHANNELS").query(&mut connection).unwrap();
            (keys.unwrap().parse().unwrap(), channels.len())
        };
        soon("listening", async {
            while counts() != (keys, channels) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Three who wait for news, on one connection.
struct Waiting {
    fetch: JoinHandle<(Subscription, Vec<String>)>,
    result: JoinHandle<usize>,
    revocation: JoinHandle<Vec<Revocation>>,
}

impl Waiting {
    /// Starts to wait, each after the other.
    async fn start(place: &Place) -> Self {
        let mut subscription = consume(&place.far, LEASE).await;
        let fetch = tokio::spawn(async move {
            let deliveries = fetch(&mut subscription).await;
            (subscription, ids(&deliveries).iter().map(|id| (*id).to_owned()).collect())
        });
        place.until_told(QUEUE_KEYS, 1).await;
        let results = place.far.results().clone();
        let result = tokio::spawn(async move { results.wait(&[TaskId::new("r")]).await.unwrap().len() });
        place.until_told(QUEUE_KEYS, 2).await;
        let mut watch = place.far.revocations().watch().await.unwrap();
        let revocation = tokio::spawn(async move { next(&mut *watch).await });
        place.until_told(QUEUE_KEYS + 1, 2).await;
        Self { fetch, result, revocation }
    }

    /// There is news for each, which all of them must hear.
    async fn all_hear(self, place: &Place) {
        publish(&place.near, &["m"]).await;
        place.near.results().store(vec![success("r")]).await.unwrap();
        let revocation = Revocation {
            task_id: TaskId::new("v"),
            terminate: false,
            expires_after: Duration::from_secs(60),
        };
        place.near.revocations().revoke(vec![revocation.clone()]).await.unwrap();
        let (_subscription, fetched) = soon("the fetch", self.fetch).await.unwrap();
        assert_eq!(fetched, ["m"]);
        assert_eq!(soon("the wait", self.result).await.unwrap(), 1);
        assert_eq!(soon("the watch", self.revocation).await.unwrap(), [revocation]);
    }
}

async fn next(watch: &mut dyn RevocationWatch) -> Vec<Revocation> {
    loop {
        match watch.next().await {
            Ok(revocations) => return revocations,
            Err(error) => passes(&error).await,
        }
    }
}

/// Tried, found to be silent beside a new connection, and that one made at the last of the attempts that may be due.
#[test]
fn silence_on_any_connection_is_noticed_and_mended_within_five_seconds() {
    assert!(PING_EVERY + SILENCE < Duration::from_secs(4));
    let longest_attempt = ConnectOptions::default().deadline / 2;
    assert!(LONGEST_PAUSE.max(longest_attempt) < Duration::from_secs(4));
}

#[tokio::test]
async fn a_silent_connection_for_commands_is_replaced() {
    let place = Place::new().await;
    place.proxy.weather(Weather::HoleAt(COMMANDS));
    let began = Instant::now();
    let error = place.far.broker().publish(vec![call("a")].into()).await.unwrap_err();
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    publish(&place.far, &["b"]).await;
    let mut subscription = consume(&place.near, LEASE).await;
    assert_eq!(ids(&fetch(&mut subscription).await), ["b"]);
}

#[tokio::test]
async fn a_silent_connection_for_renewals_is_replaced() {
    let place = Place::new().await;
    let subscription = consume(&place.far, LEASE).await;
    assert_eq!(place.proxy.connections(), PUSHES + 1);
    place.proxy.weather(Weather::HoleAt(RENEWALS));
    let began = Instant::now();
    let error = subscription.lease.renew().await.unwrap_err();
    assert!(began.elapsed() < DEADLINE * 2, "{:?}", began.elapsed());
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    subscription.lease.renew().await.unwrap();
}

#[tokio::test]
async fn who_waits_on_a_silent_connection_hears_the_news_all_the_same() {
    let place = Place::new().await;
    let waiting = Waiting::start(&place).await;
    assert_eq!(place.proxy.connections(), PUSHES + 1);
    place.proxy.weather(Weather::HoleAt(PUSHES));
    waiting.all_hear(&place).await;
}

#[tokio::test]
async fn who_waits_hears_the_news_after_connections_were_closed() {
    let place = Place::new().await;
    let waiting = Waiting::start(&place).await;
    place.proxy.end(Ending::Close);
    waiting.all_hear(&place).await;
}

#[tokio::test]
async fn who_waits_hears_the_news_after_connections_were_reset() {
    let place = Place::new().await;
    let waiting = Waiting::start(&place).await;
    place.proxy.end(Ending::Reset);
    waiting.all_hear(&place).await;
}

#[tokio::test]
async fn who_waits_hears_the_news_after_the_server_closed_its_half() {
    let place = Place::new().await;
    let waiting = Waiting::start(&place).await;
    place.proxy.end(Ending::HalfClose);
    waiting.all_hear(&place).await;
}

#[tokio::test]
async fn who_waits_hears_the_news_that_came_while_nobody_could_connect() {
    let place = Place::new().await;
    let waiting = Waiting::start(&place).await;
    place.proxy.weather(Weather::Refusing);
    place.proxy.end(Ending::Reset);
    let proxy = &place.proxy;
    // Long enough for attempts to fail.
    let refused = place.far.broker().publish(vec![call("x")].into()).await.unwrap_err();
    assert!(matches!(refused, Error::Unreachable { .. }), "{refused}");
    proxy.weather(Weather::Fair);
    waiting.all_hear(&place).await;
}

#[tokio::test]
async fn publishing_into_a_black_hole_fails_in_time_and_works_afterwards() {
    let place = Place::new().await;
    place.proxy.weather(Weather::BlackHole);
    for attempt in 0..2 {
        let began = Instant::now();
        let error = place.far.broker().publish(vec![call("lost")].into()).await.unwrap_err();
        assert!(began.elapsed() < DEADLINE * 2, "attempt {attempt} took {:?}", began.elapsed());
        assert!(error.is_transient() && error.to_string().contains(&place.proxy.url()), "{error}");
    }
    place.proxy.weather(Weather::Fair);
    let began = Instant::now();
    patiently(|| place.far.broker().publish(vec![call("sent")].into())).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let mut subscription = consume(&place.near, LEASE).await;
    assert_eq!(ids(&fetch(&mut subscription).await), ["sent"]);
}

/// Takes a message after a lease ran out, and settles it once the renewal has said that it had; nothing if the two answers came
/// in order, as they may on a busy machine.
async fn settle_what_came_before_the_renewal_was_heard() -> Option<Settled> {
    const DELAY: Duration = Duration::from_millis(400);
    let place = Place::new().await;
    let near = consume(&place.near, LEASE).await;
    let mut far = consume(&place.far, SHORT).await;
    tokio::time::sleep(SHORT).await;
    near.lease.renew().await.unwrap();
    assert_eq!(place.consumers(), 1, "the far one is forgotten");
    publish(&place.near, &["a"]).await;

    place.proxy.weather(Weather::Slow(DELAY));
    let lease = far.lease.clone();
    let renewal = tokio::spawn(async move { lease.renew().await });
    soon("the renewal", async {
        while place.consumers() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The proxy has the answer now, and keeps it for as long again.
    tokio::time::sleep(DELAY / 2).await;
    place.proxy.weather(Weather::Fair);
    let deliveries = fetch(&mut far).await;
    assert_eq!(ids(&deliveries), ["a"]);
    if renewal.is_finished() || renewal.await.unwrap().is_err() {
        return None;
    }
    let settled = far.settler.finish(vec![done(&deliveries[0])]).await.unwrap();
    Some(settled[0])
}

/// Fetches and renewals have a connection each, so their answers may come in another order than they were given.
#[tokio::test]
async fn what_was_taken_after_a_lease_ran_out_is_ours_although_the_renewal_says_so_later() {
    for _ in 0..20 {
        if let Some(settled) = settle_what_came_before_the_renewal_was_heard().await {
            return assert_eq!(settled, Settled::Done);
        }
    }
    panic!("the answers came in order every time");
}

#[tokio::test]
async fn what_was_settled_unheard_is_known_again_after_the_lease_ran_out() {
    let place = Place::new().await;
    let mut near = consume(&place.near, LEASE).await;
    let mut far = consume(&place.far, LEASE).await;
    publish(&place.near, &["before", "a", "b"]).await;
    let mut deliveries = fetch(&mut far).await;
    assert_eq!(ids(&deliveries), ["before", "a", "b"]);
    let settler = &far.settler;
    // From here on the server knows the script.
    settler.finish(vec![done(&deliveries.remove(0))]).await.unwrap();
    // The first reaches the server, and its answer nobody; the second does not reach it.
    place.proxy.weather(Weather::AnswersEnd(0));
    settler.finish(vec![done(&deliveries[0])]).await.unwrap_err();
    place.proxy.weather(Weather::BlackHole);
    settler.finish(vec![done(&deliveries[1])]).await.unwrap_err();
    place.proxy.weather(Weather::Fair);
    place.end_leases();
    near.lease.renew().await.unwrap();
    patiently(|| far.lease.renew()).await;
    let settled = patiently(|| settler.finish(deliveries.iter().map(done).collect())).await;
    assert_eq!(settled, [Settled::Done, Settled::Lost]);
    assert_eq!(ids(&fetch(&mut near).await), ["b"]);
}

#[tokio::test]
async fn a_slow_network_is_slow_and_nothing_else() {
    let place = Place::new().await;
    place.proxy.weather(Weather::Slow(DEADLINE / 5));
    publish(&place.far, &["a", "b"]).await;
    let mut subscription = consume(&place.far, LEASE).await;
    let deliveries = fetch(&mut subscription).await;
    assert_eq!(ids(&deliveries), ["a", "b"]);
    let settled = subscription.settler.finish(deliveries.iter().map(done).collect()).await.unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done]);
}

#[tokio::test]
async fn a_store_in_full_use_has_three_connections() {
    let server = Server::start();
    let store = open_with(&server.url(0), &options()).await;
    let place = Place { proxy: Proxy::before(server.port()), near: store.clone(), far: store, server };
    let mut second = consume(&place.far, LEASE).await;
    let waiting = Waiting::start(&place).await;
    let asked = place.far.presence().clone();
    let asked = tokio::spawn(async move { asked.asked().await });
    second.lease.renew().await.unwrap();
    place.far.schedule().next_due().await.unwrap();
    let list: String = redis::cmd("CLIENT").arg("LIST").query(&mut place.server.connection()).unwrap();
    let ours = list.lines().filter(|client| client.contains("lib-name=celeriac")).count();
    assert_eq!(ours.max(list.lines().count() - 1), 3, "{list}");
    asked.abort();
    waiting.fetch.abort();
    waiting.result.abort();
    waiting.revocation.abort();
    publish(&place.far, &["m"]).await;
    assert_eq!(ids(&fetch(&mut second).await), ["m"]);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_nobody_used_it_is_nobodys_error() {
    let server = Server::start();
    let store = RedisStore::open(&server.url(0), &options()).await.unwrap();
    for id in ["a", "b", "c"] {
        redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").exec(&mut server.connection()).unwrap();
        soon("the end of the connection", async {
            while store.shared.link.is_open() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        store.publish(vec![call(id)].into()).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_ends_between_two_broadcasts_of_several_has_sent_none() {
    let (server, channel) = (Server::start(), "celeryev");
    let config = ["SET", "proto-max-bulk-len", "1048576"];
    redis::cmd("CONFIG").arg(&config).exec(&mut server.connection()).unwrap();
    let store = open(&server.url(0)).await;
    let mut listener = store.broadcasts().listen_to_keys(channel).await.unwrap();
    let message = |id: &str, size: usize| {
        let mut message = Message { body: vec![b' '; size].into(), ..Message::default() };
        message.headers.id = Some(TaskId::new(id));
        message
    };
    // The server ends the connection when it comes to the second.
    let several = vec![message("first", 1), message("second", 2 << 20), message("third", 1)];
    let error = store.broadcasts().broadcast_all(channel, "task.multi", several).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    store.broadcasts().broadcast(channel, "task.multi", message("after", 1)).await.unwrap();
    let heard = soon("a broadcast", listener.next()).await.unwrap();
    assert_eq!(heard.headers.id, Some(TaskId::new("after")));
}

#[tokio::test]
async fn a_listener_hears_broadcasts_again_after_its_connection_was_lost() {
    let place = Place::new().await;
    let mut listener = place.far.broadcasts().listen("celery.pidbox").await.unwrap();
    place.proxy.end(Ending::Close);
    let near = Arc::clone(place.near.broadcasts());
    // What is said while nobody listens is lost, so it is said until it is heard.
    let speaking = tokio::spawn(async move {
        loop {
            near.broadcast("celery.pidbox", "", Message::default()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    soon("a broadcast", async {
        while let Err(error) = listener.next().await {
            passes(&error).await;
        }
    })
    .await;
    speaking.abort();
}
