//! Moments in the life of a process or task at which registered handlers run, in that process.
//!
//! Names and moments are Celery's. A handler gets the facts of the moment; one that fails or panics is logged, and
//! the others go on. A signal that nobody connected to costs one branch.
//!
//! ```
//! use celeriac_app::{App, signals};
//!
//! let app = App::new("urls")
//!     .on(signals::worker_process_init, |process| println!("{process} starts"))
//!     .on(signals::task_failure, |failed| println!("{} failed: {}", failed.context.id(), failed.failure));
//! ```
//!
//! Source for names and moments: `celery/signals.py` and the guide "Signals", Celery 5.7.0.

mod payload;
mod registry;

pub use payload::{
    Heartbeat, InternalError, Postrun, Published, Publishing, ReceivedTask, RefusedTask, RevokedTask,
    ShuttingDown, TaskFailed, TaskRetried, TaskSucceeded, WorkerNode, WorkerSetup,
};
pub use registry::{Handled, HandlerError, Signal, Signals};

use crate::{Context, Process};

macro_rules! signals {
    ($($(#[$doc:meta])* $index:literal $name:ident: $payload:ty;)*) => {
        $(
            $(#[$doc])*
            #[expect(non_upper_case_globals, reason = "signals carry Celery's names")]
            pub const $name: Signal<$payload> = Signal::new($index, stringify!($name));
        )*

        /// The names of all signals.
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

signals! {
    /// A worker of the command line has read its settings and uses none of them yet; a handler may change them.
    0 celeryd_init: WorkerSetup;
    /// A worker of the command line is set up and starts next; a handler may still change its settings.
    1 celeryd_after_setup: WorkerSetup;
    /// A worker starts, before its resources and pools.
    2 worker_init: WorkerNode;
    /// A worker is about to start a child process.
    3 worker_before_create_process: WorkerNode;
    /// A process that runs tasks starts: each prefork child, and the worker itself for its async tasks and threads.
    /// Its resources are built after this.
    4 worker_process_init: Process;
    /// A process that runs tasks ends in order. Its resources are dropped after this.
    5 worker_process_shutdown: Process;
    /// A worker consumes.
    6 worker_ready: WorkerNode;
    /// A worker was told to stop.
    7 worker_shutting_down: ShuttingDown;
    /// A worker has stopped.
    8 worker_shutdown: WorkerNode;
    /// A worker has said that it is alive.
    9 heartbeat_sent: Heartbeat;
    /// A message that is a known task has arrived at a worker.
    10 task_received: ReceivedTask;
    /// A task is about to run.
    11 task_prerun: Context;
    /// A task has run, whatever came of it.
    12 task_postrun: Postrun;
    /// A task has returned a value.
    13 task_success: TaskSucceeded;
    /// A task has failed for good.
    14 task_failure: TaskFailed;
    /// A task will be tried again.
    15 task_retry: TaskRetried;
    /// A task was revoked, or had expired.
    16 task_revoked: RevokedTask;
    /// A message that is not a task, or a bad one, was refused.
    17 task_rejected: RefusedTask;
    /// A message for a task that nobody registered was refused.
    18 task_unknown: RefusedTask;
    /// The worker itself failed while it ran a task.
    19 task_internal_error: InternalError;
    /// A task is about to be published; a handler may change its message.
    20 before_task_publish: Publishing;
    /// A task has been published.
    21 after_task_publish: Published;
    /// Logging is about to be set up, in the worker or in a child process of it. Once a handler is connected, logging
    /// is left to it.
    22 setup_logging: WorkerNode;
    /// The worker, or a child process of it, has set up its logging.
    23 after_setup_logger: WorkerNode;
}
