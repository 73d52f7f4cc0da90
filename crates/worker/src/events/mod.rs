//! Events: what those who watch the worker are told, as Celery's tools hear it.
//!
//! - [`allowance`] bounds how much of that there may be;
//! - [`happening`] is what can happen to a task, and how it is written;
//! - [`outcome`] says how a task ended, in the words of an event;
//! - [`watch`] is where the loop writes what happens, and what it writes waits;
//! - [`dispatcher`] sends that, beside the loop, which never waits for it.
//!
//! What is more than allowed, or cannot be sent as fast as it happens, is dropped, and counted in the log and in metrics.

mod allowance;
mod dispatcher;
mod happening;
mod outcome;
mod watch;

pub(crate) use dispatcher::{Dispatcher, Load};
pub(crate) use happening::TaskEvent;
pub(crate) use outcome::{events_of, raised};
pub use watch::Switch;
pub(crate) use watch::{Inbox, Watch};
