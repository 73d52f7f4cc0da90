//! Which queue of a consumer comes first.

use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::{Envelope, QueueName};
use redis::Commands;

use crate::redis::RedisStore;
use crate::{Broker, ConnectOptions, ConsumeOptions, QueueOrder, RedisOptions};

/// The queues of six deliveries, taken two at a time from queues `b` and `a`, each of which holds four messages.
async fn order_with(queue_order_strategy: QueueOrder) -> String {
    let server = Server::start();
    let redis = RedisOptions { queue_order_strategy, ..RedisOptions::default() };
    let options = ConnectOptions { redis, ..ConnectOptions::default() };
    let store = RedisStore::open(&server.url(0), &options).await.unwrap();
    let mut connection = redis::Client::open(server.url(0)).unwrap().get_connection().unwrap();
    for queue in ["a", "b"] {
        let messages = vec![Envelope::default().encode(); 4];
        let _: () = connection.lpush(queue, messages).unwrap();
    }
    let queues = ["b", "a"].map(QueueName::new).to_vec();
    let lease = Duration::from_secs(30);
    let consumer = ConsumeOptions { queues, prefetch: 10, lease, worker: "w".into() };
    let mut subscription = store.consume(consumer).await.unwrap();
    let mut order = String::new();
    for _ in 0..3 {
        for delivery in subscription.consumer.fetch(2).await.unwrap() {
            order += delivery.queue.as_str();
        }
    }
    order
}

#[tokio::test]
async fn queues_take_turns_unless_told_otherwise() {
    assert_eq!(order_with(QueueOrder::RoundRobin).await, "bbaabb");
}

#[tokio::test]
async fn sorted_queues_are_consumed_by_name() {
    assert_eq!(order_with(QueueOrder::Sorted).await, "aaaabb");
}

#[tokio::test]
async fn queues_by_priority_are_consumed_as_they_are_named() {
    assert_eq!(order_with(QueueOrder::Priority).await, "bbbbaa");
}
