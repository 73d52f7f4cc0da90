//! What the tasks do, and how their calls say so.

use celeriac_app::protocol::Value;
use celeriac_app::task::Returned;
use celeriac_app::{Arguments, TaskError};
use std::time::Duration;

use crate::{Deed, Task};

/// The tasks that are called. They do the same, and may run in different ways.
pub const TASKS: [&str; 3] = ["trees.on_runtime", "trees.on_thread", "trees.in_process"];

impl Deed {
    /// The name of the deed, and its number.
    fn said(self) -> (&'static str, i64) {
        match self {
            Self::Add(number) => ("add", number),
            Self::AddLater(number) => ("add later", number),
            Self::Fail => ("fail", 0),
            Self::Expire => ("expire", 0),
        }
    }
}

/// What a call says besides its arguments.
pub(crate) fn keywords(task: &Task) -> Vec<(Box<str>, Value)> {
    let (deed, adds) = task.deed.said();
    vec![
        ("number".into(), Value::Int(task.number.into())),
        ("deed".into(), deed.into()),
        ("adds".into(), Value::Int(adds)),
    ]
}

fn keyword<'a>(call: &'a Arguments, name: &str) -> Option<&'a Value> {
    call.kwargs.iter().find(|(keyword, _)| &**keyword == name).map(|(_, value)| value)
}

/// The number of the task with these arguments.
pub fn number_of(call: &Arguments) -> Option<u32> {
    keyword(call, "number")?.as_i64()?.try_into().ok()
}

/// Does what the task with these arguments does, which was tried so many times before.
///
/// # Errors
/// Its failure, or that it wants to be tried again.
pub fn perform(call: &Arguments, retries: u32) -> Returned {
    let adds = keyword(call, "adds").and_then(Value::as_i64).unwrap_or_default();
    match keyword(call, "deed").and_then(Value::as_str) {
        Some("add") => {}
        Some("add later") if retries > 0 => {}
        Some("add later") => {
            return Err(TaskError::retry().countdown(Duration::ZERO).max_retries(1));
        }
        Some("fail") => {
            let number = number_of(call).unwrap_or_default();
            return Err(TaskError::failure("ValueError", format!("broken {number}")).permanent());
        }
        deed => return Err(TaskError::failure("TypeError", format!("no such deed: {deed:?}")).permanent()),
    }
    Ok(Value::Int(call.args.iter().map(sum).sum::<i64>() + adds))
}

/// All numbers in a value.
pub(crate) fn sum(value: &Value) -> i64 {
    match value {
        Value::List(values) => values.iter().map(sum).sum(),
        value => value.as_i64().unwrap_or(0),
    }
}
