//! How a request ended.

use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{Signature, State, Value};
use serde::{Deserialize, Serialize};

use crate::death::ChildDeath;

/// How a request ended. Plain data; what a child process says of it has a form of its own, which is part of its protocol.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The task returned this.
    Success(Value),
    /// The task failed for good: it raised, panicked, or could not be called.
    Failure(Failure),
    /// The task failed and is to be tried again as a new message with the same id.
    Retry {
        /// From now until it is due.
        delay: Duration,
        /// Why.
        failure: Failure,
    },
    /// The task asked that nothing be stored.
    Ignored,
    /// This call takes its place.
    Replaced(Box<Signature>),
    /// The task refused its message.
    Rejected {
        /// Whether the message goes back to its queue, else to the failed tasks.
        requeue: bool,
        /// Why.
        reason: Box<str>,
    },
    /// The task was revoked, or had expired.
    Revoked(Revoked),
    /// The hard time limit passed.
    TimeLimitExceeded(Duration),
    /// The process that ran it has sent what follows, and has stored how it ended or leaves that to this worker.
    Handled {
        /// How it ended.
        state: State,
        /// The result as it is to be stored.
        record: Option<Bytes>,
        /// What those who watch are told of that, where they are.
        said: Option<Box<Said>>,
    },
    /// The process that ran it is gone.
    Lost(ChildDeath),
    /// The worker stops and gives the task back, without counting this delivery.
    Returned,
}

/// How the process that ran a task shows its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Said {
    /// The `repr` of the result or of the exception.
    pub text: Box<str>,
    /// Where the exception was raised.
    #[serde(default)]
    pub traceback: Option<Box<str>>,
}

/// Why and how a revoked task did not run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// Its expiry had passed before it started.
    Expired,
    /// It was revoked before it started.
    BeforeStart,
    /// It was revoked and stopped while it ran.
    WhileRunning,
}

impl Revoked {
    /// As Celery's results say it.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::BeforeStart => "revoked",
            Self::WhileRunning => "terminated",
        }
    }
}

/// A failure as data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The stable code under which the message goes to the failed tasks; `None` for an ordinary failure of a task,
    /// whose message is done with.
    pub code: Option<FailureCode>,
    /// The class name, such as `io::Error`.
    pub exc_type: Box<str>,
    /// The module of the class.
    pub exc_module: Option<Box<str>>,
    /// What it said.
    pub message: Box<str>,
    /// Where, and what caused it.
    pub traceback: Option<Box<str>>,
}

/// Why a message goes to the failed tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FailureCode {
    /// Nobody registered this name.
    UnknownTask,
    /// The body is not what its content type says.
    UndecodableBody,
    /// An argument has the wrong type, is missing, or is one too many.
    WrongArguments,
    /// The body is over the worker's limit.
    TooLarge,
    /// The result is over the store's limit.
    ResultTooLarge,
    /// It was delivered too often and never ended.
    DeliveryLimit,
    /// The message has no task id or name.
    NotATask,
    /// The task refused the message and does not want it again.
    Rejected,
}

impl FailureCode {
    /// The code as it is stored.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::UnknownTask => "unknown-task",
            Self::UndecodableBody => "undecodable-body",
            Self::WrongArguments => "wrong-arguments",
            Self::TooLarge => "too-large",
            Self::ResultTooLarge => "result-too-large",
            Self::DeliveryLimit => "delivery-limit",
            Self::NotATask => "not-a-task",
            Self::Rejected => "rejected",
        }
    }
}
