//! Composing in Celery's form: signatures put together, before anything is sent.

use celeriac_protocol::{EncodeError, Signature as Wire, TaskName, Value};

use crate::canvas::Group;
use crate::canvas::node::take;
use crate::signature::SendOptions;
use crate::task::TaskOptions;
use crate::{App, Signature};

/// A composition in Celery's form.
#[derive(Clone, Debug)]
pub struct Composed {
    /// The composition.
    pub signature: Wire,
    /// The first argument in it that could not be encoded, with the task it is for.
    pub error: Option<(TaskName, EncodeError)>,
}

/// A composition made by hand. Its priorities count up, as everywhere here, also where kombu counts them down.
impl From<Wire> for Composed {
    fn from(signature: Wire) -> Self {
        Self { signature, error: None }
    }
}

impl<T> From<Signature<T>> for Composed {
    fn from(signature: Signature<T>) -> Self {
        Self::of(signature)
    }
}

impl<T, R> From<Group<T, R>> for Composed {
    fn from(group: Group<T, R>) -> Self {
        group.composed
    }
}

/// A composition made by hand, to be sent or composed further. What it returns is for the caller to know.
impl<T> From<Wire> for Signature<T> {
    fn from(signature: Wire) -> Self {
        Composed { signature, error: None }.into_signature()
    }
}

impl Composed {
    /// What calls one thing, or what it is composed of.
    pub(crate) fn of<T>(signature: Signature<T>) -> Self {
        let Signature { task, defaults, arguments, error, composed, options, .. } = signature;
        let error = error.map(|error| (task.clone(), error));
        let options = wire_options(options.map(|options| *options), defaults);
        let signature = match composed {
            Some(mut composed) => {
                put_options(&mut composed.options, options);
                *composed
            }
            None => Wire { args: arguments.args, kwargs: arguments.kwargs, options, ..Wire::new(task) },
        };
        Self { signature, error }
    }

    /// The composition as messages of this program's broker carry it: where kombu counts priorities down, they are turned
    /// around.
    pub(crate) fn for_broker(mut self, app: &App) -> Result<Wire, EncodeError> {
        if let Some((_, error)) = self.error {
            return Err(error);
        }
        if app.counts_down() {
            turn_priorities(&mut self.signature);
        }
        Ok(self.signature)
    }

    /// A signature to go on composing with.
    pub(crate) fn into_signature<T>(self) -> Signature<T> {
        let mut signature = Signature::named(self.signature.task.clone(), Vec::new(), Vec::new());
        // The name in an error is then that of the composition.
        signature.error = self.error.map(|(_, error)| error);
        signature.composed = Some(Box::new(self.signature));
        signature
    }

    /// This, and then that.
    pub(crate) fn then(self, next: Self) -> Self {
        let error = self.error.or(next.error);
        Self { signature: then(self.signature, next.signature), error }
    }

    /// The same without what ran before it: its arguments are complete.
    pub(crate) fn immutable(mut self) -> Self {
        set_immutable(&mut self.signature);
        self
    }
}

pub(crate) fn is(signature: &Wire, kind: &str) -> bool {
    signature.subtask_type.as_deref() == Some(kind)
}

fn composition(kind: &str, kwargs: Vec<(Box<str>, Value)>) -> Wire {
    let task = format!("celery.{kind}");
    Wire { kwargs, subtask_type: Some(kind.into()), ..Wire::new(&*task) }
}

pub(crate) fn group(members: Vec<Value>) -> Wire {
    composition("group", vec![("tasks".into(), Value::List(members))])
}

pub(crate) fn chain(steps: Vec<Value>) -> Wire {
    composition("chain", vec![("tasks".into(), Value::List(steps))])
}

/// Celery's form of a chord, whose header is the list of its members.
fn chord(header: Vec<Value>, body: Wire) -> Wire {
    let kwargs = vec![
        ("kwargs".into(), Value::Map(Vec::new())),
        ("header".into(), Value::List(header)),
        ("body".into(), body.into_value()),
    ];
    composition("chord", kwargs)
}

