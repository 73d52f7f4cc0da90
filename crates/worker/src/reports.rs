//! Progress that running tasks report, on its way to the result backend.

use std::collections::HashMap;
use std::sync::Mutex;

use celeriac_protocol::TaskId;
use celeriac_store::StoreResult;
use tokio::sync::Notify;

/// The latest report of each running task that is not stored yet.
///
/// A newer report replaces the one that waits: there is one place per running task, so a task that reports
/// in a tight loop costs its own time only.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    waiting: Mutex<HashMap<TaskId, StoreResult>>,
    added: Notify,
}

impl Reports {
    /// Puts a report on its way.
    pub(crate) fn add(&self, report: StoreResult) {
        let id = report.record.task_id.clone();
        self.lock().insert(id, report);
        self.added.notify_one();
    }

    /// Takes what waits.
    pub(crate) fn take(&self) -> Vec<StoreResult> {
        let mut waiting = self.lock();
        if waiting.is_empty() { Vec::new() } else { waiting.drain().map(|(_, report)| report).collect() }
    }

    /// Waits until something was added since the last time. Cancel safe.
    pub(crate) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TaskId, StoreResult>> {
        self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
