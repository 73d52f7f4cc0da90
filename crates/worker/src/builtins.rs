//! The tasks that every worker knows, because canvases of Celery call them.
//!
//! Source: `celery/app/builtins.py`, Celery 5.7.0.

use std::sync::Arc;

use celeriac_app::canvas::Apply;
use celeriac_app::task::{Isolation, Returned};
use celeriac_app::{App, Arguments, Context, TaskBody, TaskDefinition, TaskError, TaskOptions};
use celeriac_protocol::{Message, Signature, TaskName, Value, body};
use celeriac_store::Publication;

use crate::workflow::shape::{group_of, set_kwarg, set_option};

/// Finds the task of a message: one that the program has registered, else one that every worker knows.
pub(crate) fn find(app: &App, name: &TaskName, message: &Message) -> Option<Arc<TaskDefinition>> {
    if let Some(task) = app.find_task(name.as_str()) {
        return Some(Arc::clone(task));
    }
    let name = name.as_str();
    let task = match name {
        "celery.map" => mapping(app, name, message, Spread::One),
        "celery.starmap" => mapping(app, name, message, Spread::All),
        "celery.accumulate" => anywhere(app, name, accumulate),
        // Every store forgets by itself what has expired.
        "celery.backend_cleanup" => anywhere(app, name, |_| Ok(Value::Null)),
        "celery.chunks" => sending(app, name, chunked),
        "celery.group" => sending(app, name, grouped),
        "celery.chord" => sending(app, name, chorded),
        "celery.chain" => anywhere(app, name, |_| Err(refused("chain is not a real task"))),
        "celery.chord_unlock" => anywhere(app, name, |_| Err(refused(UNLOCK))),
        _ => return None,
    };
    task.map(Arc::new)
}

const UNLOCK: &str = "the producer of this chord keeps results where members are not counted, and has sent a task that \
                      polls for them; this worker counts them: use its result backend in the producer too";

fn refused(text: &str) -> TaskError {
    TaskError::failure("NotImplementedError", text).permanent()
}

/// A task that can run on any pool, on one that this worker has.
fn anywhere(app: &App, name: &str, run: fn(Arguments) -> Returned) -> Option<TaskDefinition> {
    let has = |wanted: fn(&TaskDefinition) -> bool| app.task_list().any(|task| wanted(task));
    let is_isolated = |task: &TaskDefinition| task.options.isolation == Isolation::Process;
    if has(|task| task.body.is_async() && task.options.isolation == Isolation::None) {
        let body = TaskBody::asynchronous(move |_, arguments| async move { run(arguments) });
        return Some(TaskDefinition::new(name, body));
    }
    let mut options = TaskOptions::default();
    if !has(|task| task.options.isolation == Isolation::None) {
        options.isolation = app.task_list().find(|task| is_isolated(task))?.options.isolation;
    }
    Some(
        TaskDefinition::new(name, TaskBody::blocking(move |_, _, arguments| run(arguments)))
            .with_options(options),
    )
}

/// What a task sends, and what it returns if that is not the result of what it sends.
struct Sending {
    call: Signature,
    args: Vec<Value>,
    returns: Option<Value>,
}

/// A task that sends a composition and returns its result. Callers of today do that themselves; messages of older ones, and
/// chunks within other compositions, come as tasks.
fn sending(
    app: &App,
    name: &str,
    compose: fn(Arguments) -> Result<Sending, TaskError>,
) -> Option<TaskDefinition> {
    let mut task = anywhere(app, name, |_| Ok(Value::Null))?;
    task.body = match task.body.is_async() {
        true => TaskBody::asynchronous(move |context, call| async move {
            let sending = compose(call)?;
            let (publication, returned) = unfolded(&context, sending)?;
            context.app().publish_from(&context, publication).await?;
            Ok(returned)
        }),
        false => TaskBody::blocking(move |context, _, call| {
            let sending = compose(call)?;
            let (publication, returned) = unfolded(context, sending)?;
            context.app().publish_from_blocking(context, publication)?;
            Ok(returned)
        }),
    };
    Some(task)
}

fn unfolded(context: &Context, sending: Sending) -> Result<(Publication, Value), TaskError> {
    let apply = Apply { args: sending.args, parent: Some(context.into()), ..Apply::default() };
    let unfolded = context.app().unfold(sending.call, apply)?;
    context.trail().sent(unfolded.children);
    let result = unfolded.result.map_or(Value::Null, |result| result.as_tuple());
    Ok((unfolded.publication, sending.returns.unwrap_or(result)))
}

/// Source: `celery/canvas.py`, `chunks.group`, Celery 5.7.0.
fn chunked(mut call: Arguments) -> Result<Sending, TaskError> {
    let size = argument(&mut call, 2, "n").and_then(|size| usize::try_from(size.as_i64()?).ok());
    let items = argument(&mut call, 1, "it");
    let (Some(task), Some(Value::List(items)), Some(size @ 1..)) =
        (argument(&mut call, 0, "task"), items, size)
    else {
        return Err(TaskError::bad_arguments(
            "chunks are of a task, as `task`, a list, as `it`, and a size, as `n`",
        ));
    };
    let chunk = |items: &[Value]| {
        let mut chunk = Signature::new("celery.starmap");
        chunk.kwargs.push(("task".into(), task.clone()));
        chunk.kwargs.push(("it".into(), Value::List(items.to_vec())));
        chunk.immutable = true;
        chunk
    };
    let call = group_of(items.chunks(size).map(chunk).collect());
    Ok(Sending { call, args: Vec::new(), returns: None })
}

