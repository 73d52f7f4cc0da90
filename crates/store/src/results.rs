//! Where outcomes are kept for those who asked.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{ResultRecord, TaskId};

use crate::Result;

/// Keeps result records until they expire.
#[async_trait]
pub trait ResultBackend: Send + Sync {
    /// Stores records, all in one round trip. On `Ok` every reader sees them.
    ///
    /// A record in a final state (`SUCCESS`, `FAILURE`, `REVOKED`) is never replaced by one that is not final: a late
    /// `STARTED` or progress report changes nothing. A `SUCCESS` is never replaced at all, so that a second run that
    /// was lost cannot take it back; of other final records the later one stays.
    ///
    /// Source: `celery/backends/base.py`, `KeyValueStoreBackend._store_result`, Celery 5.7.0, which keeps a success too.
    async fn store(&self, results: Vec<StoreResult>) -> Result<()>;

    /// The records of these tasks, in the same order; `None` where nothing is known (Celery's `PENDING`).
    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<ResultRecord>>>;

    /// Waits until at least one of these tasks has a final state and returns the records of all that have.
    ///
    /// Waits without end; callers bound it. A server that goes away meanwhile is borne with for a while, and is an error
    /// when it stays away. Returns at once if no task is named. Cancel safe. Any number of waiters
    /// share one subscription.
    async fn wait(&self, ids: &[TaskId]) -> Result<Vec<ResultRecord>>;

    /// Removes the records of these tasks; those that have none are passed over.
    async fn forget(&self, ids: &[TaskId]) -> Result<()>;
}

/// One record to store.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreResult {
    /// The record.
    pub record: ResultRecord,
    /// How long it is kept from now; then it is as if it had never been stored.
    pub expires_after: Duration,
}
