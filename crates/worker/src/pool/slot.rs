//! What a slot of this process owes the loop: one `Finished` for each job, whatever happens to the code in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::executor::Run;
use crate::outcome::{Failure, Outcome};
use crate::pool::{Events, PoolEvent};
use crate::request::Request;

/// An occupied slot. Dropping it tells the loop that it is free.
pub(super) struct Slot {
    request: Arc<Request>,
    events: Events,
    ended: Option<(Outcome, Duration)>,
    since: Instant,
}

impl Slot {
    /// Occupies a slot for this request.
    pub(super) fn new(request: Arc<Request>, events: Events) -> Self {
        Self { request, events, ended: None, since: Instant::now() }
    }

    /// The request that runs in it.
    pub(super) fn request(&self) -> &Arc<Request> {
        &self.request
    }

    /// Frees the slot, with how its task ended.
    pub(super) fn end(mut self, run: Run) {
        self.ended = run.outcome.map(|outcome| (outcome, run.runtime));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (outcome, runtime) =
            self.ended.take().unwrap_or_else(|| (without_outcome(), self.since.elapsed()));
        self.events.send(PoolEvent::Finished { request: Arc::clone(&self.request), outcome, runtime });
    }
}

/// Without an outcome the task was stopped from outside, and the loop has decided already, or takes it back;
/// or the executor itself has failed.
fn without_outcome() -> Outcome {
    if std::thread::panicking() {
        Outcome::Failure(Failure::internal("the executor panicked; see the log of the worker"))
    } else {
        Outcome::Returned
    }
}

/// The identity of a request, for as long as somebody holds it.
pub(super) fn identity(request: &Request) -> usize {
    std::ptr::from_ref(request).addr()
}
