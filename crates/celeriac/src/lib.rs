//! A distributed task queue that speaks Celery's protocol.
//!
//! Declare a task, register it with an [`App`], send calls of it, and run a worker that works them off:
//!
//! ```
//! use std::collections::HashMap;
//!
//! use celeriac::prelude::*;
//!
//! /// What all tasks of one worker process share: built when the process starts, dropped when it ends.
//! struct Hosts(HashMap<String, u32>);
//!
//! impl Hosts {
//!     fn load() -> std::io::Result<Self> {
//!         Ok(Self(HashMap::from([("example.org".to_owned(), 3)])))
//!     }
//! }
//!
//! /// Says how many pages of a host are known.
//! #[celeriac::task(max_retries = 5, retry_backoff)]
//! async fn count_pages(hosts: Shared<Hosts>, host: String) -> TaskResult<u32> {
//!     Ok(hosts.0.get(&host).copied().unwrap_or(0))
//! }
//!
//! fn main() -> Result<(), SendError> {
//!     let app = App::new("urls")
//!         .settings(|settings| settings.broker_url = "memory://urls".into())
//!         .resource(Resource::per_process(|_process| Hosts::load()))
//!         .on(signals::worker_process_init, |process| println!("{process} starts"))
//!         .tasks(tasks![count_pages]);
//!
//!     let result = count_pages.delay_blocking(&app, "example.org")?;
//!     println!("sent as {}", result.id());
//!     // With a worker on the same store: result.get_blocking(Duration::from_secs(10))? == 3
//!     Ok(())
//! }
//! ```
//!
//! `celeriac::cli::run(app)` makes a program of it, with the worker as one of its commands.
//!
//! # What is where
//!
//! - `#[task]` makes a task of a function; its documentation lists all options.
//! - [`App`] holds tasks, resources, signal handlers and [`Settings`].
//! - [`Signature`] is a call as data; [`AsyncResult`] is what became of it.
//! - [`canvas`] composes calls: chains, groups and chords, typed from step to step.
//! - [`Context`] is the call inside of a running task: retries, progress, cancellation.
//! - [`Resource`], [`Shared`] and [`Local`] are what outlives tasks, such as connections.
//! - [`workflow`] is what [`App::workflow`] tells of a workflow and of what it waits for.
//! - [`control`] asks workers, and holds commands of a program's own that its workers answer.
//! - [`signals`] are the moments in the life of workers and tasks, under Celery's names.
//! - [`worker`] runs the tasks; `cli` is the command line.
//!
//! # Features
//!
//! On by default: `macros` (the attribute), `cli` (the command line), `sqlite` (the embedded store), `tui` (the full-screen view
//! of `celeriac events`). To be chosen: `redis` (`redis://` URLs), and with it `tls` (`rediss://`); `otlp` (traces for a collector
//! of OpenTelemetry).

pub use celeriac_app::{
    App, ArgumentReader, Arguments, AsyncResult, CancellationToken, Cancelled, Context, EncodedArgument,
    Local, Process, Reason, Resource, ResultError, RouteTarget, Routes, SENT_AT_HEADER, SendError, Sender,
    Settings, Shared, Signature, Task, TaskBody, TaskDefinition, TaskError, TaskOptions, TaskResult, args,
    canvas, control, hostname, kwargs, protocol, resource, sent_at, settings, signals, store, tasks, trace,
    workflow,
};
#[cfg(feature = "cli")]
pub use celeriac_cli as cli;
#[cfg(feature = "macros")]
pub use celeriac_macros::task;
pub use celeriac_worker as worker;

#[doc(hidden)]
pub use celeriac_app::__private;

/// What most programs use.
pub mod prelude {
    pub use crate::canvas::{Group, GroupResult, Step, chain, chord, group};
    pub use crate::protocol::{State, Value};
    pub use crate::{
        App, AsyncResult, CancellationToken, Context, Local, Process, Resource, ResultError, SendError,
        Shared, Signature, TaskError, TaskResult, args, kwargs, signals, tasks,
    };
    #[cfg(feature = "macros")]
    pub use celeriac_macros::task;
}

// The program in the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
