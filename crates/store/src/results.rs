//! Where outcomes are kept for those who asked.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{ResultRecord, State, TaskId, Value};

use crate::{Error, Result};

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
    /// The record. Of one that was encoded elsewhere only the task and the state are known here.
    pub record: ResultRecord,
    /// How long it is kept from now; then it is as if it had never been stored.
    pub expires_after: Duration,
    /// The bytes that are stored, where another program has made them.
    encoded: Option<Bytes>,
}

impl StoreResult {
    /// A record, and how long it is kept.
    pub fn new(record: ResultRecord, expires_after: Duration) -> Self {
        Self { record, expires_after, encoded: None }
    }

    /// A record that another program has encoded, in whatever serializer its readers expect.
    ///
    /// It is stored as it is. That it is the record of this task in this state is for the caller to know.
    pub fn encoded(task_id: TaskId, state: State, bytes: Bytes, expires_after: Duration) -> Self {
        let record = ResultRecord::new(task_id, state, Value::Null, None);
        Self { record, expires_after, encoded: Some(bytes) }
    }

    /// The bytes to store, not larger than `limit`.
    pub(crate) fn to_bytes(&self, limit: usize) -> Result<Bytes> {
        let bytes = self.encoded.clone().unwrap_or_else(|| self.record.encode().into());
        if bytes.len() > limit {
            let what = format!("result of task {}", self.record.task_id);
            return Err(Error::TooLarge { what, size: bytes.len(), limit });
        }
        Ok(bytes)
    }

    /// The record as its readers would find it. Bytes that they could not read are a result without a value.
    pub(crate) fn into_record(self) -> ResultRecord {
        let decoded = self.encoded.and_then(|bytes| ResultRecord::decode(&bytes).ok());
        decoded.unwrap_or(self.record)
    }
}
