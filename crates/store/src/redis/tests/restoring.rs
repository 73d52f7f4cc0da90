//! What a dead stock worker held comes back.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::{Envelope, Message, QueueName};
use redis::{Commands, Connection};

use crate::redis::RedisStore;
use crate::{Broker, ConnectOptions, ConsumeOptions, RedisOptions};

/// A moment long past, in seconds, as kombu writes it.
const LONG_AGO: f64 = 1_700_000_000.25;

struct Fixture {
    _server: Server,
    store: RedisStore,
    connection: Connection,
}

impl Fixture {
    async fn new(redis: RedisOptions) -> Self {
        let server = Server::start();
        let url = server.url(0);
        let options = ConnectOptions { redis, ..ConnectOptions::default() };
        let store = RedisStore::open(&url, &options).await.unwrap();
        let connection = redis::Client::open(url).unwrap().get_connection().unwrap();
        Self { _server: server, store, connection }
    }

    /// As `QoS.append` does it.
    fn lend(&mut self, tag: &str, since: f64, entry: &str) {
        let _: () = self.connection.zadd("unacked_index", tag, since).unwrap();
        let _: () = self.connection.hset("unacked", tag, entry).unwrap();
    }

    async fn restore(&self) -> u64 {
        self.store.shared.restore_overdue().await.unwrap()
    }

    fn list(&mut self, key: &str) -> Vec<String> {
        self.connection.lrange(key, 0, -1).unwrap()
    }

    fn lent(&mut self) -> Vec<String> {
        self.connection.zrange("unacked_index", 0, -1).unwrap()
    }
}

fn now() -> f64 {
    crate::clock::Clock::system().now().as_micros() as f64 / 1e6
}

fn entry(name: &str, exchange: &str, routing_key: &str) -> String {
    format!(r#"[{{"body": "{name}"}}, "{exchange}", "{routing_key}"]"#)
}

#[tokio::test]
async fn a_message_keeps_every_value_and_is_marked() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    let message = |header: &str, info: &str| {
        format!(
            r#"{{"body": "e30=", "headers": {{"id": "1", "big": 123456789012345678901234567890, "none": null, "empty": [], "text": "\u00fc\ud800"{header}}}, "properties": {{"delivery_info": {{{info}"exchange": "", "routing_key": "q"}}, "priority": 4}}}}"#
        )
    };
    redis.lend("t", LONG_AGO, &format!(r#"[{}, "", "q"]"#, message("", "")));
    assert_eq!(redis.restore().await, 1);
    let marked = message(r#", "redelivered": true"#, r#""redelivered": true, "#);
    assert_eq!(redis.list("q\x06\x163"), [marked]);
    assert!(redis.lent().is_empty());
    assert!(!redis.connection.exists::<_, bool>("unacked").unwrap());
}

#[tokio::test]
async fn what_has_given_a_sign_stays() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    redis.lend("fresh", now() - 3000.0, &entry("a", "", "q"));
    redis.lend("overdue", now() - 4000.0, &entry("b", "", "q"));
    assert_eq!(redis.restore().await, 1);
    assert_eq!((redis.lent(), redis.list("q").len()), (vec!["fresh".to_owned()], 1));
}

#[tokio::test]
async fn what_gives_a_sign_meanwhile_stays() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    redis.lend("again", LONG_AGO, &entry("a", "", "q"));
    redis.lend("settled", LONG_AGO, &entry("b", "", "q"));
    let shared = &redis.store.shared;
    let (_, _, found) = shared.overdue(0).await.unwrap();
    let lists = |overdue| (overdue, vec!["q".to_owned()], b"message".to_vec());
    let messages: Vec<_> = found.into_iter().map(lists).collect();
    redis.lend("again", LONG_AGO + 1.0, &entry("a", "", "q"));
    let _: () = redis.connection.hdel("unacked", "settled").unwrap();
    assert_eq!(redis.store.shared.restore(&messages).await.unwrap(), 0);
    assert!(redis.list("q").is_empty());
}

#[tokio::test]
async fn what_a_consumer_of_ours_holds_stays() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    let (queue, lease) = (QueueName::new("q"), Duration::from_secs(30));
    let options = ConsumeOptions { queues: vec![queue], prefetch: 1, lease, worker: "w".into() };
    let mut subscription = redis.store.consume(options).await.unwrap();
    let _: () = redis.connection.lpush("q", Envelope::default().encode()).unwrap();
    subscription.consumer.fetch(1).await.unwrap();
    let [tag] = <[String; 1]>::try_from(redis.lent()).unwrap();
    let _: () = redis.connection.zadd("unacked_index", &tag, LONG_AGO).unwrap();
    assert_eq!(redis.restore().await, 0);
    // Nobody knows this one any more.
    redis.lend("celeriac:gone:1", LONG_AGO, &entry("a", "", "q"));
    assert_eq!(redis.restore().await, 1);
    assert_eq!(redis.lent(), [tag]);
}

