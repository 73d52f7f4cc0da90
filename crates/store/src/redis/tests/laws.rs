//! The laws of all stores, on Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_faults::Server;
use celeriac_protocol::QueueName;

use crate::clock::Hand;
use crate::conformance::FreshServer;
use crate::redis::RedisStore;
use crate::{ConnectOptions, Store};

/// A server for one law.
struct Fresh(Server);

impl Fresh {
    fn new() -> Self {
        Self(Server::start())
    }
}

#[async_trait]
impl FreshServer for Fresh {
    async fn open(&self, options: &ConnectOptions) -> Store {
        let url = self.0.url(0);
        Store::of(&url, &Arc::new(RedisStore::open(&url, options).await.unwrap()))
    }

    async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        redis::cmd("LPUSH").arg(queue.as_str()).arg(bytes).exec(&mut self.0.connection()).unwrap();
    }

    /// What the server lets live by its own clock ages by as much.
    async fn advance(&self, hand: &Hand, by: Duration) {
        let age = r"
            for _, key in ipairs(redis.call('KEYS', '*')) do
                local left = redis.call('PTTL', key)
                if left >= 0 then redis.call('PEXPIRE', key, math.max(left - tonumber(ARGV[1]), 0)) end
            end";
        let by_millis = u64::try_from(by.as_millis()).unwrap();
        let mut connection = self.0.connection();
        redis::cmd("EVAL").arg(age).arg(0).arg(by_millis).exec(&mut connection).unwrap();
        hand.advance(by);
    }
}

crate::store_laws!(Fresh::new(), (flavor = "current_thread"));
