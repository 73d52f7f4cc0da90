//! A look at what is held for later.

use async_trait::async_trait;
use celeriac_protocol::{TaskId, Timestamp};

use super::MemoryStore;
use crate::{Result, Schedule, Scheduled};

#[async_trait]
impl Schedule for MemoryStore {
    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(self.read(|state| state.queues.next_due()))
    }

    async fn scheduled(&self, limit: usize) -> Result<Vec<Scheduled>> {
        Ok(self.read(|state| state.queues.scheduled().take(limit).collect()))
    }

    async fn cancel(&self, ids: &[TaskId]) -> Result<u64> {
        let ids = ids.iter().collect();
        Ok(self.change(|state, _| state.queues.cancel(&ids).len()) as u64)
    }
}
