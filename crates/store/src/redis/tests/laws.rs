//! The laws of all stores, on Redis.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_faults::Server;
use celeriac_protocol::QueueName;

use crate::clock::Hand;
use crate::conformance::FreshServer;
use crate::redis::RedisStore;
use crate::{ConnectOptions, RedisOptions, Store};

/// A server for one law, and the database in which results are kept.
struct Fresh(Server, Option<u32>);

impl Fresh {
    fn new() -> Self {
        Self(Server::start(), None)
    }

    fn with_results_apart() -> Self {
        Self(Server::start(), Some(1))
    }
}

#[async_trait]
impl FreshServer for Fresh {
    async fn open(&self, options: &ConnectOptions) -> Store {
        let url = self.0.url(0);
        let redis = RedisOptions { result_database: self.1, ..options.redis.clone() };
        let options = ConnectOptions { redis, ..options.clone() };
        RedisStore::open(&url, &options).await.unwrap().into_store(&url)
    }

    async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        redis::cmd("LPUSH").arg(queue.as_str()).arg(bytes).exec(&mut self.0.connection()).unwrap();
    }

    /// What the server lets live by its own clock ages by as much.
    async fn advance(&self, hand: &Hand, by: Duration) {
        let age = r"
            for database = 0, 1 do
                redis.call('SELECT', database)
                for _, key in ipairs(redis.call('KEYS', '*')) do
                    local left = redis.call('PTTL', key)
                    if left >= 0 then redis.call('PEXPIRE', key, math.max(left - tonumber(ARGV[1]), 0)) end
                end
            end";
        let by_millis = u64::try_from(by.as_millis()).unwrap();
        let mut connection = self.0.connection();
        redis::cmd("EVAL").arg(age).arg(0).arg(by_millis).exec(&mut connection).unwrap();
        hand.advance(by);
    }
}

crate::store_laws!(Fresh::new(), (flavor = "current_thread"));

mod results_in_another_database {
    use super::Fresh;

    crate::store_laws!(Fresh::with_results_apart(), (flavor = "current_thread"));
}
