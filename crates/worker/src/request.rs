//! One delivered task inside a worker, and the states it passes through.

use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_protocol::{TaskId, TaskName, TimeLimits, Timestamp};
use celeriac_store::Delivery;

/// One delivered task inside a worker.
///
/// Never changes, but for the verdict: whoever first says how it ended.
#[derive(Debug)]
pub(crate) struct Request {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub name: TaskName,
    /// The message, and what the broker knows of it.
    pub delivery: Delivery,
    /// The limits that apply: those of the message, else of the task, else of the worker.
    pub limits: TimeLimits,
    /// When this worker got it.
    pub received_at: Timestamp,
    decided: AtomicBool,
}

impl Request {
    /// A request for this delivery.
    pub(crate) fn new(
        id: TaskId,
        name: TaskName,
        delivery: Delivery,
        limits: TimeLimits,
        received_at: Timestamp,
    ) -> Self {
        Self { id, name, delivery, limits, received_at, decided: AtomicBool::new(false) }
    }

    /// Claims the right to say how this request ended; true for the first caller only.
    ///
    /// The executor claims it when the task function has returned, the loop when a limit or a revocation ends the
    /// task from outside. So signals, logs and the stored outcome agree, whoever was first.
    pub(crate) fn decide(&self) -> bool {
        !self.decided.swap(true, Ordering::AcqRel)
    }
}

/// Where a request is between its delivery and its settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestState {
    /// Waits for a slot of its pool.
    Reserved,
    /// Waits until its early acknowledgement is durable.
    Acknowledging,
    /// In its pool, which has not yet said that it runs.
    Submitted,
    /// Runs.
    Running,
    /// Its outcome is decided but not yet durable.
    Finishing,
    /// Its delivery is settled: the worker forgets it.
    Settled,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its early acknowledgement is on its way to the store.
    Acknowledge,
    /// Its pool takes it.
    Submit,
    /// Its pool started it.
    Start,
    /// Its outcome is decided.
    Finish,
    /// The store has answered.
    Settle,
}

/// A step that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request that is {from:?} cannot take the step {step:?}")]
pub(crate) struct IllegalStep {
    from: RequestState,
    step: Step,
}

impl RequestState {
    /// The state after `step`. Pure: the caller does what the new state asks for.
    pub(crate) fn next(self, step: Step) -> Result<Self, IllegalStep> {
        use RequestState::{Acknowledging, Finishing, Reserved, Running, Settled, Submitted};
        match (self, step) {
            (Reserved, Step::Acknowledge) => Ok(Acknowledging),
            (Reserved | Acknowledging, Step::Submit) => Ok(Submitted),
            (Submitted, Step::Start) => Ok(Running),
            (Reserved | Acknowledging | Submitted | Running, Step::Finish) => Ok(Finishing),
            (Finishing, Step::Settle) => Ok(Settled),
            (from, step) => Err(IllegalStep { from, step }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_decided_once() {
        assert_eq!(RequestState::Finishing.next(Step::Finish).ok(), None);
        assert_eq!(RequestState::Settled.next(Step::Finish).ok(), None);
    }

    #[test]
    fn a_settled_request_takes_no_step() {
        for step in [Step::Acknowledge, Step::Submit, Step::Start, Step::Finish, Step::Settle] {
            assert!(RequestState::Settled.next(step).is_err(), "{step:?}");
        }
    }

    #[test]
    fn nothing_starts_without_a_slot() {
        assert!(RequestState::Reserved.next(Step::Start).is_err());
        assert!(RequestState::Acknowledging.next(Step::Start).is_err());
    }
}
