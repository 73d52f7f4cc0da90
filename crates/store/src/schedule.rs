//! Messages for later, held by the store and never in a worker's memory.

use async_trait::async_trait;
use celeriac_protocol::{Message, QueueName, TaskId, Timestamp};

use crate::Result;

/// Looks into what [`crate::Broker::publish`] holds back until it is due.
///
/// Messages become ready by themselves, never before their time and within 50 ms of it while a consumer waits on
/// their queue. A message that is due already when it is published is ready at once.
///
/// Without [`crate::Capabilities::schedule_access`] nobody can look: then there is no next due time, nothing
/// is listed, and nothing is cancelled ([`crate::Revocations`] still keeps the task from running).
#[async_trait]
pub trait Schedule: Send + Sync {
    /// The earliest due time over all queues.
    async fn next_due(&self) -> Result<Option<Timestamp>>;

    /// Up to `limit` scheduled messages, the soonest first.
    async fn scheduled(&self, limit: usize) -> Result<Vec<Scheduled>>;

    /// Removes the scheduled messages of these tasks and says how many there were.
    async fn cancel(&self, ids: &[TaskId]) -> Result<u64>;
}

/// One message held for later.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// When it becomes ready.
    pub due: Timestamp,
    /// The queue it will be ready in.
    pub queue: QueueName,
    /// The message.
    pub message: Message,
}
