//! A task returned: what it is linked to is sent, and its chord hears of it.

use celeriac_protocol::{Embed, GroupId, Headers, Signature, State, TaskId, Value, body};
use celeriac_store::{ChordPart, Closing};

use super::send::Origin;
use super::shape::{group_of, members_counted, set_option};
use super::{End, Ended, Member, Sequel, Workflow};
use crate::outcome::Failure;

impl Workflow {
    /// Source: `celery/app/trace.py`, `_dispatch_callbacks_and_chain`, and `celery/backends/base.py`,
    /// `Backend.mark_as_done`, Celery 5.7.0.
    pub(super) fn succeeded(
        &self,
        member: &Member<'_>,
        value: &Value,
        additions: &[Signature],
    ) -> Result<Sequel, Failure> {
        let embed = &member.call.embed;
        refuse_malformed(embed)?;
        let mut sequel = Sequel::default();
        let origin = self.origin(member);
        for callback in callbacks(&embed.callbacks) {
            self.follow(&mut sequel, callback, value, Vec::new(), &origin)?;
        }
        if let Some((next, rest)) = embed.chain.split_last() {
            self.follow(&mut sequel, next.clone(), value, rest.to_vec(), &origin)?;
        }
        let adds = self.add(&mut sequel, member, additions)?;
        if let Some((chord, _)) = member.chord() {
            let part = self.part(chord, member.id.clone(), member.headers, value);
            sequel.consequences.parts.push(ChordPart { adds, ..part });
        }
        Ok(sequel)
    }

    /// What follows the success of a plain member of a header, which is what most members of workflows are. Nothing of its
    /// message is decoded for that: the body of the chord in it is for whoever completes the chord.
    pub(super) fn told_to_a_chord(&self, ended: &Ended) -> Option<Sequel> {
        let (End::Success(value), []) = (&ended.end, &ended.additions[..]) else { return None };
        let message = &ended.delivery.message;
        let headers = &message.headers;
        let (id, group) = (headers.id.clone()?, headers.group.as_deref()?);
        if message.body.len() > self.max_body_bytes || !body::tells_only_a_chord(message) {
            return None;
        }
        let mut sequel = Sequel::default();
        sequel.consequences.parts.push(self.part(group.into(), id, headers, value));
        Some(sequel)
    }

    /// The success of a member as its chord hears of it.
    fn part(&self, chord: GroupId, member: TaskId, headers: &Headers, value: &Value) -> ChordPart {
        ChordPart {
            chord,
            member,
            index: headers.group_index,
            state: State::Success,
            result: value.clone(),
            adds: 0,
            expires_after: self.expires_after,
            closing: Closing::Ask,
        }
    }

    fn follow(
        &self,
        sequel: &mut Sequel,
        call: Signature,
        value: &Value,
        chain: Vec<Signature>,
        origin: &Origin,
    ) -> Result<(), Failure> {
        let sent = self.call_back(call, vec![value.clone()], chain, origin)?;
        sequel.children.extend(sent.children);
        sequel.publish(sent.publication);
        Ok(())
    }

    /// Sends what a member has added to its chord, and says how many members more that are.
    ///
    /// The chord waits for them from this step on. Celery sends them at once, after a step in which the chord is extended: a
    /// task that dies in between leaves a chord that waits for ever.
    ///
    /// Source: `celery/app/task.py`, `Task.add_to_chord`, Celery 5.7.0.
    pub(super) fn add(
        &self,
        sequel: &mut Sequel,
        member: &Member<'_>,
        additions: &[Signature],
    ) -> Result<u64, Failure> {
        let Some((chord, body)) = member.chord() else { return Ok(0) };
        let mut adds = 0;
        for addition in additions {
            let mut call = addition.clone();
            set_option(&mut call, "group_id", chord.as_str());
            set_option(&mut call, "chord", body.clone().into_value());
            if let Some(index) = member.headers.group_index {
                set_option(&mut call, "group_index", index);
            }
            adds += members_counted(&call);
            let sent = self.send(call, Vec::new(), Vec::new(), &self.origin(member))?;
            sequel.children.extend(sent.children);
            sequel.publish(sent.publication);
        }
        Ok(adds)
    }
}

/// What is sent for callbacks: groups apart, and the others, if they are several, as one group.
fn callbacks(callbacks: &[Signature]) -> Vec<Signature> {
    if callbacks.len() < 2 {
        return callbacks.to_vec();
    }
    let (mut sent, others): (Vec<_>, Vec<_>) =
        callbacks.iter().cloned().partition(|callback| callback.subtask_type.as_deref() == Some("group"));
    if !others.is_empty() {
        sent.push(group_of(others));
    }
    sent
}

/// An entry that is not what it should be is kept by the decoder, unread: what was to follow would be lost unseen.
fn refuse_malformed(embed: &Embed) -> Result<(), Failure> {
    let known = |name: &str| matches!(name, "callbacks" | "errbacks" | "chain" | "chord");
    match embed.other.iter().find(|(name, _)| known(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("what was to follow this task cannot be read: {name} holds no signatures");
            Err(Failure::new("InvalidTaskError", Some("celery.exceptions"), text))
        }
    }
}
