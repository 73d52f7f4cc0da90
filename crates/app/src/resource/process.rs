//! The process that a resource or a signal handler lives in.

use std::fmt;
use std::sync::Arc;

/// A process of a worker: the worker itself, or one of its children. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    worker: Arc<str>,
    kind: ProcessKind,
    pid: u32,
}

/// Which process of a worker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProcessKind {
    /// The worker, with its async tasks and its threads.
    Worker,
    /// A prefork child, counted from 1; a replacement gets a new number.
    Child(u32),
}

impl Process {
    /// This process, as part of the worker of this node name.
    pub fn this(worker: &str, kind: ProcessKind) -> Self {
        Self { worker: worker.into(), kind, pid: std::process::id() }
    }

    /// The node name of the worker, such as `celery@host`.
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// Which process of the worker it is.
    pub fn kind(&self) -> ProcessKind {
        self.kind
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            ProcessKind::Worker => write!(f, "worker {} (pid {})", self.worker, self.pid),
            ProcessKind::Child(number) => write!(f, "child {number} of {} (pid {})", self.worker, self.pid),
        }
    }
}
