//! The memory store obeys every law, in Tokio's paused time.

use async_trait::async_trait;
use celeriac_protocol::{QueueName, TaskId};

use super::MemoryStore;
use crate::conformance::FreshServer;
use crate::{ConnectOptions, Store, connect};

struct FreshName(String);

impl FreshName {
    fn new() -> Self {
        Self(TaskId::fresh().to_string())
    }
}

#[async_trait]
impl FreshServer for FreshName {
    async fn open(&self, options: &ConnectOptions) -> Store {
        connect(&format!("memory://{}", self.0), options).await.unwrap()
    }

    async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        let options = ConnectOptions::default();
        let same = MemoryStore::open(&self.0, options.clock, options.message_limit);
        same.publish_undecodable(queue, bytes);
    }
}

crate::store_laws!(FreshName::new(), (start_paused = true));
