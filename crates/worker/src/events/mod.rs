//! Events: what those who watch the worker are told, as Celery's tools hear it.
//!
//! - [`happening`] is what can happen to a task, and [`Watch`] by which the loop says so;
//! - [`outcome`] says how a task ended, in the words of an event;
//! - [`dispatcher`] writes what has happened into messages and sends them, beside the loop, which never waits for it.
//!
//! What cannot be sent as fast as it happens is dropped, and counted in the log.

mod dispatcher;
mod happening;
mod outcome;
mod watch;

pub(crate) use dispatcher::{Dispatcher, Load};
pub(crate) use happening::{Happening, TaskEvent};
pub(crate) use outcome::{events_of, raised};
pub use watch::Switch;
pub(crate) use watch::{Inbox, Watch};
