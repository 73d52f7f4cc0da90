//! How often tasks may start, and how long they may run: `rate_limit`, `time_limit`.
//!
//! The loop keeps the limits of all tasks. Of those of the application the template is told too, whose task objects are asked
//! for them.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::task::RateLimit;
use celeriac_app::{App, TaskDefinition, TaskOptions};
use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{TimeLimits, Value, repr};
use tokio::sync::oneshot;

use crate::control::Question;
use crate::control::panel::{Panel, Refusal, nok, ok};

impl Panel {
    /// Source: `rate_limit`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn rate_limit(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let name = command.argument("task_name").and_then(Value::as_str);
        let name = name.ok_or_else(|| Refusal::missing("rate_limit", &["task_name"]))?;
        let is_given = command.arguments.iter().any(|(argument, _)| &**argument == "rate_limit");
        if !is_given {
            return Err(Refusal::missing("rate_limit", &["rate_limit"]));
        }
        let given = command.argument("rate_limit");
        let rate = match rate_of(given) {
            Ok(rate) => rate,
            Err(error) => return Ok(nok(format!("Invalid rate limit string: {error}"))),
        };
        let Some(task) = self.task("Rate limit", name) else { return Ok(nok("unknown task")) };
        let reply = match self.reply_for(&task, command).await? {
            Some(reply) => reply,
            None => {
                self.options_of(&task).rate_limit = Some(rate);
                if rate.per_second() > 0.0 {
                    tracing::info!("New rate limit for tasks of type {name}: {rate}.");
                    ok("new rate limit set successfully")
                } else {
                    tracing::info!("Rate limits disabled for tasks of type {name}");
                    ok("rate limit disabled successfully")
                }
            }
        };
        if reply.get("ok").is_some() {
            self.inquirer.ask(|done| Question::RateLimit(task.name.clone(), rate, done)).await?;
        }
        Ok(reply)
    }

    /// Source: `time_limit`, `celery/worker/control.py`, Celery 5.7.0.
    pub(in crate::control) async fn time_limit(
        &mut self,
        command: &ControlCommand,
    ) -> Result<Value, Refusal> {
        let name = command.argument("task_name").and_then(Value::as_str).unwrap_or("None");
        let limits = times_of(command)?;
        let Some(task) = self.task("Change time limit", name) else { return Ok(nok("unknown task")) };
        let reply = match self.reply_for(&task, command).await? {
            Some(reply) => reply,
            None => {
                let options = self.options_of(&task);
                (options.time_limit, options.soft_time_limit) = (limits.hard, limits.soft);
                let shown = |name| repr::repr(command.argument(name).unwrap_or(&Value::Null));
                let (soft, hard) = (shown("soft"), shown("hard"));
                tracing::info!("New time limits for tasks of type {name}: soft={soft} hard={hard}");
                ok("time limits set successfully")
            }
        };
        if reply.get("ok").is_some() {
            self.inquirer.ask(|done| Question::TimeLimits(task.name.clone(), limits, done)).await?;
        }
        Ok(reply)
    }

    fn task(&self, what: &str, name: &str) -> Option<Arc<TaskDefinition>> {
        let task = self.app.find_task(name).cloned();
        if task.is_none() {
            tracing::error!("{what} attempt for unknown task {name}");
        }
        task
    }

    /// What the application replies, whose task this is; nothing if it is another's.
    async fn reply_for(
        &self,
        task: &TaskDefinition,
        command: &ControlCommand,
    ) -> Result<Option<Value>, Refusal> {
        match task.body.python() {
            Some(_) => self.reply_of_application(command).await,
            None => Ok(None),
        }
    }

    fn options_of(&mut self, task: &TaskDefinition) -> &mut TaskOptions {
        self.changed.entry(task.name.clone()).or_insert_with(|| task.options.clone())
    }
}

impl Question {
    /// The limit that a command which was kept sets, for a loop that has not begun: its first task keeps to it, however long
    /// an application takes to obey. Nothing if the command is about something else, or about no task of this app.
    pub(crate) fn of_kept(command: &ControlCommand, app: &App) -> Option<Self> {
        let task = app.find_task(command.argument("task_name")?.as_str()?)?.name.clone();
        // Nobody waits for the answer.
        let (done, _) = oneshot::channel();
        match &*command.method {
            "rate_limit" => {
                rate_of(command.argument("rate_limit")).ok().map(|rate| Self::RateLimit(task, rate, done))
            }
            "time_limit" => times_of(command).ok().map(|limits| Self::TimeLimits(task, limits, done)),
            _ => None,
        }
    }
}

/// A rate limit as Celery takes it: a number, text such as `10/m`, or nothing, which is no limit.
///
/// Source: `rate`, `celery/utils/time.py`, Celery 5.7.0.
fn rate_of(given: Option<&Value>) -> Result<RateLimit, Refusal> {
    let text = match given {
        None | Some(Value::Bool(false)) => "0".to_owned(),
        Some(Value::String(text)) if text.is_empty() => "0".to_owned(),
        Some(Value::String(text)) => text.to_string(),
        Some(other) => repr::repr(other),
    };
    let number = text.split('/').next().unwrap_or_default();
    let wrong = || {
        Refusal::new(
            "ValueError",
            format!("could not convert string to float: {}", repr::repr(&number.into())),
        )
    };
    text.parse().map_err(|_| wrong())
}

fn times_of(command: &ControlCommand) -> Result<TimeLimits, Refusal> {
    Ok(TimeLimits { hard: time_of(command.argument("hard"))?, soft: time_of(command.argument("soft"))? })
}

fn time_of(given: Option<&Value>) -> Result<Option<Duration>, Refusal> {
    let seconds = match given {
        None => return Ok(None),
        Some(Value::Float(seconds)) => *seconds,
        Some(other) => other.as_i64().map_or(f64::NAN, |seconds| seconds as f64),
    };
    let wrong = |_| {
        Refusal::new(
            "ValueError",
            format!("no time limit: {}", repr::repr(&given.cloned().unwrap_or_default())),
        )
    };
    // Zero is no limit, as in Celery.
    Duration::try_from_secs_f64(seconds).map(|time| Some(time).filter(|time| !time.is_zero())).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_limit_is_a_number_or_text() {
        let rate = |given: Value| rate_of(Some(&given)).map(RateLimit::per_second);
        assert_eq!(rate("30/m".into()), Ok(0.5));
        assert_eq!(rate(2.into()), Ok(2.0));
        assert_eq!(rate(Value::Float(0.5)), Ok(0.5));
        assert_eq!(rate("".into()), Ok(0.0));
        assert_eq!(rate_of(None).map(RateLimit::per_second), Ok(0.0));
        let error = rate("often/m".into()).unwrap_err();
        assert_eq!(error.to_string(), "ValueError(\"could not convert string to float: 'often'\")");
    }

    #[test]
    fn a_time_limit_is_seconds_or_none() {
        assert_eq!(time_of(None), Ok(None));
        assert_eq!(time_of(Some(&Value::Float(1.5))), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(time_of(Some(&3.into())), Ok(Some(Duration::from_secs(3))));
        assert_eq!(time_of(Some(&0.into())), Ok(None));
        assert!(time_of(Some(&"soon".into())).is_err() && time_of(Some(&Value::Float(-1.0))).is_err());
    }
}
