//! How the resources of a process fare, for `inspect` and the log.

use std::any::TypeId;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::resource::{Process, Resource, ResourceError, ResourceKind, ResourcePlan, ResourceRequest};

/// How one resource of one process fares, over all its threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceHealth {
    /// Its name.
    pub name: Box<str>,
    /// One per process or one per thread.
    pub kind: ResourceKind,
    /// Values that exist now.
    pub alive: u32,
    /// How often it was built for the first time in its process or thread.
    pub builds: u64,
    /// How often it was built again after a failed check or a panic.
    pub rebuilds: u64,
    /// How often a build failed.
    pub failures: u64,
    /// What the last failed build or check said.
    pub last_error: Option<String>,
    /// How it fares.
    pub state: ResourceState,
}

/// How a resource fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceState {
    /// Not built yet.
    Waiting,
    /// In use.
    Ready,
    /// The last build failed; it is being tried again.
    Failing,
    /// Dropped.
    Closed,
}

impl ResourceState {
    /// As it is shown: `waiting`, `ready`, `failing`, `closed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Failing => "failing",
            Self::Closed => "closed",
        }
    }
}

/// Collects how the resources of one process fare. Cheap to clone; every clone is the same board.
#[derive(Clone, Debug)]
pub struct HealthBoard {
    process: Process,
    /// What each entry is of.
    types: Arc<[TypeId]>,
    entries: Arc<Mutex<Vec<ResourceHealth>>>,
    changed: Arc<Notify>,
}

/// What happened to one value.
#[derive(Debug)]
pub(super) enum Change<'a> {
    Built,
    Rebuilt,
    BuildFailed(&'a str),
    CheckFailed(&'a str),
    Dropped,
}

impl HealthBoard {
    /// A board on which everything waits to be built.
    pub fn new(plan: &ResourcePlan, process: Process) -> Self {
        let types = plan.resources().iter().map(|resource| resource.type_id).collect();
        let entries = plan.resources().iter().map(waiting).collect();
        Self { process, types, entries: Arc::new(Mutex::new(entries)), changed: Arc::default() }
    }

    /// The process it is about.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// How everything fares now, in order of registration.
    pub fn snapshot(&self) -> Vec<ResourceHealth> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether something that is asked for has not been built yet, on no thread of the process.
    pub fn lacks(&self, requests: &[ResourceRequest]) -> bool {
        if requests.is_empty() {
            return false;
        }
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = |request: &ResourceRequest| {
            let mut known = entries.iter().zip(&*self.types);
            known.any(|(entry, of)| entry.kind == request.kind && *of == request.type_id && entry.builds == 0)
        };
        requests.iter().any(lacking)
    }

    /// Logs a failed build.
    pub(super) fn say_failed(&self, error: &ResourceError) {
        let ResourceError { name, reason, retry_after } = error;
        tracing::warn!(
            resource = %name, process = %self.process, %reason, again_in = ?retry_after,
            "a resource could not be built; the tasks that need it wait"
        );
    }

    /// Logs that a build has succeeded after some that failed.
    pub(super) fn say_built(&self, name: &str, failures: u32) {
        if failures > 0 {
            tracing::info!(resource = name, process = %self.process, failures, "the resource is built now");
        }
    }

    pub(super) fn record(&self, index: usize, change: &Change<'_>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries[index].apply(change);
        self.changed.notify_one();
    }

    /// Waits until something has changed since the last time, for one waiter at a time. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl ResourceHealth {
    fn apply(&mut self, change: &Change<'_>) {
        match *change {
            Change::Built => {
                self.builds += 1;
                self.alive += 1;
                self.state = ResourceState::Ready;
            }
            Change::Rebuilt => {
                self.rebuilds += 1;
                self.alive += 1;
                self.state = ResourceState::Ready;
            }
            Change::BuildFailed(reason) => {
                self.failures += 1;
                self.last_error = Some(reason.into());
                self.state = ResourceState::Failing;
            }
            Change::CheckFailed(reason) => self.last_error = Some(reason.into()),
            Change::Dropped => {
                self.alive = self.alive.saturating_sub(1);
                if self.alive == 0 {
                    self.state = ResourceState::Closed;
                }
            }
        }
    }
}

fn waiting(resource: &Resource) -> ResourceHealth {
    ResourceHealth {
        name: resource.name().into(),
        kind: resource.kind(),
        alive: 0,
        builds: 0,
        rebuilds: 0,
        failures: 0,
        last_error: None,
        state: ResourceState::Waiting,
    }
}
