//! Revoked tasks as stored state.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::TaskId;

use crate::Result;

/// Remembers which tasks must not run.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Marks tasks as revoked, waiting, running or not yet sent. On `Ok` [`Revocations::revoked`] names them, and with
    /// [`crate::Capabilities::fetch_checks_revocations`] no fetch that starts later delivers them unmarked.
    ///
    /// When this returns, their messages have left the queues, with [`crate::Capabilities::random_access`], and the schedule,
    /// with [`crate::Capabilities::schedule_access`]. Answers which tasks left in this way, now or by an earlier
    /// revocation that is still remembered: no worker will see them, so the caller stores their results, and a caller
    /// that could not may revoke them again.
    ///
    /// A message [after which something happens](celeriac_protocol::body::has_embed) does not leave: others wait for its
    /// task. Instead it is ready from now on, at the head of its queue where messages may be moved there, so that a
    /// worker finds it marked and finishes it as revoked, with all that this brings about.
    async fn revoke(&self, revocations: Vec<Revocation>) -> Result<Vec<TaskId>>;

    /// Which of these tasks are revoked, in the order asked.
    async fn revoked(&self, ids: &[TaskId]) -> Result<Vec<TaskId>>;

    /// The tasks that are revoked, at most so many: those that are remembered longest from now, first.
    async fn list(&self, limit: usize) -> Result<Vec<TaskId>>;

    /// Starts watching: every revocation made from now on comes out of the watch.
    async fn watch(&self) -> Result<Box<dyn RevocationWatch>>;
}

/// A stream of revocations.
#[async_trait]
pub trait RevocationWatch: Send {
    /// Waits for the next revocations. Cancel safe. After an error the watch may be asked again;
    /// what was revoked meanwhile comes out then.
    async fn next(&mut self) -> Result<Vec<Revocation>>;
}

/// One revoked task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The call.
    pub task_id: TaskId,
    /// Whether to stop it if it runs already.
    pub terminate: bool,
    /// How long the revocation is remembered from now.
    pub expires_after: Duration,
}
