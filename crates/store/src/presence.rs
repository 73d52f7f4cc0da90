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

    /// Removes a worker that ends; one that is not there is passed over.
    async fn withdraw(&self, worker: &ConsumerId) -> Result<()>;

    /// What every live worker said last, by name. Asks them to announce anew, gives those that are there up to
    /// `patience` to do so, and returns as soon as all of them have. Those that do not answer are still listed
    /// while what they said last is valid.
    async fn workers(&self, patience: Duration) -> Result<Vec<WorkerRecord>>;

    /// Waits until somebody asks for fresh announcements, or returns at once if somebody did so since this returned last in
    /// this process. Cancel safe. What was asked before the first call may go unheard.
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
    /// For how long after `announced_at` that counts.
    pub valid_for: Duration,
    /// Everything else, for people and programs: queues, running, reserved, resources. A map.
    pub facts: Value,
}
