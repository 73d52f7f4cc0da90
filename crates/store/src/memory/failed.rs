//! Tasks that nobody could run.

use std::collections::BTreeMap;

use async_trait::async_trait;
use celeriac_protocol::TaskId;

use super::MemoryStore;
use crate::{FailedTask, FailedTasks, Publish, Result, Route};

/// The failed tasks in the order in which they failed.
#[derive(Debug, Default)]
pub(super) struct Failed {
    tasks: BTreeMap<u64, FailedTask>,
    last: u64,
}

impl Failed {
    pub(super) fn keep(&mut self, task: FailedTask) {
        self.take(&task.task_id, |_| true);
        self.last += 1;
        self.tasks.insert(self.last, task);
    }

    pub(super) fn get(&self, id: &TaskId) -> Option<&FailedTask> {
        self.tasks.values().find(|task| task.task_id == *id)
    }

    /// Removes the task of this id if it is there and `wanted`.
    fn take(&mut self, id: &TaskId, wanted: impl Fn(&FailedTask) -> bool) -> Option<FailedTask> {
        let number = self
            .tasks
            .iter()
            .find(|(_, task)| task.task_id == *id && wanted(task))
            .map(|(number, _)| *number);
        self.tasks.remove(&number?)
    }
}

#[async_trait]
impl FailedTasks for MemoryStore {
    async fn list(&self, limit: usize) -> Result<Vec<FailedTask>> {
        Ok(self.read(|state| {
            state.failed.tasks.values().rev().take(limit).map(|task| task.clone().without_bytes()).collect()
        }))
    }

    async fn get(&self, id: &TaskId) -> Result<Option<FailedTask>> {
        Ok(self.read(|state| state.failed.get(id).cloned()))
    }

    async fn requeue(&self, ids: &[TaskId]) -> Result<u64> {
        Ok(self.change(|state, now| {
            let mut requeued = 0;
            for id in ids {
                let Some(task) = state.failed.take(id, |task| task.message.is_some()) else { continue };
                let Some(message) = task.message else { continue };
                state.queues.publish(Publish { route: Route::Queue(task.queue), message, due: None }, now);
                state.results.remove(id);
                requeued += 1;
            }
            requeued
        }))
    }

    async fn drop_failed(&self, ids: &[TaskId]) -> Result<u64> {
        Ok(self.change(|state, _| ids.iter().filter_map(|id| state.failed.take(id, |_| true)).count()) as u64)
    }
}
