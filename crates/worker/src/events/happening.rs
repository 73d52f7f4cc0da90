//! What can happen.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::events::{EventList, Sender};
use celeriac_protocol::{Timestamp, Value};

use crate::request::Request;

/// Something that those who watch are told of.
#[derive(Debug)]
pub(crate) enum Happening {
    /// To a task.
    Task {
        /// When.
        at: Timestamp,
        /// Which call of it.
        request: Arc<Request>,
        /// What.
        what: TaskEvent,
    },
    /// The worker lives, and somebody has asked to hear it now.
    Heartbeat,
}

/// What can happen to a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TaskEvent {
    /// The worker has it.
    Received,
    /// It runs.
    Started,
    /// It has returned.
    Succeeded {
        /// The `repr` of what.
        result: Box<str>,
        /// How long it ran.
        runtime: Duration,
    },
    /// It has failed for good.
    Failed {
        /// The `repr` of the exception.
        exception: Box<str>,
        /// Where it was raised, or what was raised where nobody knows: text, as Celery's is.
        traceback: Box<str>,
    },
    /// It has failed, and is sent again.
    Retried {
        /// The `repr` of the exception.
        exception: Box<str>,
        /// Where it was raised, or what was raised where nobody knows: text, as Celery's is.
        traceback: Box<str>,
    },
    /// It has refused its message.
    Rejected {
        /// Whether that goes back to its queue.
        requeue: bool,
    },
    /// It was revoked, or too old.
    Revoked {
        /// The signal that has ended its process, if one has.
        signal: Option<i32>,
        /// Whether it was too old.
        expired: bool,
    },
}

impl TaskEvent {
    /// As its `type` says it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Received => "task-received",
            Self::Started => "task-started",
            Self::Succeeded { .. } => "task-succeeded",
            Self::Failed { .. } => "task-failed",
            Self::Retried { .. } => "task-retried",
            Self::Rejected { .. } => "task-rejected",
            Self::Revoked { .. } => "task-revoked",
        }
    }

    /// Adds it to a list.
    ///
    /// Source: the calls of `send_event` in `celery/worker/request.py` and `celery/worker/strategy.py`, Celery 5.7.0.
    pub(crate) fn write(
        &self,
        list: &mut EventList,
        sender: &Sender,
        clock: u64,
        at: Timestamp,
        request: &Request,
    ) {
        let event = list.add(self.kind(), sender, clock, at).text("uuid", request.id.as_str());
        match self {
            Self::Started => event.end(),
            Self::Received => {
                let headers = &request.delivery.message.headers;
                let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
                event
                    .text("name", request.name().as_str())
                    .maybe("args", headers.argsrepr.as_deref())
                    .maybe("kwargs", headers.kwargsrepr.as_deref())
                    .maybe("root_id", headers.root_id.as_ref().map(celeriac_protocol::TaskId::as_str))
                    .maybe("parent_id", headers.parent_id.as_ref().map(celeriac_protocol::TaskId::as_str))
                    .value("retries", &Value::Int(i64::from(headers.retries)))
                    .maybe("eta", time(headers.eta).as_deref())
                    .maybe("expires", time(headers.expires).as_deref())
                    .end();
            }
            Self::Succeeded { result, runtime } => {
                event.text("result", result).value("runtime", &Value::Float(runtime.as_secs_f64())).end();
            }
            Self::Failed { exception, traceback } | Self::Retried { exception, traceback } => {
                event.text("exception", exception).text("traceback", traceback).end();
            }
            Self::Rejected { requeue } => event.value("requeue", &Value::Bool(*requeue)).end(),
            Self::Revoked { signal, expired } => {
                let signum = signal.map_or(Value::Null, |signal| Value::Int(i64::from(signal)));
                event
                    .value("terminated", &Value::Bool(signal.is_some()))
                    .value("signum", &signum)
                    .value("expired", &Value::Bool(*expired))
                    .end();
            }
        }
    }
}
