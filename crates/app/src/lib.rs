//! Declaring and sending tasks.
//!
//! An [`App`] holds the tasks, resources, signal handlers and settings of a program. Programs that send and
//! programs that run tasks build the same one; the worker crate runs it.

mod app;
mod args;
mod cancellation;
mod context;
mod nearest;
pub mod resource;
mod routing;
pub mod settings;
pub mod signals;
pub mod task;

pub use app::App;
pub use args::Arguments;
pub use cancellation::{CancellationToken, Cancelled, Reason};
pub use context::{Context, Reporter, Workplace};
pub use nearest::nearest_name;
pub use resource::{Local, Process, Resource, Shared};
pub use routing::{RouteTarget, Routes};
pub use settings::Settings;
pub use task::{TaskBody, TaskDefinition, TaskError, TaskOptions, TaskResult};
