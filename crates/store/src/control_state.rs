//! What somebody has changed of workers while they ran, kept for those that start later.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value};

use crate::Result;

/// Keeps changes of workers by name: those of all workers, and those of each node.
#[async_trait]
pub trait ControlState: Send + Sync {
    /// Keeps changes in the place of those of the same names, and forgets those whose value is [`Value::Null`]. Everything
    /// that is kept of this node, or of all workers, is forgotten when it was not kept again for `expires_after`; no
    /// changes are enough for that.
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()>;

    /// Keeps one change as [`ControlState::keep`] does, if something is kept under its name or fewer than `most` changes are.
    /// Says whether it has. Costs the same however many are kept.
    async fn keep_if_room(
        &self,
        whose: &Whose,
        change: ControlChange,
        most: usize,
        expires_after: Duration,
    ) -> Result<bool>;

    /// What is kept of this node, or of all workers, by name.
    async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>>;
}

/// Which workers a change is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// All, also those that nobody knows yet.
    All,
    /// Those of this node name, such as `celery@host`.
    Node(Box<str>),
}

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlChange {
    /// What is changed, such as the rate limit of one task.
    pub name: Box<str>,
    /// Into what, as whoever keeps it writes that.
    pub value: Value,
    /// When somebody wanted it so, in microseconds: of two changes of one name the later one counts.
    pub at: Timestamp,
}
