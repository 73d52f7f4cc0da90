//! Pools: the slots in which tasks run.
//!
//! A pool knows no broker and no store. The loop gives it jobs while it has free slots, and it answers with events on one channel.

mod asynchronous;
#[cfg_attr(not(target_os = "linux"), path = "elsewhere.rs")]
pub(crate) mod prefork;
mod slot;
mod threads;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use celeriac_app::Reason;
use celeriac_protocol::{State, Value};
use tokio::sync::mpsc;

use crate::death::ChildDeath;
use crate::error::Error;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::signum::Signum;

pub(crate) use asynchronous::AsyncPool;
pub use prefork::run_if_child;
pub(crate) use threads::{ThreadPool, ThreadSetup};

/// What the loop hands to a pool.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The request to run.
    pub request: Arc<Request>,
}

/// Which pool a task runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PoolKind {
    /// Futures on the multi-thread runtime.
    Async,
    /// Threads of the worker's own.
    Threads,
    /// Child processes.
    Prefork,
    /// Child processes that run the tasks of a Celery application.
    Python,
    /// Child processes that run its coroutines, each on an event loop.
    Loops,
}

impl PoolKind {
    /// All of them, in the order in which they start.
    pub(crate) const ALL: [Self; 5] = [Self::Async, Self::Threads, Self::Prefork, Self::Python, Self::Loops];

    /// Whether its tasks run in child processes.
    pub(crate) const fn has_children(self) -> bool {
        matches!(self, Self::Prefork | Self::Python | Self::Loops)
    }

    /// As people read it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Threads => "threads",
            Self::Prefork => "prefork",
            Self::Python => "python",
            Self::Loops => "loops",
        }
    }
}

/// Slots in which tasks run. Belongs to the loop: no method blocks or waits.
pub(crate) trait Pool: Send {
    /// Which pool this is.
    fn kind(&self) -> PoolKind;

    /// How many jobs it runs at once when nothing is wrong.
    fn size(&self) -> usize;

    /// How many jobs it takes now. Rises only by [`PoolEvent::Finished`] and [`PoolEvent::Capacity`].
    fn free(&self) -> usize;

    /// How many jobs would start now, and not wait for others to end. Not more than [`Pool::free`].
    fn idle(&self) -> usize {
        self.free()
    }

    /// Whether no job can run, now or once others have ended, until something outside of the worker changes: no slot has
    /// come up, because what it needs could not be built or started. Changes with [`PoolEvent::Capacity`],
    /// [`PoolEvent::ChildDied`] and [`PoolEvent::Resources`].
    fn is_held_up(&self) -> bool {
        false
    }

    /// Takes a job. Only to be called while [`Pool::free`] is not zero. The pool answers with one
    /// [`PoolEvent::Started`] (except the async pool, where submitting is starting) and, always, with exactly one
    /// [`PoolEvent::Finished`], which frees the slot.
    fn submit(&mut self, job: Job);

    /// Asks the task of this request to stop: fires its cancellation token. The task may go on.
    fn ask(&mut self, request: &Request, reason: StopReason);

    /// The task of this request was revoked: it ends with [`PoolEvent::Finished`] unless it has started, for which it may
    /// have to wait. To be called for pools in which a job waits only.
    fn withdraw(&mut self, _request: &Request) {}

    /// Stops the task of this request by force, and says what came of it.
    fn kill(&mut self, request: &Request, reason: StopReason) -> Kill;

    /// The loop has read this request's [`PoolEvent::Finished`]: the slot may be used again.
    fn finished(&mut self, request: &Request);

    /// No more jobs will come. Idle slots end now and the others once they are done; with `force`, whatever still runs
    /// is killed where the pool can do that, and its [`PoolEvent::Finished`] says [`Outcome::Lost`] or
    /// [`Outcome::Returned`].
    /// The pool's events end with [`PoolEvent::Closed`].
    fn close(&mut self, force: bool);

    /// How many processes or threads it has when nothing is wrong; where it has neither, how many jobs it runs at once.
    fn width(&self) -> usize {
        self.size()
    }

    /// From now on it has this width, at least one. A process or thread that is too many ends once it has ended its task.
    /// `promised` jobs are about to be submitted, and find their slots whatever the width.
    ///
    /// # Errors
    /// The system refuses more threads; the pool keeps those that it has got.
    fn resize(&mut self, width: usize, promised: usize) -> io::Result<()>;

    /// Replaces every child process by a new one, once it has ended its task.
    fn restart(&mut self) {}

    /// Facts for people who inspect the worker: a list with one map for each child or thread.
    fn facts(&self) -> Value;
}

/// Why a running task is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// Its soft time limit passed.
    SoftTimeLimit(Duration),
    /// Its hard time limit passed.
    HardTimeLimit(Duration),
    /// It was revoked.
    Revoked,
    /// It was revoked, and its process is to get this signal. Where it has none of its own, as [`StopReason::Revoked`].
    Terminated(Signum),
    /// The worker stops.
    Shutdown,
}

impl From<StopReason> for Reason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::SoftTimeLimit(_) => Self::SoftTimeLimit,
            StopReason::HardTimeLimit(_) => Self::HardTimeLimit,
            StopReason::Revoked | StopReason::Terminated(_) => Self::Revoked,
            StopReason::Shutdown => Self::Shutdown,
        }
    }
}

/// What came of killing a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// The task makes no further step: the loop decides its outcome now. The slot is free with [`PoolEvent::Finished`].
    Stopped,
    /// It is being killed. [`PoolEvent::Finished`] says whether it was ([`Outcome::Lost`]) or had ended by itself just before.
    Pending,
    /// This pool cannot stop code by force: the task runs on, asked to stop, and keeps its slot.
    Unable,
}

/// What pools tell the loop.
#[derive(Debug)]
pub(crate) enum PoolEvent {
    /// The task of a job runs from now on: its time limits count from here.
    Started {
        /// Which one.
        request: Arc<Request>,
        /// The process or thread that runs it, as people read it.
        executor: Box<str>,
    },
    /// A running task reports its progress. Ordered before its `Finished`.
    Report {
        /// Which one.
        request: Arc<Request>,
        /// The state to store.
        state: State,
        /// What goes with it.
        meta: Value,
    },
    /// A job ended; its slot is free.
    Finished {
        /// Which one.
        request: Arc<Request>,
        /// How it ended; of no account if the loop has decided that before.
        outcome: Outcome,
        /// How long the task ran.
        runtime: Duration,
    },
    /// [`Pool::free`] has risen: a child became ready.
    Capacity,
    /// The resources of a child fare otherwise than before.
    Resources,
    /// A child died that ran no job. (One that did is an [`Outcome::Lost`].) Already logged.
    ChildDied(ChildDeath),
    /// The pool cannot work as it is set up: the worker ends with this error.
    Unfit(Error),
    /// The pool has closed.
    Closed(PoolKind),
}

/// Sends events to the loop. Cheap to clone.
///
/// Unbounded, because its content is bounded by the jobs of the pools: two events for each, and one waiting report.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::UnboundedSender<PoolEvent>);

impl Events {
    /// A channel for events, and its other end.
    pub(crate) fn channel() -> (Self, mpsc::UnboundedReceiver<PoolEvent>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Tells the loop. Without a loop, nobody is told.
    pub(crate) fn send(&self, event: PoolEvent) {
        let _ = self.0.send(event);
    }
}
