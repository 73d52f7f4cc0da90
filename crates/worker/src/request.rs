//! One delivered task inside a worker, and the states it passes through.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_app::task::Acks;
use celeriac_app::trace::SpanContext;
use celeriac_app::{CancellationToken, TaskDefinition, Trail};
use celeriac_protocol::{TaskId, TaskName, TimeLimits, Timestamp};
use celeriac_store::Delivery;

use crate::Options;
use crate::stamps::Stamp;

/// One delivered task inside a worker.
///
/// Never changes, but for the verdict, whoever first says how it ended, and for whether events leave it out.
#[derive(Debug)]
pub(crate) struct Request {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub task: Arc<TaskDefinition>,
    /// The message, and what the broker knows of it.
    pub delivery: Arc<Delivery>,
    /// The limits that apply: those of the message, else of the task, else of the worker.
    pub limits: TimeLimits,
    /// Whether its delivery is acknowledged before it runs.
    pub acks_early: bool,
    /// Whether its message goes back when its process dies.
    pub comes_back: bool,
    /// What is stored of how it ends.
    pub stores: Stores,
    /// Whether `STARTED` is stored when it starts.
    pub track_started: bool,
    /// Asks its task to stop. Fired by the pool that runs it.
    pub cancellation: CancellationToken,
    /// What its task leaves behind besides its outcome.
    pub trail: Arc<Trail>,
    /// The span of its run, if this worker makes one.
    pub span: Option<SpanContext>,
    /// When the worker took it in, if it is traced.
    pub received: Option<Timestamp>,
    decided: AtomicBool,
    left_out: AtomicBool,
}

/// What is stored of how a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Every result.
    Everything,
    /// Failures only.
    Failures,
    /// Nothing.
    Nothing,
}

impl Request {
    /// A request for this delivery of `task`.
    pub(crate) fn new(
        id: TaskId,
        task: Arc<TaskDefinition>,
        delivery: Arc<Delivery>,
        options: &Options,
    ) -> Self {
        let headers = &delivery.message.headers;
        // The header is false where nobody said anything, so it cannot take back what the task says.
        // Source: `celery/app/trace.py`, `build_tracer`, and `celery/backends/base.py`, Celery 5.7.0.
        let ignored = headers.ignore_result == Some(true)
            || task.options.ignore_result.unwrap_or(options.ignore_result);
        let keeps_errors =
            task.options.store_errors_even_if_ignored.unwrap_or(options.store_errors_even_if_ignored);
        let stores = match (ignored, keeps_errors) {
            (false, _) => Stores::Everything,
            (true, true) => Stores::Failures,
            (true, false) => Stores::Nothing,
        };
        let limits = TimeLimits {
            hard: headers.timelimit.hard.or(task.options.time_limit).or(options.time_limit),
            soft: headers.timelimit.soft.or(task.options.soft_time_limit).or(options.soft_time_limit),
        };
        Self {
            id,
            limits,
            acks_early: task.options.acks.unwrap_or(options.acks) == Acks::Early,
            comes_back: task.options.reject_on_worker_lost.unwrap_or(true),
            stores,
            track_started: task.options.track_started.unwrap_or(options.track_started),
            cancellation: CancellationToken::new(),
            trail: Arc::default(),
            span: None,
            received: None,
            decided: AtomicBool::new(false),
            left_out: AtomicBool::new(false),
            task,
            delivery,
        }
    }

    /// The name of its task.
    pub(crate) fn name(&self) -> &TaskName {
        &self.task.name
    }

    /// How often it has been retried before.
    pub(crate) fn retries(&self) -> u32 {
        self.delivery.message.headers.retries
    }

    /// Whether something besides its id may keep it from running while it waits: its expiry, or one of its stamps.
    pub(crate) fn may_be_discarded(&self) -> bool {
        let headers = &self.delivery.message.headers;
        headers.expires.is_some() || !Stamp::of(headers).is_empty()
    }

    /// Whether no event says that it is here, starts or succeeds, because there are too many.
    pub(crate) fn is_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }

    /// No event is to say that it is here, starts or succeeds.
    pub(crate) fn leave_out(&self) {
        self.left_out.store(true, Ordering::Relaxed);
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
    /// Waits until what has to be durable before it runs is: its early acknowledgement, or the mark that it starts.
    Preparing,
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
    /// What has to be durable before it runs is on its way to the store.
    Prepare,
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
        use RequestState::{Finishing, Preparing, Reserved, Running, Settled, Submitted};
        match (self, step) {
            (Reserved, Step::Prepare) => Ok(Preparing),
            (Reserved | Preparing, Step::Submit) => Ok(Submitted),
            (Submitted, Step::Start) => Ok(Running),
            (Reserved | Preparing | Submitted | Running, Step::Finish) => Ok(Finishing),
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
        for step in [Step::Prepare, Step::Submit, Step::Start, Step::Finish, Step::Settle] {
            assert!(RequestState::Settled.next(step).is_err(), "{step:?}");
        }
    }

    #[test]
    fn nothing_starts_without_a_slot() {
        assert!(RequestState::Reserved.next(Step::Start).is_err());
        assert!(RequestState::Preparing.next(Step::Start).is_err());
    }
}
