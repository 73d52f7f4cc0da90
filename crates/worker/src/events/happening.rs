//! What can happen to a task, and how that is written.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::events::{EventList, EventWriter, Sender};
use celeriac_protocol::{TaskId, Timestamp, Value, key};

use crate::request::Request;

/// What can happen to a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TaskEvent<'a> {
    /// The worker has it.
    Received,
    /// It runs.
    Started,
    /// It has returned.
    Succeeded {
        /// The `repr` of what.
        result: Cow<'a, str>,
        /// How long it ran.
        runtime: Duration,
    },
    /// It has failed for good.
    Failed {
        /// The `repr` of the exception.
        exception: Cow<'a, str>,
        /// Where it was raised, or what was raised where nobody knows: text, as Celery's is.
        traceback: Cow<'a, str>,
    },
    /// It has failed, and is sent again.
    Retried {
        /// The `repr` of the exception.
        exception: Cow<'a, str>,
        /// Where it was raised, or what was raised where nobody knows: text, as Celery's is.
        traceback: Cow<'a, str>,
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

/// What has happened to a call, not written yet.
#[derive(Debug)]
pub(super) struct Happening {
    pub(super) at: Timestamp,
    pub(super) clock: u64,
    pub(super) request: Arc<Request>,
    pub(super) what: TaskEvent<'static>,
}

impl Happening {
    /// Adds it to a list.
    pub(super) fn write(&self, list: &mut EventList, sender: &Sender) {
        self.what.write(list.add(self.what.kind(), sender, self.clock, self.at), &self.request);
    }
}

impl TaskEvent<'_> {
    /// The same without what it was borrowed from.
    pub(super) fn into_owned(self) -> TaskEvent<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        match self {
            Self::Received => TaskEvent::Received,
            Self::Started => TaskEvent::Started,
            Self::Succeeded { result, runtime } => TaskEvent::Succeeded { result: owned(result), runtime },
            Self::Failed { exception, traceback } => {
                TaskEvent::Failed { exception: owned(exception), traceback: owned(traceback) }
            }
            Self::Retried { exception, traceback } => {
                TaskEvent::Retried { exception: owned(exception), traceback: owned(traceback) }
            }
            Self::Rejected { requeue } => TaskEvent::Rejected { requeue },
            Self::Revoked { signal, expired } => TaskEvent::Revoked { signal, expired },
        }
    }

    /// As its `type` says it.
    pub(super) fn kind(&self) -> &'static str {
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

    /// Writes what is said of this request.
    ///
    /// Source: the calls of `send_event` in `celery/worker/request.py` and `celery/worker/strategy.py`, Celery 5.7.0.
    pub(super) fn write(&self, event: EventWriter<'_>, request: &Request) {
        let event = event.text(key!("uuid"), request.id.as_str());
        match self {
            Self::Started => event.end(),
            Self::Received => {
                let headers = &request.delivery.message.headers;
                let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
                event
                    .text(key!("name"), request.name().as_str())
                    .maybe(key!("args"), headers.argsrepr.as_deref())
                    .maybe(key!("kwargs"), headers.kwargsrepr.as_deref())
                    .maybe(key!("root_id"), headers.root_id.as_ref().map(TaskId::as_str))
                    .maybe(key!("parent_id"), headers.parent_id.as_ref().map(TaskId::as_str))
                    .value(key!("retries"), &Value::Int(i64::from(headers.retries)))
                    .maybe(key!("eta"), time(headers.eta).as_deref())
                    .maybe(key!("expires"), time(headers.expires).as_deref())
                    .end();
            }
            Self::Succeeded { result, runtime } => {
                event.text(key!("result"), result).seconds(key!("runtime"), *runtime).end();
            }
            Self::Failed { exception, traceback } | Self::Retried { exception, traceback } => {
                event.text(key!("exception"), exception).text(key!("traceback"), traceback).end();
            }
            Self::Rejected { requeue } => event.value(key!("requeue"), &Value::Bool(*requeue)).end(),
            Self::Revoked { signal, expired } => {
                let signum = signal.map_or(Value::Null, |signal| Value::Int(i64::from(signal)));
                event
                    .value(key!("terminated"), &Value::Bool(signal.is_some()))
                    .value(key!("signum"), &signum)
                    .value(key!("expired"), &Value::Bool(*expired))
                    .end();
            }
        }
    }
}
