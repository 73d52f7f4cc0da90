//! Why a worker could not start or go on, and how one ended.

use std::time::Duration;

use celeriac_app::resource::MissingResource;
use celeriac_protocol::TaskName;

/// Why a worker could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A store failed in a way that waiting does not mend.
    #[error("the worker cannot use its store")]
    Store(#[from] celeriac_store::Error),

    /// The store cannot be used as it is, or is away and shall not be waited for.
    #[error("the worker cannot connect to its store")]
    Connect(#[source] celeriac_app::SendError),

    /// A task asks for a resource that it cannot get.
    #[error(transparent)]
    Resource(#[from] MissingResource),

    /// A task asks for a time limit that its pool cannot keep.
    #[error(
        "task {task} has a hard time limit of {limit:?}, but code on a thread cannot be stopped: \
         give it `isolation = \"process\"`, or only a soft time limit"
    )]
    UnenforceableLimit {
        /// The task.
        task: TaskName,
        /// The limit that it declares, or that the worker has for all tasks.
        limit: Duration,
    },

    /// The soft limit of a task would never be reached.
    #[error("task {task} has a soft time limit of {soft:?}, which is above its hard limit of {hard:?}")]
    LimitsReversed {
        /// The task.
        task: TaskName,
        /// Its soft limit.
        soft: Duration,
        /// Its hard limit.
        hard: Duration,
    },

    /// An option of the worker is out of range.
    #[error("worker option {option}: {reason}")]
    Misconfigured {
        /// The option, as it is called in settings.
        option: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// Metrics and probes cannot be served where they are asked for.
    #[error("metrics and probes cannot be served at {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },

    /// A thread or process of the worker could not be started.
    #[error("{what} could not be started")]
    Spawn {
        /// What should have been started.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How a worker ended.
///
/// The process exit codes are Celery's: 0 after SIGTERM or a request to shut down, 1 after a warm SIGINT, and
/// 0 after a cold shutdown. Source: measured with Celery 5.7.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Running tasks were finished, or given back when the deadline came.
    Warm,
    /// Warm, asked for from the keyboard.
    Interrupted,
    /// Running tasks were given up at once and given back to their queues.
    Cold,
}

impl Exit {
    /// The exit code of the process.
    pub fn code(self) -> u8 {
        match self {
            Self::Warm | Self::Cold => 0,
            Self::Interrupted => 1,
        }
    }
}