/// The signatures that a chain or a group holds.
fn take_tasks(signature: &mut Wire) -> Vec<Value> {
    match take(&mut signature.kwargs, "tasks") {
        Some(Value::List(tasks)) => tasks,
        _ => Vec::new(),
    }
}

/// One after the other, by the rules of Celery's `|`: a chain of chains is one chain, a group with something after it a
/// chord, and what follows a chord whose body ends in a group follows that group.
fn then(first: Wire, next: Wire) -> Wire {
    let (mut steps, options) = match first {
        mut first if is(&first, "chain") => {
            let mut steps = take_tasks(&mut first);
            let options = hand_to_ends(&mut steps, first.options);
            (steps, options)
        }
        first => (vec![first.into_value()], Vec::new()),
    };
    match next {
        mut next if is(&next, "chain") => {
            let mut following = take_tasks(&mut next);
            let options = hand_to_ends(&mut following, next.options);
            if let Some(first) = following.first_mut() {
                change_value(first, &mut |first: &mut Wire| put_options(&mut first.options, options.clone()));
            }
            following.into_iter().for_each(|step| push(&mut steps, step));
        }
        next => push(&mut steps, next.into_value()),
    }
    match <[Value; 1]>::try_from(steps) {
        Ok([single]) if options.is_empty() => Wire::from_value(single).unwrap_or_else(|_| Wire::new("")),
        Ok([single]) => Wire { options, ..chain(vec![single]) },
        Err(steps) => Wire { options, ..chain(steps) },
    }
}

/// Gives the options of a chain that becomes a part of another to those of its steps that they are meant for; returns the
/// others, which are for the first step.
///
/// Source: `celery/canvas.py`, `_chain.unchain_tasks`, Celery 5.7.0, which forgets all but the links.
fn hand_to_ends(steps: &mut [Value], options: Vec<(Box<str>, Value)>) -> Vec<(Box<str>, Value)> {
    let mut left = Vec::new();
    for (name, value) in options {
        let option = match &*name {
            "task_id" => {
                let id = vec![(name, value)];
                let mut set = |last: &mut Wire| put_options(&mut last.options, id.clone());
                steps.last_mut().into_iter().for_each(|last| change_value(last, &mut set));
                continue;
            }
            "link" => "link",
            "link_error" => "link_error",
            _ => {
                left.push((name, value));
                continue;
            }
        };
        let targets = if let Value::List(targets) = value { targets } else { vec![value] };
        let from = if option == "link" { steps.len().saturating_sub(1) } else { 0 };
        for target in targets.into_iter().filter_map(|target| Wire::from_value(target).ok()) {
            let mut add = |step: &mut Wire| link(step, option, &target);
            steps[from..].iter_mut().for_each(|step| change_value(step, &mut add));
        }
    }
    left
}

/// Gives the options of a group that becomes the header of a chord, which has none, to its members.
fn hand_to_all(members: &mut [Value], mut options: Vec<(Box<str>, Value)>) {
    options.retain(|(name, _)| **name != *"task_id");
    if !options.is_empty() {
        let mut set = |member: &mut Wire| put_options(&mut member.options, options.clone());
        members.iter_mut().for_each(|member| change_value(member, &mut set));
    }
}

fn push(steps: &mut Vec<Value>, step: Value) {
    let Some(last) = steps.pop() else { return steps.push(step) };
    if !ends_in_group(&last) {
        return steps.extend([last, step]);
    }
    let (Ok(mut last), Ok(step)) = (Wire::from_value(last), Wire::from_value(step)) else { return };
    match last.subtask_type.as_deref() {
        Some("group") => {
            let mut members = take_tasks(&mut last);
            hand_to_all(&mut members, last.options);
            steps.push(chord(members, step).into_value());
        }
        Some("chain") => steps.push(then(last, step).into_value()),
        _ => {
            if let Some((_, body)) = last.kwargs.iter_mut().find(|(name, _)| **name == *"body")
                && let Ok(inner) = Wire::from_value(std::mem::take(body))
            {
                *body = then(inner, step).into_value();
            }
            steps.push(last.into_value());
        }
    }
}

