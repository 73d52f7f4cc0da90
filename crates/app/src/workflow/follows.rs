//! What follows a task, read from its message. Pure.

use celeriac_protocol::{Embed, GroupId, Message, Shape, Signature, TaskId, Value, body};

/// What is not sent yet and follows a message.
pub(super) fn embed_of(message: &Message) -> Embed {
    if !body::has_embed(message) {
        return Embed::default();
    }
    body::decode(message).map(|arguments| arguments.embed).unwrap_or_default()
}

/// The text of an option.
pub(super) fn text<'a>(call: &'a Signature, option: &str) -> Option<&'a str> {
    call.option(option).and_then(Value::as_str)
}

/// Whether a task or group of this id is among what follows.
pub(super) fn leads_to(embed: &Embed, id: &str) -> bool {
    let mut left: Vec<Signature> = embed.callbacks.iter().chain(&embed.chain).cloned().collect();
    left.extend(embed.errbacks.iter().cloned());
    left.extend(embed.chord.as_deref().cloned());
    while let Some(call) = left.pop() {
        if ["task_id", "group_id"].iter().any(|option| text(&call, option) == Some(id)) {
            return true;
        }
        match call.shape() {
            Shape::Task => {}
            Shape::Chain(calls) | Shape::Group(calls) => left.extend(calls),
            Shape::Chord(header, body) => left.extend(header.into_iter().chain(body)),
        }
        // The chord of a step whose chain is a member, and the rest of the chain of a body.
        let nested = ["chord", "chain"].iter().filter_map(|option| call.option(option));
        for value in nested {
            let list = value.as_list().unwrap_or(std::slice::from_ref(value));
            left.extend(list.iter().filter_map(|value| Signature::from_value(value.clone()).ok()));
        }
    }
    false
}

/// Whether a message belongs to a member of this group: it is the member, or a step of the chain that is.
pub(super) fn is_member(message: &Message, group: &GroupId) -> bool {
    if message.headers.group.as_deref() == Some(group.as_str()) {
        return true;
    }
    let last = embed_of(message).chain.into_iter().next();
    last.is_some_and(|last| text(&last, "group_id") == Some(group.as_str()))
}

/// The body of the chord whose member this message belongs to.
pub(super) fn body_of(message: &Message, group: &GroupId) -> Option<Signature> {
    let embed = embed_of(message);
    if message.headers.group.as_deref() == Some(group.as_str()) {
        return embed.chord.map(|body| *body);
    }
    let chord = embed.chain.first()?.option("chord")?;
    Signature::from_value(chord.clone()).ok()
}

/// One result of a result tuple.
#[derive(Clone, Debug)]
pub(super) enum Linked {
    Task(TaskId),
    Group(GroupId, Vec<Value>),
}

impl Linked {
    pub(super) fn id(&self) -> &str {
        match self {
            Self::Task(id) => id.as_str(),
            Self::Group(id, _) => id.as_str(),
        }
    }
}

/// A result tuple with its parents, the first one first.
///
/// Source: `celery/result.py`, `result_from_tuple`, Celery 5.7.0.
pub(super) fn unrolled(tuple: &Value) -> Vec<Linked> {
    let (mut found, mut next) = (Vec::new(), Some(tuple));
    while let Some([head, members]) = next.and_then(Value::as_list) {
        let parts = head.as_list().unwrap_or(std::slice::from_ref(head));
        let Some(id) = parts.first().and_then(Value::as_str) else { break };
        found.push(match members {
            Value::List(members) => Linked::Group(id.into(), members.clone()),
            _ => Linked::Task(id.into()),
        });
        next = parts.get(1);
    }
    found.reverse();
    found
}
