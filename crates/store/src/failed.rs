//! Tasks that ended for good without being done, kept unharmed for a person to decide.

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{Message, QueueName, TaskId, Timestamp, Value};

use crate::Result;

/// Keeps messages that nobody could run. Filled by [`crate::Settle::Fail`], and by the fetch with stored bytes that are
/// not a message. A task that fails again replaces what was kept of it.
#[async_trait]
pub trait FailedTasks: Send + Sync {
    /// Up to `limit` failed tasks, the latest first, without what may be large: the bodies of messages, and bytes that are
    /// not a message, are empty. [`FailedTask::size`] says how much that is, and [`FailedTasks::get`] has it.
    async fn list(&self, limit: usize) -> Result<Vec<FailedTask>>;

    /// The failed task of this id, if there is one.
    async fn get(&self, id: &TaskId) -> Result<Option<FailedTask>>;

    /// Publishes these again to the queues they came from, with a delivery count of zero, and removes them from here;
    /// their results are forgotten. Says how many that were. Those whose bytes are not a message stay.
    async fn requeue(&self, ids: &[TaskId]) -> Result<u64>;

    /// Removes these for good and says how many there were.
    async fn drop_failed(&self, ids: &[TaskId]) -> Result<u64>;
}

/// One failed task.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedTask {
    /// The call; made up by the store if the message has none.
    pub task_id: TaskId,
    /// The queue it came from.
    pub queue: QueueName,
    /// When it failed.
    pub failed_at: Timestamp,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// Why.
    pub reason: FailureReason,
    /// The message as it came, or nothing if the stored bytes were not one.
    pub message: Option<Message>,
    /// The stored bytes, if they were not a message.
    pub undecodable: Option<Vec<u8>>,
    /// How many bytes the body of the message has, or else the stored bytes.
    pub size: usize,
}

impl FailedTask {
    /// The same as [`FailedTasks::list`] answers it.
    pub(crate) fn without_bytes(mut self) -> Self {
        if let Some(message) = &mut self.message {
            message.body = Bytes::new();
        }
        self.undecodable = self.undecodable.map(|_| Vec::new());
        self
    }
}

/// Why a task failed for good.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureReason {
    /// A stable code, such as `delivery-limit` or `unknown-task`.
    pub code: Box<str>,
    /// One sentence for people, with what to do.
    pub text: Box<str>,
    /// Facts: signal, exit code, memory, run time. A map.
    pub evidence: Value,
}

impl FailureReason {
    /// The stored bytes are not a message; `error` says what is wrong with them, where that is known.
    pub(crate) fn undecodable(error: Option<&str>) -> Self {
        let why = error.map_or(String::new(), |error| format!(" ({error})"));
        let text =
            format!("the stored bytes are not a message{why}: look at what published them, then drop them");
        Self { code: "undecodable".into(), text: text.into(), evidence: Value::Map(Vec::new()) }
    }
}