/// Whether it is a group, or a chord whose body ends in one.
fn ends_in_group(signature: &Value) -> bool {
    let entry = |name: &str| signature.get("kwargs").and_then(|kwargs| kwargs.get(name));
    match signature.get("subtask_type").and_then(Value::as_str) {
        Some("group") => true,
        Some("chord") => entry("body").is_some_and(ends_in_group),
        Some("chain") => {
            entry("tasks").and_then(Value::as_list).and_then(<[_]>::last).is_some_and(ends_in_group)
        }
        _ => false,
    }
}

/// Changes the signatures that this one is composed of; answers whether it is composed.
fn each_first(signature: &mut Wire, change: &mut impl FnMut(&mut Wire)) -> bool {
    let (name, only_first) = match signature.subtask_type.as_deref() {
        Some("chain") => ("tasks", true),
        Some("group") => ("tasks", false),
        Some("chord") => ("header", false),
        _ => return false,
    };
    let values = signature.kwargs.iter_mut().find(|(kwarg, _)| **kwarg == *name).map(|(_, value)| value);
    if let Some(Value::List(values)) = values {
        let count = if only_first { 1 } else { values.len() };
        values.iter_mut().take(count).for_each(|value| change_value(value, change));
    }
    true
}

fn change_value(value: &mut Value, change: &mut impl FnMut(&mut Wire)) {
    if let Ok(mut signature) = Wire::from_value(std::mem::take(value)) {
        change(&mut signature);
        *value = signature.into_value();
    }
}

fn set_immutable(signature: &mut Wire) {
    if !each_first(signature, &mut set_immutable) {
        signature.immutable = true;
    }
}

/// Links what is called with the result: to the last step of a chain, and to the body of a chord.
pub(crate) fn link(signature: &mut Wire, option: &'static str, callback: &Wire) {
    let on_all = option == "link_error";
    let of = |name: &str, kwargs: &mut Vec<(Box<str>, Value)>| {
        let value = kwargs.iter_mut().find(|(kwarg, _)| **kwarg == *name).map(|(_, value)| value);
        match value {
            Some(Value::List(values)) => {
                let from = if on_all { 0 } else { values.len().saturating_sub(1) };
                values[from..].iter_mut().for_each(|value| {
                    change_value(value, &mut |inner: &mut Wire| link(inner, option, callback));
                });
            }
            Some(value) => change_value(value, &mut |inner: &mut Wire| link(inner, option, callback)),
            None => {}
        }
    };
    match signature.subtask_type.as_deref() {
        Some("chain" | "group") => of("tasks", &mut signature.kwargs),
        Some("chord") => of("body", &mut signature.kwargs),
        _ => {
            let callback = callback.clone().into_value();
            match signature.options.iter_mut().find(|(name, _)| **name == *option) {
                Some((_, Value::List(values))) => values.push(callback),
                _ => signature.options.push((option.into(), Value::List(vec![callback]))),
            }
        }
    }
}

/// Stamps every task in it, and what is linked to these.
pub(crate) fn stamp(signature: &mut Wire, name: &str, value: &Value) {
    for inner in ["tasks", "header", "body"] {
        let is_composed = matches!(signature.subtask_type.as_deref(), Some("chain" | "group" | "chord"));
        let found = signature.kwargs.iter_mut().find(|(kwarg, _)| is_composed && **kwarg == *inner);
        stamp_values(found.map(|(_, found)| found), name, value);
    }
    for links in ["link", "link_error"] {
        let found = signature.options.iter_mut().find(|(option, _)| **option == *links);
        stamp_values(found.map(|(_, found)| found), name, value);
    }
    let stamps =
        vec![("stamped_headers".into(), Value::List(vec![name.into()])), (name.into(), value.clone())];
    put_options(&mut signature.options, stamps);
}

fn stamp_values(values: Option<&mut Value>, name: &str, stamped: &Value) {
    let mut change = |inner: &mut Wire| stamp(inner, name, stamped);
    match values {
        Some(Value::List(values)) => values.iter_mut().for_each(|value| change_value(value, &mut change)),
        Some(value) => change_value(value, &mut change),
        None => {}
    }
}

