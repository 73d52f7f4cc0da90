//! Every command by its name.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use celeriac_app::control::Asked;
use celeriac_app::{App, TaskOptions};
use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{TaskName, Value, repr};
use celeriac_store::Store;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::clock::LogicalClock;
use super::commands::MemorySamples;
use super::intake::Intake;
use super::kept::{Kept, KeptCommand};
use super::own::OwnCommands;
use super::question::Inquirer;
use crate::Options;

/// What commands work on.
pub(crate) struct Panel {
    pub(crate) app: App,
    pub(crate) options: Arc<Options>,
    pub(crate) store: Store,
    pub(crate) inquirer: Inquirer,
    pub(crate) clock: LogicalClock,
    /// When the worker started.
    pub(crate) since: Instant,
    /// Where the worker takes tasks from.
    pub(crate) intake: Intake,
    /// What is kept of commands for those that start later.
    pub(crate) kept: Kept,
    /// What was set of tasks that are none of the application's: their options as they are now.
    pub(crate) changed: HashMap<TaskName, TaskOptions>,
    /// What `memsample` has found.
    pub(crate) memory: MemorySamples,
    /// Asks for an event that says that the worker lives, if any are sent.
    pub(crate) bell: Option<Arc<Notify>>,
    /// Answers commands that the program has added.
    pub(crate) own: OwnCommands,
}

/// What came of a command.
pub(crate) enum Answer {
    /// What is replied.
    Reply(Value),
    /// What will be replied, while other commands are obeyed.
    Later(Pin<Box<dyn Future<Output = Value> + Send>>),
    /// Nothing is replied, whoever asked.
    Silence,
    /// There is no such command.
    Unknown,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply(reply) => f.debug_tuple("Reply").field(reply).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Silence => f.write_str("Silence"),
            Self::Unknown => f.write_str("Unknown"),
        }
    }
}

/// A command that failed: an exception in Python, whose `repr` is replied.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(Box<str>);

impl Refusal {
    /// An exception of this class.
    pub(crate) fn new(kind: &'static str, text: impl Into<Box<str>>) -> Self {
        Self(format!("{kind}({})", repr::repr(&Value::String(text.into()))).into())
    }

    /// A command without these of its arguments, one or two.
    pub(crate) fn missing(command: &str, arguments: &[&str]) -> Self {
        let (count, ending) = (arguments.len(), if arguments.len() == 1 { "" } else { "s" });
        let names: Vec<String> = arguments.iter().map(|name| format!("'{name}'")).collect();
        let names = names.join(" and ");
        let text = format!("{command}() missing {count} required positional argument{ending}: {names}");
        Self::new("TypeError", text)
    }
}

impl From<celeriac_store::Error> for Refusal {
    fn from(error: celeriac_store::Error) -> Self {
        Self::new("OperationalError", error.to_string())
    }
}

impl Panel {
    /// Obeys a command, and keeps it if it changes what should hold after a restart.
    /// What the program has added comes before everything else, and is not kept.
    pub(crate) async fn obey(&mut self, command: &ControlCommand) -> Result<Answer, Refusal> {
        if let Some(own) = self.app.control_commands().find(|own| own.form().name == *command.method) {
            let (app, node) = (self.app.clone(), self.options.node_name.as_str().into());
            let answer = self.own.begin(own, Asked { app, node, arguments: command.arguments.clone() })?;
            return Ok(Answer::Later(Box::pin(answer)));
        }
        let answer = self.obey_now(command).await?;
        if is_done(&answer) {
            self.keep(command).await?;
        }
        Ok(answer)
    }

    /// Keeps what was obeyed, if it should hold after a restart.
    pub(super) async fn keep(&mut self, command: &ControlCommand) -> Result<(), Refusal> {
        self.kept.keep(command).await.map_err(|error| {
            Refusal::new("OperationalError", format!("it holds until the worker ends only: {error}"))
        })
    }