#[tokio::test]
async fn bindings_say_where_a_message_goes() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    for (exchange, binding) in [
        ("direct", "k\x06\x16\x06\x16one"),
        ("direct", "other\x06\x16\x06\x16two"),
        ("topic", "tea.*\x06\x16^tea\\.[^\\.]+$\x06\x16one"),
        ("topic", "tea.#\x06\x16^tea\\..*?$\x06\x16two"),
    ] {
        let _: () = redis.connection.sadd(format!("_kombu.binding.{exchange}"), binding).unwrap();
    }
    redis.lend("1", LONG_AGO, &entry("direct", "direct", "k"));
    redis.lend("2", LONG_AGO, &entry("topic", "topic", "tea.green"));
    redis.lend("3", LONG_AGO, &entry("topic", "topic", "tea.green.cold"));
    redis.lend("4", LONG_AGO, &entry("unbound", "nowhere", "three"));
    assert_eq!(redis.restore().await, 4);
    assert_eq!(["one", "two", "three"].map(|queue| redis.list(queue).len()), [2, 2, 1]);
}

#[tokio::test]
async fn the_oldest_is_consumed_first_and_before_what_waits() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    let _: () = redis.connection.lpush("q", "waits").unwrap();
    for (tag, age) in [("a", 2.0), ("b", 1.0), ("c", 3.0)] {
        redis.lend(tag, LONG_AGO - age, &entry(tag, "", "q"));
    }
    assert_eq!(redis.restore().await, 3);
    let order = ["waits", "b", "a", "c"];
    assert!(redis.list("q").iter().zip(order).all(|(message, name)| message.contains(name)));
}

#[tokio::test]
async fn what_is_no_message_stays_and_holds_nobody_up() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    let unreadable = ["", "{}", "[1, 2, 3]", "[{}, \"\", \"\"]", "[{}, \"\"]", "[{}, 1, \"q\"]", "\u{fffd}["];
    for number in 0..150 {
        redis.lend(&format!("bad{number}"), LONG_AGO - 9.0, unreadable[number % unreadable.len()]);
    }
    for number in 0..150 {
        redis.lend(&format!("good{number}"), LONG_AGO, &entry("a", "", "q"));
    }
    let _: () = redis.connection.zadd("unacked_index", "of nothing", LONG_AGO).unwrap();
    assert_eq!(redis.restore().await, 150);
    assert_eq!((redis.list("q").len(), redis.lent().len()), (150, 150));
}

#[tokio::test]
async fn what_stays_hides_nothing_behind_it_whatever_its_number() {
    let mut redis = Fixture::new(RedisOptions::default()).await;
    let _: () = redis.connection.set("spoilt", "text").unwrap();
    for number in 0..1100 {
        redis.lend(&format!("bad{number}"), LONG_AGO - 9.0, "[]");
        redis.lend(&format!("homeless{number}"), LONG_AGO - 9.0, &entry("a", "", "spoilt"));
    }
    redis.lend("good", LONG_AGO, &entry("a", "", "q"));
    let mut restored = 0;
    for _ in 0..3 {
        restored += redis.restore().await;
    }
    assert_eq!((restored, redis.list("q").len()), (1, 1));
    redis.lend("another", LONG_AGO - 10.0, &entry("b", "", "q"));
    assert_eq!(redis.restore().await, 1);
}

#[tokio::test]
async fn keys_are_those_of_the_options() {
    let options = RedisOptions {
        global_keyprefix: "p:".to_owned(),
        unacked_key: "u".to_owned(),
        unacked_index_key: "i".to_owned(),
        priority_steps: vec![0, 5],
        sep: ":".to_owned(),
        ..RedisOptions::default()
    };
    let mut redis = Fixture::new(options).await;
    let _: () = redis.connection.sadd("p:_kombu.binding.x", "k::q").unwrap();
    let _: () = redis.connection.zadd("p:i", "t", LONG_AGO).unwrap();
    let entry = r#"[{"properties": {"priority": 7}}, "x", "k"]"#;
    let _: () = redis.connection.hset("p:u", "t", entry).unwrap();
    assert_eq!(redis.restore().await, 1);
    assert_eq!(redis.list("p:q:5").len(), 1);
}

#[tokio::test]
async fn a_waiting_consumer_gets_what_a_dead_stock_worker_held() {
    let visibility_timeout = Duration::from_secs(1);
    let mut redis = Fixture::new(RedisOptions { visibility_timeout, ..RedisOptions::default() }).await;
    let options = ConsumeOptions {
        queues: vec![QueueName::new("q")],
        prefetch: 1,
        lease: Duration::from_secs(30),
        worker: "w".into(),
    };
    let envelope = Envelope { message: Message::default(), routing_key: "q".into(), ..Envelope::default() };
    let message = String::from_utf8(envelope.encode()).unwrap();
    redis.lend("t", LONG_AGO, &format!(r#"[{message}, "", "q"]"#));
    let mut subscription = redis.store.consume(options).await.unwrap();
    let fetched = subscription.consumer.fetch(1);
    let [delivery] = <[_; 1]>::try_from(fetched.await.unwrap()).unwrap();
    assert!(delivery.redelivered);
    assert_eq!(delivery.deliveries, 2);
    assert_eq!(subscription.lease.length(), visibility_timeout);
}
