//! What a running task leaves behind besides its outcome.

use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_protocol::{Signature, Value};

/// What a running task leaves behind besides its outcome: the results of what it sent, and what it added to its chord.
///
/// Made by the worker for each run, and read by it when the run has ended.
#[derive(Debug, Default)]
pub struct Trail(Mutex<Left>);

/// What a run has left behind.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Left {
    /// The results of what it sent, as Celery's result tuples: the `children` of its own result.
    pub children: Vec<Value>,
    /// What it added to its chord, to be sent when it succeeds.
    pub additions: Vec<Signature>,
}

/// How many results are remembered of what one run sends. It may send more, which its result does not name.
pub const MOST_CHILDREN: usize = 10_000;

impl Trail {
    /// The run has sent something with these results.
    pub fn sent(&self, results: impl IntoIterator<Item = Value>) {
        let mut left = self.lock();
        let room = MOST_CHILDREN.saturating_sub(left.children.len());
        left.children.extend(results.into_iter().take(room));
    }

    /// The run adds this call to its chord.
    pub fn added(&self, call: Signature) {
        self.lock().additions.push(call);
    }

    /// What has been left so far, which is forgotten here.
    pub fn take(&self) -> Left {
        std::mem::take(&mut self.lock())
    }

    /// Takes over what was left in another process.
    pub fn put(&self, left: Left) {
        *self.lock() = left;
    }

    fn lock(&self) -> MutexGuard<'_, Left> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_sends_without_end_leaves_a_short_trail() {
        let trail = Trail::default();
        trail.sent((0..20_000).map(Value::Int));
        trail.sent([Value::Null]);
        assert_eq!(trail.take().children.len(), MOST_CHILDREN);
        assert_eq!(trail.take(), Left::default());
    }
}