    /// Obeys what was kept. What cannot be obeyed here, because it is about a task that is not known or an application
    /// that refuses it, was obeyed by others.
    pub(crate) async fn obey_kept(&mut self, kept: KeptCommand) {
        let KeptCommand { name, command, .. } = &kept;
        let task = command.argument("task_name").and_then(Value::as_str);
        if task.is_none_or(|task| self.app.find_task(task).is_some()) {
            match self.obey_now(command).await {
                Ok(answer) if is_done(&answer) => {
                    let arguments = repr::repr(&Value::Map(command.arguments.clone()));
                    let method = &command.method;
                    // A pause that has ended is kept too, and is nothing to warn of.
                    let is_as_configured = command.argument("queue").is_some()
                        && !Intake::new(self.options.queues.clone(), Vec::new()).obey(command);
                    if is_as_configured {
                        tracing::debug!("kept of remote control: {method} {arguments}");
                    } else {
                        tracing::warn!("as remote control has changed it earlier: {method} {arguments}");
                    }
                }
                Ok(answer) => tracing::error!(name, ?answer, "a change that was kept cannot be made"),
                Err(error) => tracing::error!(name, %error, "a change that was kept cannot be made"),
            }
        }
        self.kept.obeyed(kept);
    }

    /// Obeys a command. What the application has put in the place of one of Celery's comes before that.
    async fn obey_now(&mut self, command: &ControlCommand) -> Result<Answer, Refusal> {
        if self.options.template.as_ref().is_some_and(|template| template.has_command(&command.method)) {
            return self.obey_application(command).await;
        }
        match self.obey_ours(command).await? {
            // It may have been added after the application was loaded.
            Answer::Unknown => self.obey_application(command).await,
            answer => Ok(answer),
        }
    }

    /// Obeys a command of Celery. The aliases are those that it has.
    ///
    /// Source: `celery/worker/control.py`, Celery 5.7.0.
    pub(super) async fn obey_ours(&mut self, command: &ControlCommand) -> Result<Answer, Refusal> {
        let reply = match &*command.method {
            "ping" => self.ping(),
            "clock" => self.tell_clock(),
            "hello" => self.hello(command).await?,
            "active" | "dump_active" => self.active(command).await?,
            "reserved" | "dump_reserved" => self.reserved().await?,
            "scheduled" | "dump_schedule" => self.scheduled().await?,
            "query_task" => self.query_task(command).await?,
            "registered" | "dump_tasks" => self.registered(command).await?,
            "stats" => self.stats().await?,
            "conf" | "dump_conf" => self.conf(command).await?,
            "report" => self.report(command).await?,
            "memsample" => self.sample_memory(),
            "memdump" => self.dump_memory(command),
            "objgraph" => self.graph_objects(command).await?,
            "active_queues" => self.active_queues(),
            "revoked" | "dump_revoked" => self.revoked().await?,
            "revoke" => self.revoke(command).await?,
            "terminate" => self.terminate(command).await?,
            "revoke_by_stamped_headers" => self.revoke_by_stamped_headers(command).await?,
            "enable_events" => self.turn_events(true),
            "disable_events" => self.turn_events(false),
            "heartbeat" => self.heartbeat(),
            "rate_limit" => self.rate_limit(command).await?,
            "time_limit" => self.time_limit(command).await?,
            "add_consumer" => self.add_consumer(command).await?,
            "cancel_consumer" => self.cancel_consumer(command).await?,
            "pause" => self.pause(command).await?,
            "resume" => self.resume(command).await?,
            "changes" => self.changes().await?,
            "forget_changes" => self.forget_changes(command).await?,
            "pool_grow" => self.grow_pool(command).await?,
            "pool_shrink" => self.shrink_pool(command).await?,
            "pool_restart" => self.restart_pool(command).await?,
            "autoscale" => return Err(Refusal::new("ValueError", "Autoscale not enabled")),
            "election" => Self::election(command)?,
            "shutdown" => {
                self.shutdown(command);
                return Ok(Answer::Silence);
            }
            _ => return Ok(Answer::Unknown),
        };
        Ok(Answer::Reply(reply))
    }
}

/// Whether that is a reply that all went well.
pub(super) fn is_done(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(reply) if reply.get("ok").is_some())
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
