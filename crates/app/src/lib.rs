//! Declaring and sending tasks.
//!
//! An [`App`] holds the tasks, resources, signal handlers and settings of a program. Programs that send and
//! programs that run tasks build the same one; the worker crate runs it.

mod app;
mod args;
mod async_result;
mod cancellation;
pub mod canvas;
mod client;
mod composer;
mod context;
pub mod control;
mod nearest;
mod objectives;
mod panic;
mod producer;
pub mod resource;
mod routing;
pub mod settings;
pub mod signals;
mod signature;
pub mod task;
pub mod trace;
mod trail;
pub mod workflow;

pub use app::App;
pub use args::ArgumentReader;
pub use async_result::{AsyncResult, ResultError};
pub use cancellation::{CancellationToken, Cancelled, Reason};
pub use celeriac_protocol::{self as protocol, Arguments};
pub use celeriac_store as store;
pub use client::hostname;
pub use composer::{SENT_AT_HEADER, sent_at};
pub use context::{Context, Reporter, Workplace};
pub use nearest::nearest_name;
pub use objectives::{Objective, Objectives};
pub use producer::{SendError, Sender};
pub use resource::{Local, Process, Resource, Shared};
pub use routing::{RouteTarget, Routes};
pub use settings::Settings;
pub use signature::{EncodedArgument, Signature};
pub use task::{Task, TaskBody, TaskDefinition, TaskError, TaskOptions, TaskResult};
pub use trail::{Left, MOST_CHILDREN, Trail};

/// What the code of `#[task]` and of the other macros refers to. No part of the interface.
#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
