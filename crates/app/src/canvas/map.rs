//! Many calls of one task in one message, or in a few.

use celeriac_protocol::{EncodeError, Value};
use serde::Serialize;

use crate::Signature;
use crate::canvas::group::{Group, group};
use crate::canvas::step::Step;
use crate::signature::EncodedArgument;

/// One message that calls a task with each of these, one after the other, and returns what they return.
///
/// The step may have no arguments of its own: Celery's `celery.map`, which does the work, passes the item alone.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, map};
///
/// let square = Step::<i64, i64>::named("proj.square", args![], kwargs! {});
/// let squares: Signature<Vec<i64>> = map(&square, 1..=3);
/// # let _ = squares;
/// ```
pub fn map<A: Serialize, T>(task: &Step<A, T>, items: impl IntoIterator<Item = A>) -> Signature<Vec<T>> {
    repeated("celery.map", task, items.into_iter().map(|item| Value::from_serialize(&item)))
}

/// One message that calls a task with each of these lists of arguments, one after the other.
///
/// The step names the task and may have no arguments of its own: for a task `add` of this program, `Step::of(&add, 0)`.
///
/// ```
/// use celeriac_app::{Signature, args, kwargs};
/// use celeriac_app::canvas::{Step, starmap};
///
/// let add = Step::<i64, i64>::named("proj.add", args![], kwargs! {});
/// let sums: Signature<Vec<i64>> = starmap(&add, [(1, 2), (3, 4)]);
/// # let _ = sums;
/// ```
pub fn starmap<A, T, I: Serialize>(
    task: &Step<A, T>,
    items: impl IntoIterator<Item = I>,
) -> Signature<Vec<T>> {
    repeated("celery.starmap", task, items.into_iter().map(|item| Value::from_serialize(&item)))
}

/// A group of messages, each of which calls a task with so many of these lists of arguments.
///
/// A group from the start, where Celery's is a task that sends one: so it can be a header, and be followed.
///
/// ```
/// use celeriac_app::{args, kwargs};
/// use celeriac_app::canvas::{Group, Step, chunks};
///
/// let add = Step::<i64, i64>::named("proj.add", args![], kwargs! {});
/// let sums: Group<Vec<i64>> = chunks(&add, (0..100).map(|n| (n, n)), 10);
/// # let _ = sums;
/// ```
pub fn chunks<A, T, I: Serialize>(
    task: &Step<A, T>,
    items: impl IntoIterator<Item = I>,
    size: usize,
) -> Group<Vec<T>> {
    let mut items = items.into_iter().map(|item| Value::from_serialize(&item)).peekable();
    let mut parts = Vec::new();
    while items.peek().is_some() {
        parts.push(repeated("celery.starmap", task, items.by_ref().take(size.max(1))));
    }
    group(parts)
}

/// Source: `celery/canvas.py`, `_basemap`, Celery 5.7.0.
fn repeated<A, T>(
    name: &str,
    task: &Step<A, T>,
    items: impl Iterator<Item = EncodedArgument>,
) -> Signature<Vec<T>> {
    let called = task.call.arguments();
    let bound = !called.args.is_empty() || !called.kwargs.is_empty();
    let task_value = wire_of(task);
    let items: Result<Vec<Value>, EncodeError> = items.collect();
    let refused = || EncodeError::Unrepresentable {
        reason: format!("the step of {name} has arguments of its own, which would be lost").into(),
    };
    let items = if bound { Err(refused()) } else { items };
    let kwargs = vec![("task".into(), Ok(task_value)), ("it".into(), items.map(Value::List))];
    let signature = Signature::named(name, Vec::new(), kwargs);
    // Routed as the task that it calls.
    let queue = task.call.defaults.and_then(|options| options.queue.clone());
    signature.with(|options| {
        options.route_name = Some(task.call.task().as_str().into());
        options.queue = queue;
    })
}

fn wire_of<A, T>(task: &Step<A, T>) -> Value {
    celeriac_protocol::Signature::new(task.call.task().clone()).into_value()
}
