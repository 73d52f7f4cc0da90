//! What the code of a Celery application hears in its template of requests that do not end by themselves. Plain data.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::{TaskId, TaskName};
use celeriac_store::Delivery;
use serde::Serialize;

use crate::outcome::Failure;
use crate::request::Request;
use crate::signum::Signum;

/// Something that the template is to tell the code of its application.
#[derive(Clone, Debug)]
pub(crate) struct Telling {
    /// The call, where its message names one.
    pub id: Option<TaskId>,
    /// The task, where its message names one.
    pub task: Option<TaskName>,
    /// The message.
    pub delivery: Arc<Delivery>,
    /// What has happened.
    pub what: What,
}

/// What has happened to a task.
///
/// `stores` is whether the result backend of the application is to hear of it too, with all that follows there: errbacks and
/// chords. It is where that backend is none of ours; else the engine does all that, once, in its finish. `stores_result` is
/// whether the result itself is wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum What {
    /// It has been received.
    Received,
    /// Nothing: the question is whether its success is stored.
    Stored,
    /// It has failed. `calls_task` is whether `Task.on_failure` and `Task.after_return` are called.
    Failed { raised: Raised, stores: bool, stores_result: bool, calls_task: bool },
    /// It is sent again.
    Retried { raised: Raised, countdown: f64, stores: bool, stores_result: bool },
    /// It was revoked, or had expired.
    Revoked {
        reason: &'static str,
        terminated: bool,
        signum: Option<i32>,
        expired: bool,
        stores: bool,
        stores_result: bool,
    },
    /// Nobody has registered it.
    Unknown { raised: Raised, stores: bool },
    /// Its message cannot be run.
    Rejected { raised: Raised },
}

/// An exception, as Python makes it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Raised {
    /// Its class.
    #[serde(rename = "type")]
    pub class: Box<str>,
    /// The module of its class.
    pub module: Option<Box<str>>,
    /// What it is made of.
    pub args: Vec<serde_json::Value>,
}

/// What the template answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Whether what was to be stored is, or whether what was asked for is so.
    pub done: bool,
}

impl Telling {
    /// What has happened to this request.
    pub(crate) fn of(request: &Request, what: What) -> Self {
        let (id, task) = (Some(request.id.clone()), Some(request.name().clone()));
        Self { id, task, delivery: Arc::clone(&request.delivery), what }
    }
}

impl What {
    /// The same; the process of a revoked task was told to end by this signal.
    pub(crate) fn terminated_by(mut self, signal: Signum) -> Self {
        if let Self::Revoked { signum: Some(signum), .. } = &mut self {
            *signum = signal.number();
        }
        self
    }

    /// The signal that is sent.
    pub(crate) fn signal(&self) -> Option<&'static str> {
        Some(match self {
            Self::Stored => return None,
            Self::Received => "task_received",
            Self::Failed { .. } => "task_failure",
            Self::Retried { .. } => "task_retry",
            Self::Revoked { .. } => "task_revoked",
            Self::Unknown { .. } => "task_unknown",
            Self::Rejected { .. } => "task_rejected",
        })
    }

    /// Whether the template has something to do whoever listens: methods of the task to call, or a result to store.
    pub(crate) fn is_wanted(&self) -> bool {
        match self {
            Self::Stored | Self::Retried { .. } => true,
            Self::Failed { stores, calls_task, .. } => *stores || *calls_task,
            Self::Revoked { stores, .. } | Self::Unknown { stores, .. } => *stores,
            Self::Received | Self::Rejected { .. } => false,
        }
    }

    /// Whether the result backend of the application is to hear of it.
    pub(crate) fn stores(&self) -> bool {
        match self {
            Self::Failed { stores, .. }
            | Self::Retried { stores, .. }
            | Self::Revoked { stores, .. }
            | Self::Unknown { stores, .. } => *stores,
            Self::Received | Self::Stored | Self::Rejected { .. } => false,
        }
    }
}

impl Raised {
    /// An exception made of these.
    pub(crate) fn new(class: &str, module: &str, args: Vec<serde_json::Value>) -> Self {
        Self { class: class.into(), module: Some(module.into()), args }
    }
}

impl Raised {
    /// What a hard time limit raises.
    pub(crate) fn time_limit(limit: Duration) -> Self {
        let whole = limit.subsec_nanos() == 0;
        let seconds = if whole { limit.as_secs().into() } else { limit.as_secs_f64().into() };
        Self::new("TimeLimitExceeded", "billiard.exceptions", vec![seconds])
    }

    /// What a task raises to refuse its message.
    pub(crate) fn reject(reason: &str, requeue: bool) -> Self {
        Self::new("Reject", "celery.exceptions", vec![reason.into(), requeue.into()])
    }
}

impl From<&Failure> for Raised {
    fn from(failure: &Failure) -> Self {
        let args = vec![(&*failure.message).into()];
        Self { class: failure.exc_type.clone(), module: failure.exc_module.clone(), args }
    }
}
