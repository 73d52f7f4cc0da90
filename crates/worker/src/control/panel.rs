//! Every command by its name.

use std::sync::Arc;

use celeriac_app::App;
use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{Value, repr};
use celeriac_store::Store;

use super::clock::LogicalClock;
use super::question::Inquirer;
use crate::Options;

/// What commands work on.
pub(crate) struct Panel {
    pub(crate) app: App,
    pub(crate) options: Arc<Options>,
    pub(crate) store: Store,
    pub(crate) inquirer: Inquirer,
    pub(crate) clock: LogicalClock,
}

/// What came of a command.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// What is replied.
    Reply(Value),
    /// Nothing is replied, whoever asked.
    Silence,
    /// There is no such command.
    Unknown,
}

/// A command that failed: an exception in Python, whose `repr` is replied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{kind}({})", repr::repr(&Value::from(&*self.text)))]
pub(crate) struct Refusal {
    kind: &'static str,
    text: Box<str>,
}

impl Refusal {
    /// An exception of this class.
    pub(crate) fn new(kind: &'static str, text: impl Into<Box<str>>) -> Self {
        Self { kind, text: text.into() }
    }

    /// A command without one of its arguments.
    pub(crate) fn missing(command: &str, argument: &str) -> Self {
        Self::new("TypeError", format!("{command}() missing 1 required positional argument: '{argument}'"))
    }
}

impl From<celeriac_store::Error> for Refusal {
    fn from(error: celeriac_store::Error) -> Self {
        Self::new("OperationalError", error.to_string())
    }
}

impl Panel {
    /// Obeys a command. The aliases are those of Celery.
    ///
    /// Source: `celery/worker/control.py`, Celery 5.7.0.
    pub(crate) async fn obey(&mut self, command: &ControlCommand) -> Result<Answer, Refusal> {
        let reply = match &*command.method {
            "ping" => self.ping(),
            "clock" => self.tell_clock(),
            "hello" => self.hello(command),
            "active" | "dump_active" => self.active(command).await?,
            "reserved" | "dump_reserved" => self.reserved().await?,
            "scheduled" | "dump_schedule" => self.scheduled().await?,
            "query_task" => self.query_task(command).await?,
            "registered" | "dump_tasks" => self.registered(command),
            "active_queues" => self.active_queues(),
            "revoke" => self.revoke(command).await?,
            "terminate" => self.terminate(command).await?,
            "revoke_by_stamped_headers" => self.revoke_by_stamped_headers(command).await?,
            "enable_events" | "disable_events" => self.no_events(),
            "heartbeat" => Value::Null,
            "shutdown" => {
                self.shutdown(command);
                return Ok(Answer::Silence);
            }
            _ => return Ok(Answer::Unknown),
        };
        Ok(Answer::Reply(reply))
    }
}

/// A reply that all went well.
///
/// Source: `ok`, `celery/worker/control.py`, Celery 5.7.0.
pub(super) fn ok(value: impl Into<Value>) -> Value {
    Value::Map(vec![("ok".into(), value.into())])
}

/// A reply that it did not.
///
/// Source: `nok`, `celery/worker/control.py`, Celery 5.7.0.
pub(super) fn nok(value: impl Into<Value>) -> Value {
    Value::Map(vec![("error".into(), value.into())])
}
