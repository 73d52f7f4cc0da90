//! What the handlers of each signal are told.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use celeriac_protocol::{Headers, Message, QueueName, TaskId, TaskName, Timestamp, Value};

use crate::task::Failure;
use crate::{Context, Settings, sent_at};

/// A worker, by its node name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerNode {
    /// Such as `celery@host`.
    pub name: Box<str>,
}

/// A worker whose settings may still be changed.
#[derive(Debug)]
pub struct WorkerSetup {
    /// Its node name, such as `celery@host`.
    pub name: Box<str>,
    settings: Mutex<Settings>,
}

impl WorkerSetup {
    /// A worker of this node name with these settings.
    pub fn new(name: impl Into<Box<str>>, settings: Settings) -> Self {
        Self { name: name.into(), settings: Mutex::new(settings) }
    }

    /// Looks at the settings, or changes them.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut Settings) -> R) -> R {
        edit(&mut self.settings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The settings after all changes.
    pub fn into_settings(self) -> Settings {
        self.settings.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that was told to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShuttingDown {
    /// Its node name.
    pub name: Box<str>,
    /// The signal, such as `SIGTERM`, if it was one.
    pub signal: Option<Box<str>>,
    /// Whether it lets running tasks end: a warm shutdown.
    pub warm: bool,
}

/// A worker that said it is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Its node name.
    pub name: Box<str>,
    /// How many tasks it is running.
    pub running: usize,
}

/// A task that has arrived.
#[derive(Clone, Debug)]
pub struct ReceivedTask {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub name: TaskName,
    /// The queue it came from.
    pub queue: QueueName,
    /// Its message headers.
    pub headers: Headers,
}

/// A task that has run.
#[derive(Clone, Debug)]
pub struct Postrun {
    /// The call.
    pub context: Context,
    /// How it ended: `SUCCESS`, `FAILURE`, `RETRY`, ...
    pub state: celeriac_protocol::State,
    /// How long it ran.
    pub runtime: Duration,
    /// When it ended.
    pub ended_at: Timestamp,
}

impl Postrun {
    /// The time to response: from the first sending until this run started. `None` if the producer does not say when
    /// it sent the task.
    pub fn time_to_response(&self) -> Option<Duration> {
        self.time_to_resolution().map(|resolution| resolution.saturating_sub(self.runtime))
    }

    /// The time to resolution: from the first sending until this run ended, earlier tries included. It is the task's
    /// own if [`Postrun::state`] is final.
    pub fn time_to_resolution(&self) -> Option<Duration> {
        Some(self.ended_at.saturating_since(sent_at(self.context.headers())?))
    }
}

/// A task that has returned a value.
#[derive(Clone, Debug)]
pub struct TaskSucceeded {
    /// The call.
    pub context: Context,
    /// What it returned.
    pub result: Value,
    /// How long it ran.
    pub runtime: Duration,
}

/// A task that has failed for good.
#[derive(Debug)]
pub struct TaskFailed {
    /// The call.
    pub context: Context,
    /// Why.
    pub failure: Failure,
}

/// A task that will be tried again.
#[derive(Debug)]
pub struct TaskRetried {
    /// The call.
    pub context: Context,
    /// Why, for people.
    pub reason: String,
    /// After how long.
    pub countdown: Duration,
}

/// A task that was revoked or had expired.
#[derive(Clone, Debug)]
pub struct RevokedTask {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub name: TaskName,
    /// Whether it was running, and was stopped.
    pub terminated: bool,
    /// Whether it had expired.
    pub expired: bool,
}

/// A message that could not be run.
#[derive(Clone, Debug)]
pub struct RefusedTask {
    /// The call, if the message names it.
    pub id: Option<TaskId>,
    /// The task, if the message names it.
    pub name: Option<TaskName>,
    /// The message as it came.
    pub message: Message,
    /// Why, for people.
    pub reason: String,
}

/// A failure of the worker itself.
#[derive(Clone, Debug)]
pub struct InternalError {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub name: TaskName,
    /// What went wrong.
    pub reason: String,
}

/// A task that is about to be published.
#[derive(Debug)]
pub struct Publishing {
    /// The task.
    pub name: TaskName,
    /// Where to.
    pub queue: QueueName,
    message: Mutex<Message>,
}

impl Publishing {
    /// A message on its way.
    pub fn new(name: TaskName, queue: QueueName, message: Message) -> Self {
        Self { name, queue, message: Mutex::new(message) }
    }

    /// Looks at the message, or changes it: its headers, say.
    pub fn edit<R>(&self, edit: impl FnOnce(&mut Message) -> R) -> R {
        edit(&mut self.message.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The message after all changes.
    pub fn into_message(self) -> Message {
        self.message.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that has been published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The call.
    pub id: TaskId,
    /// The task.
    pub name: TaskName,
    /// Where to.
    pub queue: QueueName,
}