/// Puts options over those of a signature; headers and the names of stamps are added to those that it has.
fn put_options(options: &mut Vec<(Box<str>, Value)>, more: Vec<(Box<str>, Value)>) {
    for (name, value) in more {
        let old = options.iter_mut().find(|(option, _)| *option == name).map(|(_, old)| old);
        match (old, value) {
            (Some(Value::List(names)), Value::List(more)) if *name == *"stamped_headers" => {
                for name in more {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
            }
            (Some(Value::Map(headers)), Value::Map(more)) if *name == *"headers" => {
                headers.retain(|(header, _)| !more.iter().any(|(own, _)| own == header));
                headers.extend(more);
            }
            (Some(old), value) => *old = value,
            (None, value) => options.push((name, value)),
        }
    }
}

/// The options of a call as Celery's `apply_async` takes them; those of its task too, which whoever sends a later step may
/// not know.
fn wire_options(call: Option<SendOptions>, task: Option<&TaskOptions>) -> Vec<(Box<str>, Value)> {
    let call = call.unwrap_or_default();
    let mut options = Vec::new();
    let mut set = |name: &str, value: Option<Value>| {
        options.extend(value.map(|value| (name.into(), value)));
    };
    let seconds = |duration: std::time::Duration| Value::Float(duration.as_secs_f64());
    let text = |text: &dyn std::fmt::Display| Value::from(text.to_string());
    let queue = call.queue.as_ref().or(task.and_then(|task| task.queue.as_ref()));
    set("task_id", call.task_id.as_ref().map(|id| text(id)));
    set("queue", queue.map(|queue| text(queue)));
    set("priority", call.priority.or(task.and_then(|task| task.priority)).map(Value::from));
    let countdown = call.countdown.or(task.and_then(|task| task.countdown));
    match call.eta {
        Some(eta) => set("eta", Some(text(&eta))),
        None => set("countdown", countdown.map(seconds)),
    }
    let expires = call.expires.or(task.and_then(|task| task.expires)).map(seconds);
    set("expires", call.expires_at.map(|at| text(&at)).or(expires));
    let serializer = call.serializer.or(task.and_then(|task| task.serializer.clone()));
    let compression = call.compression.or(task.and_then(|task| task.compression.clone()));
    set("serializer", serializer.map(Value::from));
    set("compression", compression.map(Value::from));
    set("ignore_result", call.ignore_result.or(task.and_then(|task| task.ignore_result)).map(Value::from));
    set("time_limit", call.time_limit.or(task.and_then(|task| task.time_limit)).map(seconds));
    set("soft_time_limit", call.soft_time_limit.or(task.and_then(|task| task.soft_time_limit)).map(seconds));
    set("route_name", call.route_name.map(Value::from));
    set("shadow", call.shadow.map(Value::from));
    set("headers", (!call.headers.is_empty()).then_some(Value::Map(call.headers)));
    for (name, signatures) in [("link", call.link), ("link_error", call.link_error)] {
        let values: Vec<_> = signatures.into_iter().map(Wire::into_value).collect();
        set(name, (!values.is_empty()).then_some(Value::List(values)));
    }
    for (name, value) in call.stamps {
        let names = Value::List(vec![Value::from(&*name)]);
        put_options(&mut options, vec![("stamped_headers".into(), names), (name, value)]);
    }
    options
}

/// Turns the priorities in a composition around, for brokers where kombu counts down: ours count up everywhere.
fn turn_priorities(signature: &mut Wire) {
    for (name, value) in &mut signature.options {
        match (&**name, value) {
            ("priority", Value::Int(priority)) => *priority = 9 - (*priority).clamp(0, 9),
            ("link" | "link_error", value) => turn_in(value),
            _ => {}
        }
    }
    if matches!(signature.subtask_type.as_deref(), Some("chain" | "group" | "chord")) {
        signature.kwargs.iter_mut().for_each(|(_, value)| turn_in(value));
    }
}

fn turn_in(value: &mut Value) {
    match value {
        Value::List(values) => values.iter_mut().for_each(|value| change_value(value, &mut turn_priorities)),
        Value::Map(entries) if entries.iter().any(|(name, _)| **name == *"task") => {
            change_value(value, &mut turn_priorities);
        }
        _ => {}
    }
}
