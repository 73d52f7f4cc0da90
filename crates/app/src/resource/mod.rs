//! Values that outlive tasks and belong to a worker process or to one of its executor threads, such as a connection.
//!
//! A resource is registered with [`crate::App::resource`] and asked for by a task as a parameter of type
//! [`Shared<T>`] (one per process) or [`Local<T>`] (one per executor thread). It is built before the first task that
//! could ask for it starts (only those tasks wait for it), checked before each task that does, rebuilt when the check fails, and dropped when the
//! process or thread ends, in reverse order of registration.
//!
//! ```
//! use celeriac_app::{App, Resource};
//!
//! struct Database;
//!
//! impl Database {
//!     fn open(path: &str) -> std::io::Result<Self> { Ok(Database) }
//!     fn ping(&self) -> std::io::Result<()> { Ok(()) }
//! }
//!
//! let app = App::new("urls")
//!     .resource(Resource::per_thread(|_process| Database::open("urls.sqlite")).check(Database::ping));
//! ```

mod backoff;
mod definition;
mod health;
mod local;
mod plan;
mod process;
mod shared;

pub use backoff::Backoff;
pub use definition::{BoxError, LocalResource, Resource, SharedResource};
pub use health::{HealthBoard, ResourceHealth, ResourceState};
pub use local::{Local, LocalSet};
pub use plan::{MissingResource, ResourceKind, ResourcePlan, ResourceRequest};
pub use process::{Process, ProcessKind};
pub use shared::{Shared, SharedSet};

/// A resource could not be built, or was not fit for use and could not be rebuilt.
#[derive(Debug, thiserror::Error)]
#[error("resource {name} is not available: {reason}")]
pub struct ResourceError {
    /// The name of the resource.
    pub name: Box<str>,
    /// What its build said.
    pub reason: String,
    /// How long to wait before the next try.
    pub retry_after: std::time::Duration,
}

impl ResourceError {
    /// Of several failed builds the one that is to be tried again first.
    fn soonest(failed: impl IntoIterator<Item = Self>) -> Result<(), Self> {
        failed.into_iter().min_by_key(|error| error.retry_after).map_or(Ok(()), Err)
    }
}