fn grouped(mut call: Arguments) -> Result<Sending, TaskError> {
    let Some(Value::List(args)) = argument(&mut call, 3, "partial_args") else {
        return Err(TaskError::bad_arguments("a group has partial arguments, as `partial_args`"));
    };
    let id = argument(&mut call, 2, "group_id").unwrap_or_default();
    let returns = argument(&mut call, 1, "result");
    let tasks = argument(&mut call, 0, "tasks").unwrap_or_default();
    let mut call = group_of(Vec::new());
    set_kwarg(&mut call, "tasks", tasks);
    set_option(&mut call, "task_id", id);
    Ok(Sending { call, args, returns })
}

fn chorded(mut call: Arguments) -> Result<Sending, TaskError> {
    let args = match argument(&mut call, 2, "partial_args") {
        Some(Value::List(args)) => args,
        _ => Vec::new(),
    };
    let body = argument(&mut call, 1, "body").unwrap_or_default();
    let header = argument(&mut call, 0, "header").unwrap_or_default();
    let mut chord = Signature::new("celery.chord");
    chord.subtask_type = Some("chord".into());
    let kwargs = [("kwargs", Value::Map(Vec::new())), ("header", header), ("body", body)];
    kwargs.into_iter().for_each(|(name, value)| set_kwarg(&mut chord, name, value));
    Ok(Sending { call: chord, args, returns: None })
}

/// Takes an argument by its place or its name.
fn argument(call: &mut Arguments, place: usize, name: &str) -> Option<Value> {
    if let Some(argument) = call.args.get_mut(place) {
        return Some(std::mem::take(argument));
    }
    call.kwargs.iter_mut().find(|(kwarg, _)| **kwarg == *name).map(|(_, value)| std::mem::take(value))
}

/// Its arguments, or one of them.
fn accumulate(mut call: Arguments) -> Returned {
    let index = call.kwargs.iter().find(|(name, _)| **name == *"index").map(|(_, index)| index);
    match index {
        None | Some(Value::Null) => Ok(Value::List(call.args)),
        Some(index) => {
            let at = index.as_i64().and_then(|index| usize::try_from(index).ok());
            match at.filter(|at| *at < call.args.len()) {
                Some(at) => Ok(call.args.swap_remove(at)),
                None => Err(TaskError::failure("IndexError", "tuple index out of range").permanent()),
            }
        }
    }
}

/// What one item is for the task that is called with it.
#[derive(Clone, Copy)]
enum Spread {
    /// One argument.
    One,
    /// A list of all arguments.
    All,
}

/// A task that calls another with one item after the other, in its own slot: so it runs where that one does.
fn mapping(app: &App, name: &str, message: &Message, spread: Spread) -> Option<TaskDefinition> {
    let Some(mapped) = mapped(message) else {
        return anywhere(app, name, |_| {
            Err(TaskError::bad_arguments("no task to map, or nothing to map it to"))
        });
    };
    let Some(inner) = app.find_task(mapped.as_str()).cloned() else {
        return anywhere(app, name, |call| {
            let name = signature(&call).map_or_else(|| "?".into(), |inner| inner.task);
            Err(TaskError::failure("NotRegistered", format!("'{name}'")).permanent())
        });
    };
    let body = match &inner.body {
        TaskBody::Async(body) => {
            let body = Arc::clone(body);
            TaskBody::asynchronous(move |context, call| {
                let body = Arc::clone(&body);
                async move {
                    let mut results = Vec::new();
                    for call in calls(call, spread)? {
                        results.push(body(context.clone(), call).await?);
                    }
                    Ok(Value::List(results))
                }
            })
        }
        TaskBody::Blocking(body) => {
            let body = Arc::clone(body);
            TaskBody::blocking(move |context, locals, call| {
                let results = calls(call, spread)?.map(|call| body(context, locals, call));
                results.collect::<Result<_, _>>().map(Value::List)
            })
        }
        // It is mapped by the task of the same name in its own application.
        TaskBody::Python(_) => return None,
    };
    let mut options = TaskOptions::default();
    options.isolation = inner.options.isolation;
    let mut task = TaskDefinition::new(name, body).with_options(options);
    task.resources.clone_from(&inner.resources);
    Some(task)
}

fn mapped(message: &Message) -> Option<TaskName> {
    Some(signature(&body::decode(message).ok()?)?.task)
}

/// The signature of the task to map.
fn signature(call: &Arguments) -> Option<Signature> {
    let (_, task) = call.kwargs.iter().find(|(name, _)| **name == *"task")?;
    Signature::from_value(task.clone()).ok()
}

/// The calls that a mapping makes, one for each item.
fn calls(call: Arguments, spread: Spread) -> Result<impl Iterator<Item = Arguments>, TaskError> {
    let items = call.kwargs.into_iter().find(|(name, _)| **name == *"it");
    let Some((_, Value::List(items))) = items else {
        return Err(TaskError::bad_arguments("what a task is mapped to is a list, as `it`"));
    };
    Ok(items.into_iter().map(move |item| match (spread, item) {
        (Spread::All, Value::List(arguments)) => Arguments::positional(arguments),
        (_, item) => Arguments::positional(vec![item]),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accumulated(args: Vec<Value>, index: Option<i64>) -> Returned {
        let mut call = Arguments::positional(args);
        call.kwargs.extend(index.map(|index| ("index".into(), Value::Int(index))));
        accumulate(call)
    }

    #[test]
    fn accumulate_returns_its_arguments_or_one_of_them() {
        let args = || vec![Value::List(vec![Value::Int(1)]), Value::Int(2)];
        assert_eq!(accumulated(args(), None).unwrap(), Value::List(args()));
        assert_eq!(accumulated(args(), Some(0)).unwrap(), args()[0]);
        assert!(accumulated(args(), Some(2)).is_err());
    }
}
