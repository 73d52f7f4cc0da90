//! What the end of a task means for the workflow it is part of.
//!
//! A message names what follows its task in the third part of its body, the embed. Here that becomes what the store does
//! in the same step as the rest of the end:
//!
//! - [`success`]: callbacks and the next step of a chain are sent, and a chord hears of its member;
//! - [`failure`]: errbacks are sent, and everything that will never run gets the failure as its result;
//! - [`replacement`]: another call takes the place of the task, with all that follows it;
//! - [`completion`]: the body of a chord is sent with what its members returned.
//!
//! All of it is pure: it reads the message of the task and what the task left behind, and composes.

mod completion;
mod errbacks;
mod failure;
mod fault;
mod replacement;
mod send;
pub(crate) mod shape;
mod success;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::App;
use celeriac_protocol::{
    Arguments, GroupId, Headers, Message, ResultRecord, Signature, TaskId, Timestamp, Value, body,
};
use celeriac_store::{Consequences, Delivery, Publication, StoreResult};

pub(crate) use completion::{Joined, close_with, reported};
pub(crate) use fault::Fault;

use crate::outcome::Failure;
use crate::panic::contained;
use send::Origin;

/// The task that polls for chords where results are kept that are not counted. What follows it is among its arguments.
const CHORD_UNLOCK: &str = "celery.chord_unlock";

/// Whether something may follow the task of this message, as far as that shows without decoding it.
pub(crate) fn may_follow(message: &Message) -> bool {
    body::may_have_embed(message)
        || message.headers.task.as_ref().is_some_and(|name| name.as_str() == CHORD_UNLOCK)
}

/// The end of a task that something may follow.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The message of the task.
    pub delivery: Arc<Delivery>,
    /// How it ended.
    pub end: End,
    /// What it asks to be sent to the chord that it is a member of.
    pub additions: Vec<Signature>,
}

/// How a task ended, as far as its workflow is concerned.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It returned this.
    Success(Value),
    /// It failed, or will never run.
    Failure(Fault),
    /// This call takes its place.
    Replaced(Box<Signature>),
}

/// What follows the end of a task.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequel {
    /// What is to happen.
    pub consequences: Consequences,
    /// The results of what is sent, as Celery's tuples, for the `children` of the task's own result.
    pub children: Vec<Value>,
}

/// Composes what follows tasks. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workflow {
    /// The program: its routes, and the tasks it knows.
    pub app: App,
    /// How long results, saved groups and the counts of chords are kept.
    pub expires_after: Duration,
    /// The largest body that is decoded.
    pub max_body_bytes: usize,
}

/// One member of a workflow: its message, decoded.
struct Member<'a> {
    id: TaskId,
    headers: &'a Headers,
    call: Arguments,
    priority: Option<u8>,
}

impl Member<'_> {
    /// The first task of the workflow.
    fn root(&self) -> &TaskId {
        self.headers.root_id.as_ref().unwrap_or(&self.id)
    }

    /// The chord it is a member of, and the body of that chord.
    fn chord(&self) -> Option<(GroupId, &Signature)> {
        let group = self.headers.group.as_deref()?;
        Some((GroupId::from(group), self.call.embed.chord.as_deref()?))
    }
}

impl Workflow {
    /// What follows this end.
    ///
    /// # Errors
    /// Why what follows a success cannot be sent: then the task has failed with this, and the caller asks again.
    /// After a failure something always follows: what cannot be sent then is left out, and the log says so.
    pub(crate) fn after(&self, ended: &Ended, now: Timestamp) -> Result<Sequel, Failure> {
        if let Some(sequel) = self.told_to_a_chord(ended) {
            return Ok(sequel);
        }
        let Some(member) = self.member(ended) else { return Ok(Sequel::default()) };
        let composed = contained(|| match &ended.end {
            End::Success(value) => self.succeeded(&member, value, &ended.additions),
            End::Failure(fault) => Ok(self.failed(&member, fault, now)),
            End::Replaced(signature) => self.replaced(&member, signature, &ended.additions),
        });
        composed.unwrap_or_else(|said| match &ended.end {
            End::Failure(_) => {
                tracing::error!(task_id = %member.id, "composing what follows a failure panicked, nothing follows: {said}");
                Ok(Sequel::default())
            }
            _ => Err(Failure::new("InternalError", None, format!("composing what follows this task panicked: {said}"))),
        })
    }

    /// The member as the sender of what follows it.
    fn origin(&self, member: &Member<'_>) -> Origin {
        Origin::of(member, self.app.config().task_inherit_parent_priority)
    }

    /// The failure of a task as its result; nothing if its result is not wanted.
    pub(crate) fn result_of(
        &self,
        delivery: &Delivery,
        fault: &Fault,
        now: Timestamp,
    ) -> Option<StoreResult> {
        let headers = &delivery.message.headers;
        let id = headers.id.clone().filter(|_| headers.ignore_result != Some(true))?;
        let record = ResultRecord::new(id, fault.state.clone(), fault.exception.clone(), Some(now));
        Some(StoreResult::new(record, self.expires_after))
    }

    /// Reads the message of a task. One that cannot be decoded has failed because of that, and nobody knows what was
    /// to follow it.
    fn member<'a>(&self, ended: &'a Ended) -> Option<Member<'a>> {
        let message = &ended.delivery.message;
        let id = message.headers.id.clone()?;
        let call = body::decode_limited(message, self.max_body_bytes).ok()?;
        Some(Member { id, headers: &message.headers, call, priority: message.properties.priority })
    }
}

impl Sequel {
    fn publish(&mut self, publication: Publication) {
        self.consequences.publication.append(publication);
    }
}
