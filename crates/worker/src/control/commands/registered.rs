//! What the worker can run: `registered`.

use std::time::Duration;

use celeriac_app::task::Acks;
use celeriac_app::{TaskDefinition, TaskOptions};
use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{Value, repr};

use crate::control::panel::{Panel, Refusal};
use crate::finish::python::seconds;

/// What is told of each task where nothing else was asked for.
const DEFAULT_ITEMS: [&str; 3] = ["exchange", "routing_key", "rate_limit"];

/// What tasks of this beginning are built into Celery.
const BUILT_IN: &str = "celery.";

impl Panel {
    /// The names of the tasks, with what was asked for of each. The application tells of its own tasks, which may have any
    /// attribute.
    pub(in crate::control) async fn registered(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let built_in = command.argument("builtins").and_then(Value::as_bool).unwrap_or(false);
        let asked = command.argument("taskinfoitems").and_then(Value::as_list).unwrap_or_default();
        let asked: Vec<&str> =
            asked.iter().filter_map(Value::as_str).filter(|it| !it.starts_with('_')).collect();
        let items = if asked.is_empty() { &DEFAULT_ITEMS[..] } else { &asked[..] };
        let of_python = match self.reply_of_application(command).await? {
            Some(Value::List(lines)) => Some(lines),
            Some(error) => return Ok(error),
            None => None,
        };
        let tasks = self.app.task_list().filter(|task| of_python.is_none() || task.body.python().is_none());
        let tasks = tasks.filter(|task| built_in || !task.name.as_str().starts_with(BUILT_IN));
        let mut lines: Vec<Box<str>> = tasks
            .map(|task| described(task, self.changed.get(&task.name).unwrap_or(&task.options), items).into())
            .collect();
        lines.extend(of_python.iter().flatten().filter_map(Value::as_str).map(Box::from));
        lines.sort_unstable();
        Ok(Value::List(lines.into_iter().map(Value::String).collect()))
    }
}

/// Source: `registered`, `celery/worker/control.py`, Celery 5.7.0.
fn described(task: &TaskDefinition, options: &TaskOptions, items: &[&str]) -> String {
    let fields = items.iter().filter_map(|item| Some(format!("{item}={}", attribute(task, options, item)?)));
    match fields.collect::<Vec<_>>() {
        none if none.is_empty() => task.name.to_string(),
        fields => format!("{} [{}]", task.name, fields.join(" ")),
    }
}

/// An attribute of a task as Python shows it, if it has a value.
fn attribute(task: &TaskDefinition, options: &TaskOptions, name: &str) -> Option<String> {
    let flag = |flag: bool| if flag { "True" } else { "False" }.to_owned();
    let seconds = |time: Duration| repr::repr(&seconds(time));
    match name {
        "name" => Some(task.name.to_string()),
        "queue" => options.queue.as_ref().map(ToString::to_string),
        "priority" => options.priority.map(|priority| priority.to_string()),
        "rate_limit" => options.rate_limit.map(|limit| limit.to_string()),
        "time_limit" => options.time_limit.map(seconds),
        "soft_time_limit" => options.soft_time_limit.map(seconds),
        "acks_late" => options.acks.map(|acks| flag(acks == Acks::Late)),
        "reject_on_worker_lost" => options.reject_on_worker_lost.map(flag),
        "ignore_result" => options.ignore_result.map(flag),
        "store_errors_even_if_ignored" => options.store_errors_even_if_ignored.map(flag),
        "track_started" => options.track_started.map(flag),
        "serializer" => options.serializer.as_deref().map(str::to_owned),
        "compression" => options.compression.as_deref().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::task;

    #[test]
    fn a_task_is_told_with_what_was_asked_for() {
        let mut task = task();
        task.options.rate_limit = Some("10/m".parse().unwrap());
        task.options.time_limit = Some(Duration::from_millis(1500));
        task.options.acks = Some(Acks::Late);
        let name = task.name.to_string();
        let shown = |items: &[&str]| described(&task, &task.options, items).replace(&name, "t");
        assert_eq!(shown(&DEFAULT_ITEMS), "t [rate_limit=10/m]");
        assert_eq!(shown(&["name", "unknown"]), "t [name=t]");
        assert_eq!(shown(&["time_limit", "acks_late"]), "t [time_limit=1.5 acks_late=True]");
        assert_eq!(shown(&["unknown"]), "t");
    }
}
