//! The last member of a chord has succeeded: the body is sent with what all of them returned.

use std::collections::{HashMap, HashSet};

use celeriac_protocol::{Signature, State, TaskId, Timestamp, Value};
use celeriac_store::{Chord, Closing, Consequences, Reported};

use super::send::Origin;
use super::{Ended, Fault, Workflow};
use crate::panic::contained;

/// What the members of a chord returned, those that have reported and the one that completes it.
pub(crate) struct Joined {
    /// In the order of their places.
    parts: Vec<Reported>,
    /// What the group is made of, if some of its members are groups themselves.
    structure: Option<Value>,
}

impl Joined {
    /// The results of this chord with those of the member that completes it.
    pub(crate) fn new(chord: Chord, last: Reported, structure: Option<Value>) -> Self {
        let mut parts = chord.parts;
        let place = |part: &Reported| (part.index.is_none(), part.index, part.member.clone());
        let at = parts.partition_point(|part| place(part) <= place(&last));
        parts.insert(at, last);
        Self { parts, structure }
    }

    /// A member that failed before the chord had a size: Celery's producers say it with the last of its members.
    fn failed(&self) -> Option<&Reported> {
        self.parts.iter().find(|part| part.state != State::Success)
    }

    /// The tasks whose results the structure has and no member has reported.
    pub(crate) fn missing(&self) -> Vec<TaskId> {
        let mut leaves = Vec::new();
        if let Some(structure) = &self.structure {
            collect_leaves(structure, &mut leaves);
        }
        let known: HashSet<&TaskId> = self.parts.iter().map(|part| &part.member).collect();
        leaves.retain(|leaf| !known.contains(leaf));
        leaves
    }

    /// The list that the body gets.
    fn results(&self, others: &HashMap<TaskId, Value>) -> Value {
        let Some(structure) = &self.structure else {
            return Value::List(self.parts.iter().map(|part| part.result.clone()).collect());
        };
        let mut known: HashMap<&str, &Value> =
            others.iter().map(|(id, value)| (id.as_str(), value)).collect();
        known.extend(self.parts.iter().map(|part| (part.member.as_str(), &part.result)));
        joined(structure, &known)
    }
}

impl Workflow {
    /// What closes the chord of this task, which all members have completed: its body is sent, or fails because it
    /// cannot be.
    ///
    /// Source: `celery/backends/redis.py`, `RedisBackend.on_chord_part_return`, Celery 5.7.0.
    pub(crate) fn completed(
        &self,
        ended: &Ended,
        joined: &Joined,
        others: &HashMap<TaskId, Value>,
        now: Timestamp,
    ) -> Consequences {
        let composed = contained(|| self.body_or_failure(ended, joined, others, now));
        composed
            .unwrap_or_else(|said| self.refused_body(ended, &format!("composing it panicked: {said}"), now))
    }

    fn body_or_failure(
        &self,
        ended: &Ended,
        joined: &Joined,
        others: &HashMap<TaskId, Value>,
        now: Timestamp,
    ) -> Consequences {
        let Some((body, origin)) = self.body_of(ended) else { return Consequences::default() };
        if let Some(failed) = joined.failed() {
            let cause =
                Fault { state: failed.state.clone(), exception: failed.result.clone(), traceback: None };
            return self.chord_failed(&body, &Fault::of_chord(&failed.member, &cause), &cause, now);
        }
        match self.send(body.clone(), vec![joined.results(others)], Vec::new(), &origin) {
            Ok(sent) => Consequences { publication: sent.publication, ..Consequences::default() },
            Err(error) => self.not_completed(&body, &origin, &error.message, now),
        }
    }

    /// What closes the chord of this task when its body is refused by the store.
    pub(crate) fn refused_body(&self, ended: &Ended, reason: &str, now: Timestamp) -> Consequences {
        let composed = contained(|| {
            let (body, origin) = self.body_of(ended)?;
            Some(self.not_completed(&body, &origin, reason, now))
        });
        match composed {
            Ok(closing) => closing.unwrap_or_default(),
            Err(said) => {
                tracing::error!("composing the failure of a chord panicked, nobody hears of it: {said}");
                Consequences::default()
            }
        }
    }

    fn not_completed(&self, body: &Signature, origin: &Origin, reason: &str, now: Timestamp) -> Consequences {
        tracing::error!(task_id = %origin.parent, body = %body.task, "the body of a chord cannot be sent: {reason}");
        let fault = Fault::of_body(reason);
        self.chord_failed(body, &fault, &fault, now)
    }

    fn body_of(&self, ended: &Ended) -> Option<(Signature, Origin)> {
        let member = self.member(ended)?;
        let (_, body) = member.chord()?;
        Some((body.clone(), self.origin(&member)))
    }
}

/// Says of the last part what closes its chord.
pub(crate) fn close_with(consequences: &mut Consequences, closing: Consequences) {
    let asked = consequences.parts.iter_mut().find(|part| matches!(part.closing, Closing::Ask));
    if let Some(part) = asked {
        part.closing = Closing::Known(Box::new(closing));
    }
}

/// The part that a member reports, as [`Joined`] takes it.
pub(crate) fn reported(consequences: &Consequences) -> Option<(celeriac_protocol::GroupId, Reported)> {
    let part = consequences.parts.iter().find(|part| matches!(part.closing, Closing::Ask))?;
    let reported = Reported {
        member: part.member.clone(),
        index: part.index,
        state: State::Success,
        result: part.result.clone(),
    };
    Some((part.chord.clone(), reported))
}

/// A result tuple: the id, and the tuples of its members if it is a group.
///
/// Source: `celery/result.py`, `AsyncResult.as_tuple`, `GroupResult.as_tuple`, Celery 5.7.0.
fn tuple(value: &Value) -> Option<(&str, Option<&[Value]>)> {
    let [head, members] = value.as_list()? else { return None };
    let id = head.as_list()?.first()?.as_str()?;
    Some((id, members.as_list()))
}

fn collect_leaves(value: &Value, leaves: &mut Vec<TaskId>) {
    match tuple(value) {
        Some((_, Some(members))) => members.iter().for_each(|member| collect_leaves(member, leaves)),
        Some((id, None)) => leaves.push(id.into()),
        None => {}
    }
}

fn joined(value: &Value, known: &HashMap<&str, &Value>) -> Value {
    match tuple(value) {
        Some((_, Some(members))) => Value::List(members.iter().map(|member| joined(member, known)).collect()),
        Some((id, None)) => known.get(id).map_or(Value::Null, |value| (*value).clone()),
        None => Value::Null,
    }
}
