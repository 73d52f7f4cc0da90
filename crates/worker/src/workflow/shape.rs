//! Signatures taken apart and put together.

use celeriac_protocol::{Shape, Signature, Value};

/// A group of these calls.
pub(crate) fn group_of(tasks: Vec<Signature>) -> Signature {
    let mut group = Signature::new("celery.group");
    let tasks = tasks.into_iter().map(Signature::into_value).collect();
    group.kwargs.push(("tasks".into(), Value::List(tasks)));
    group.subtask_type = Some("group".into());
    group
}

/// How many reports a chord gets of this call, if it is a member of its header.
///
/// Source: `celery/canvas.py`, `_chord._descend`, Celery 5.7.0.
pub(crate) fn members_counted(call: &Signature) -> u64 {
    match call.shape() {
        Shape::Task => 1,
        Shape::Group(members) => members.iter().map(members_counted).sum(),
        Shape::Chain(steps) => steps.iter().rev().map(members_counted).find(|count| *count > 0).unwrap_or(0),
        Shape::Chord(_, body) => body.as_ref().map_or(0, members_counted),
    }
}

/// The signatures in this option.
pub(crate) fn signatures_in(call: &Signature, option: &str) -> Vec<Signature> {
    match call.option(option) {
        Some(Value::List(signatures)) => {
            signatures.iter().filter_map(|signature| Signature::from_value(signature.clone()).ok()).collect()
        }
        Some(one @ Value::Map(_)) => Signature::from_value(one.clone()).ok().into_iter().collect(),
        _ => Vec::new(),
    }
}

/// The errbacks of what a call results in.
///
/// Source: `celery/backends/base.py`, `_result_errbacks`, Celery 5.7.0.
pub(crate) fn errbacks_of(call: &Signature) -> Vec<Signature> {
    let mut errbacks = signatures_in(call, "link_error");
    match call.shape() {
        Shape::Chord(_, Some(body)) => errbacks.extend(errbacks_of(&body)),
        Shape::Group(members) => errbacks.extend(members.iter().flat_map(errbacks_of)),
        _ => {}
    }
    errbacks
}

/// The id of the task whose result is that of this call, if it has been given one.
pub(crate) fn result_id(call: &Signature) -> Option<String> {
    match call.shape() {
        Shape::Chord(_, Some(body)) => result_id(&body),
        _ => call.option("task_id").and_then(Value::as_str).map(ToOwned::to_owned),
    }
}

/// Sets an option, whatever it was.
pub(crate) fn set_option(call: &mut Signature, name: &str, value: impl Into<Value>) {
    let value = value.into();
    match call.options.iter_mut().find(|(option, _)| &**option == name) {
        Some((_, old)) => *old = value,
        None => call.options.push((name.into(), value)),
    }
}

/// Adds a signature to a list of them, unless it is there.
///
/// Source: `celery/canvas.py`, `Signature.append_to_list_option`, Celery 5.7.0.
pub(crate) fn append_option(call: &mut Signature, name: &str, value: &Signature) {
    let mut list = signatures_in(call, name);
    if !list.contains(value) {
        list.push(value.clone());
    }
    set_option(call, name, Value::List(list.into_iter().map(Signature::into_value).collect()));
}

/// Puts another signature where this composition has one of its own: `body` of a chord, `tasks` of a chain.
pub(crate) fn set_kwarg(call: &mut Signature, name: &str, value: Value) {
    match call.kwargs.iter_mut().find(|(kwarg, _)| &**kwarg == name) {
        Some((_, old)) => *old = value,
        None => call.kwargs.push((name.into(), value)),
    }
}
