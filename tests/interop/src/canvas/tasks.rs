//! The tasks that canvases are made of; `python/canvas_tasks.py` has the same ones in Python.

use std::time::Duration;

use celeriac::TaskDefinition;
use celeriac::prelude::*;
use celeriac::protocol;

/// A retry comes soon, whoever runs it.
const SOON: Duration = Duration::from_millis(200);

/// Adds numbers, or texts.
#[celeriac::task(name = "canvas.add")]
pub(super) async fn add(x: Value, y: Value) -> TaskResult<Value> {
    match (x, y) {
        (Value::Int(x), Value::Int(y)) => Ok(Value::Int(x + y)),
        (Value::String(x), Value::String(y)) => Ok(Value::String(format!("{x}{y}").into())),
        (x, y) => Err(TaskError::failure("TypeError", format!("{} and {}", x.kind(), y.kind())).permanent()),
    }
}

/// Returns what it was given.
#[celeriac::task(name = "canvas.echo")]
pub(super) async fn echo(value: Value) -> TaskResult<Value> {
    Ok(value)
}

/// Sums numbers and lists of numbers.
#[celeriac::task(name = "canvas.total")]
pub(super) async fn total(numbers: Value) -> TaskResult<i64> {
    fn sum(value: &Value) -> Option<i64> {
        match value {
            Value::Int(number) => Some(*number),
            Value::List(values) => values.iter().map(sum).sum(),
            _ => None,
        }
    }
    sum(&numbers).ok_or_else(|| TaskError::failure("TypeError", "not numbers").permanent())
}

/// Fails.
#[celeriac::task(name = "canvas.fail")]
async fn fail(_first: Option<Value>, _second: Option<Value>) -> TaskResult<()> {
    Err(TaskError::failure("OutOfTea", "no leaves"))
}

/// Returns what nobody wants to know.
#[celeriac::task(name = "canvas.hush", ignore_result)]
pub(super) async fn hush(value: Value) -> TaskResult<Value> {
    Ok(value)
}

/// What a callback is told.
#[celeriac::task(name = "canvas.note")]
async fn note(first: Option<Value>, second: Option<Value>, third: Option<Value>) -> TaskResult<Vec<Value>> {
    let seen = [first, second, third].into_iter().flatten();
    Ok(std::iter::once(Value::from("noted")).chain(seen).collect())
}

/// What an errback is told.
#[celeriac::task(name = "canvas.told")]
pub(super) async fn told(request_id: Value) -> TaskResult<Vec<Value>> {
    Ok(vec![Value::from("told"), request_id])
}

/// What an errback is told, and what it was given before.
#[celeriac::task(name = "canvas.told_more")]
async fn told_more(request_id: Value, more: Value) -> TaskResult<Vec<Value>> {
    Ok(vec![Value::from("told"), request_id, more])
}

/// What a task knows of its own call.
#[celeriac::task(name = "canvas.whoami", bind)]
async fn whoami(task: &Context, _first: Option<Value>) -> TaskResult<Value> {
    let headers = task.headers();
    let other = |name: &str| {
        headers.other.iter().find(|(key, _)| &**key == name).map_or(Value::Null, |(_, value)| value.clone())
    };
    let stamps = match other("stamps") {
        Value::Null => Value::Map(Vec::new()),
        stamps => stamps,
    };
    // Celery on Redis counts from 0, which comes first, to 9; ours sees 9 to 0.
    let priority = task.delivery().message.properties.priority.map_or(0, |priority| 9 - i64::from(priority));
    Ok(Value::Map(vec![
        ("root".into(), Value::from(task.root_id().as_str())),
        ("parent".into(), Value::from(task.parent_id().map(protocol::TaskId::as_str))),
        ("group".into(), Value::from(headers.group.as_deref())),
        ("index".into(), Value::from(headers.group_index)),
        ("priority".into(), Value::from(priority)),
        ("tenant".into(), other("tenant")),
        ("stamps".into(), stamps),
        ("retries".into(), Value::from(i64::from(task.retries()))),
    ]))
}

/// Succeeds at the second try.
#[celeriac::task(name = "canvas.again", bind, max_retries = 5)]
pub(super) async fn again(task: &Context, value: Value) -> TaskResult<Value> {
    if task.retries() == 0 {
        return Err(TaskError::retry().countdown(SOON));
    }
    Ok(value)
}

/// Fails at the second try too.
#[celeriac::task(name = "canvas.hopeless", bind, max_retries = 1)]
async fn hopeless(task: &Context, _first: Option<Value>) -> TaskResult<()> {
    Err(task.retry(TaskError::failure("OutOfTea", "never any leaves")).countdown(SOON))
}

/// Becomes the signature that is its last argument, after an echo of the other if there is one.
#[celeriac::task(name = "canvas.replace", bind)]
async fn replace(task: &Context, first: Value, second: Option<Value>) -> TaskResult<Value> {
    let Some(signature) = second else { return Err(task.replace(signature_of(first)?)) };
    let mut before = protocol::Signature::new("canvas.echo");
    before.args.push(first);
    let mut chain = protocol::Signature::new("celery.chain");
    chain.subtask_type = Some("chain".into());
    chain.kwargs.push(("tasks".into(), Value::List(vec![before.into_value(), signature])));
    Err(task.replace(chain))
}

/// Adds to its own chord.
#[celeriac::task(name = "canvas.extend", bind)]
async fn extend(task: &Context, signatures: Vec<Value>) -> TaskResult<i64> {
    for signature in signatures {
        task.add_to_chord(signature_of(signature)?)?;
    }
    Ok(0)
}

fn signature_of(value: Value) -> TaskResult<protocol::Signature> {
    protocol::Signature::from_value(value).map_err(|error| TaskError::bad_arguments(error.to_string()))
}

/// All of them.
pub(crate) fn all() -> Vec<TaskDefinition> {
    tasks![add, echo, total, fail, hush, note, told, told_more, whoami, again, hopeless, replace, extend]
        .into_iter()
        .collect()
}
