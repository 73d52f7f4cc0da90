//! What the worker can run: `registered`.

use celeriac_app::TaskDefinition;
use celeriac_protocol::Value;
use celeriac_protocol::control::ControlCommand;

use crate::control::panel::Panel;

/// What tasks of this beginning are built into Celery.
const BUILT_IN: &str = "celery.";

impl Panel {
    /// The names of the tasks, with what was asked for of each; of that, the worker knows the rate limit.
    pub(in crate::control) fn registered(&self, command: &ControlCommand) -> Value {
        let built_in = command.argument("builtins").and_then(Value::as_bool).unwrap_or(false);
        let items = command.argument("taskinfoitems").and_then(Value::as_list).unwrap_or_default();
        let wants_rate = items.is_empty() || items.iter().any(|item| item.as_str() == Some("rate_limit"));
        let mut tasks: Vec<&TaskDefinition> = self
            .app
            .task_list()
            .map(|task| &**task)
            .filter(|task| built_in || !task.name.as_str().starts_with(BUILT_IN))
            .collect();
        tasks.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Value::List(tasks.into_iter().map(|task| described(task, wants_rate).into()).collect())
    }
}

fn described(task: &TaskDefinition, wants_rate: bool) -> String {
    match task.options.rate_limit.filter(|_| wants_rate) {
        Some(limit) => format!("{} [rate_limit={limit}]", task.name),
        None => task.name.to_string(),
    }
}
