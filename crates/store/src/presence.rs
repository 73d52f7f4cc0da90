//! Which workers are alive, and what they say of themselves.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value};

use crate::{ConsumerId, Result};

/// Knows the live workers.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Says that a worker is alive and what it does; replaces what it said before.
    async fn announce(&self, record: WorkerRecord) -> Result<()>;

    /// Removes a worker that ends.
    async fn withdraw(&self, worker: &ConsumerId) -> Result<()>;

    /// What every live worker said last. Asks them to announce anew and gives those that are there up to `patience`
    /// to do so.
    async fn workers(&self, patience: Duration) -> Result<Vec<WorkerRecord>>;

    /// Waits until somebody asks for fresh announcements. Cancel safe.
    async fn asked(&self) -> Result<()>;
}

/// What one worker says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    /// The worker, this run of it.
    pub id: ConsumerId,
    /// Its node name, such as `celery@host`.
    pub name: String,
    /// When it said so.
    pub announced_at: Timestamp,
    /// For how long that counts.
    pub valid_for: Duration,
    /// Everything else, for people and programs: queues, running, reserved, resources. A map.
    pub facts: Value,
}
