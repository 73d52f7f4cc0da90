//! A task failed, or will never run: everything that waits for it hears of it.
//!
//! Here we go further than Celery, which leaves some of these waiting for ever: the steps of a chain after one that was
//! revoked or had expired, the members of a group that would have been the next step, the chord around a chord that
//! failed, and whatever would have followed a task that nobody knows.

use std::collections::HashSet;

use celeriac_protocol::{GroupId, ResultRecord, Shape, Signature, TaskId, Timestamp, Value};
use celeriac_store::{ChordPart, Closing, Consequences, StoreResult};

use super::errbacks::FailedCall;
use super::send::Origin;
use super::shape::{errbacks_of, result_id, signatures_in};
use super::{CHORD_UNLOCK, Fault, Member, Sequel, Workflow};

impl Workflow {
    /// Source: `celery/backends/base.py`, `Backend.mark_as_failure`, `_fail_chain`, Celery 5.7.0.
    pub(super) fn failed(&self, member: &Member<'_>, fault: &Fault, now: Timestamp) -> Sequel {
        let mut fall = Fall::new(self, now);
        let embed = &member.call.embed;
        if let Some((chord, body)) = member.chord() {
            fall.tell(chord, &member.id, member.headers.group_index, body, fault);
        }
        for step in embed.chain.iter().rev() {
            fall.strike(step, fault);
        }
        let mut consequences = fall.consequences;
        if member.headers.task.as_ref().is_some_and(|name| name.as_str() == CHORD_UNLOCK) {
            self.not_unlocked(member, fault, now, &mut consequences);
        }
        let failed = FailedCall { origin: self.origin(member), request: request(member) };
        self.call_errbacks(&failed, embed.errbacks.clone(), fault, &mut consequences.publication);
        Sequel { consequences, children: Vec::new() }
    }

    /// The task that polls for a chord has failed: nobody else will send the body.
    ///
    /// Source: `celery/app/builtins.py`, `unlock_chord`, Celery 5.7.0.
    fn not_unlocked(&self, member: &Member<'_>, fault: &Fault, now: Timestamp, into: &mut Consequences) {
        let Some(body) = member.call.args.get(1).and_then(|body| Signature::from_value(body.clone()).ok())
        else {
            return;
        };
        let fault = Fault::of_body(&fault.to_string());
        let Consequences { publication, results, parts } = self.chord_failed(&body, &fault, &fault, now);
        into.publication.append(publication);
        into.results.extend(results);
        into.parts.extend(parts);
    }

    /// What a chord does that will not send its body: `fault` is why, `cause` what its member failed with.
    ///
    /// Source: `celery/backends/base.py`, `Backend.chord_error_from_stack` and `_handle_group_chord_error`,
    /// Celery 5.7.0. There, chords around this one hear nothing.
    pub(super) fn chord_failed(
        &self,
        body: &Signature,
        fault: &Fault,
        cause: &Fault,
        now: Timestamp,
    ) -> Consequences {
        let mut fall = Fall::new(self, now);
        let root = body.option("root_id").and_then(Value::as_str);
        if let Shape::Group(members) = body.shape() {
            let of_group = signatures_in(body, "link_error");
            for member in members {
                let mut errbacks = errbacks_of(&member);
                for errback in &of_group {
                    if !errbacks.contains(errback) {
                        errbacks.push(errback.clone());
                    }
                }
                fall.body_failed(&member, errbacks, root, cause);
            }
            fall.store(body, cause);
            for step in signatures_in(body, "chain").iter().rev() {
                fall.strike(step, fault);
            }
        } else {
            fall.body_failed(body, errbacks_of(body), root, fault);
        }
        fall.consequences
    }
}

/// What an errback that takes more than an id gets to know of a call: what Celery's request has of it.
fn request(member: &Member<'_>) -> Value {
    let headers = member.headers;
    let id = |id: Option<&TaskId>| id.map_or(Value::Null, |id| Value::from(id.as_str()));
    Value::Map(vec![
        ("id".into(), id(Some(&member.id))),
        ("task".into(), headers.task.as_ref().map_or(Value::Null, |name| Value::from(name.as_str()))),
        ("args".into(), Value::List(member.call.args.clone())),
        ("kwargs".into(), Value::Map(member.call.kwargs.clone())),
        ("root_id".into(), id(Some(member.root()))),
        ("parent_id".into(), id(headers.parent_id.as_ref())),
        ("group".into(), headers.group.as_deref().map_or(Value::Null, Value::from)),
        ("group_index".into(), headers.group_index.map_or(Value::Null, Value::Int)),
        ("retries".into(), Value::Int(i64::from(headers.retries))),
    ])
}

/// What falls with a task.
struct Fall<'a> {
    workflow: &'a Workflow,
    now: Timestamp,
    consequences: Consequences,
    /// The chords that have been told. The first failure closes a chord, so that it need not hear of others.
    told: HashSet<GroupId>,
}

impl<'a> Fall<'a> {
    fn new(workflow: &'a Workflow, now: Timestamp) -> Self {
        Self { workflow, now, consequences: Consequences::default(), told: HashSet::new() }
    }

    /// Nothing of this call will run.
    fn strike(&mut self, call: &Signature, fault: &Fault) {
        match call.shape() {
            Shape::Task => {
                self.store(call, fault);
                self.tell_chord_of(call, fault);
            }
            Shape::Chain(calls) | Shape::Group(calls) => {
                calls.iter().for_each(|call| self.strike(call, fault));
            }
            Shape::Chord(header, body) => {
                header.iter().for_each(|member| self.store_all(member, fault));
                if let Some(body) = &body {
                    self.strike(body, fault);
                }
            }
        }
        for step in signatures_in(call, "chain").iter().rev() {
            self.strike(step, fault);
        }
    }

    /// As [`Fall::strike`], for a member of a chord that has not begun: there is nothing to tell.
    fn store_all(&mut self, call: &Signature, fault: &Fault) {
        match call.shape() {
            Shape::Task => self.store(call, fault),
            Shape::Chain(calls) | Shape::Group(calls) => {
                calls.iter().for_each(|call| self.store_all(call, fault));
            }
            Shape::Chord(header, body) => {
                header.iter().chain(&body).for_each(|call| self.store_all(call, fault));
            }
        }
    }

    /// The body of a chord will not run, and its errbacks hear of it.
    fn body_failed(&mut self, body: &Signature, errbacks: Vec<Signature>, root: Option<&str>, fault: &Fault) {
        self.strike(body, fault);
        let Some(id) = result_id(body) else { return };
        let id = TaskId::from(id);
        let root = root.map_or_else(|| id.clone(), TaskId::from);
        let failed = FailedCall::unknown(Origin { parent: id, root, priority: None });
        self.workflow.call_errbacks(&failed, errbacks, fault, &mut self.consequences.publication);
    }

    fn store(&mut self, call: &Signature, fault: &Fault) {
        let text = |option: &str| call.option(option).and_then(Value::as_str);
        let Some(id) = text("task_id") else { return };
        if matches!(call.option("ignore_result"), Some(Value::Bool(true))) {
            return;
        }
        let mut record =
            ResultRecord::new(id.into(), fault.state.clone(), fault.exception.clone(), Some(self.now));
        record.traceback.clone_from(&fault.traceback);
        for (option, field) in [("group_id", "group_id"), ("parent_id", "parent_id")] {
            if let Some(value) = text(option) {
                record.other.push((field.into(), value.into()));
            }
        }
        let expires_after = self.workflow.expires_after;
        self.consequences.results.push(StoreResult::new(record, expires_after));
    }

    fn tell_chord_of(&mut self, call: &Signature, fault: &Fault) {
        let text = |option: &str| call.option(option).and_then(Value::as_str);
        let (Some(id), Some(group), Some(chord)) = (text("task_id"), text("group_id"), call.option("chord"))
        else {
            return;
        };
        if let Ok(body) = Signature::from_value(chord.clone()) {
            let index = call.option("group_index").and_then(Value::as_i64);
            self.tell(group.into(), &id.into(), index, &body, fault);
        }
    }

    /// A member of this chord has failed.
    fn tell(&mut self, chord: GroupId, member: &TaskId, index: Option<i64>, body: &Signature, cause: &Fault) {
        if !self.told.insert(chord.clone()) {
            return;
        }
        let fault = Fault::of_chord(member, cause);
        tracing::error!(
            task_id = %member, %chord, body = %body.task, body_id = result_id(body),
            "a chord fails: {fault}",
        );
        let closing = self.workflow.chord_failed(body, &fault, cause, self.now);
        self.consequences.parts.push(ChordPart {
            chord,
            member: member.clone(),
            index,
            state: cause.state.clone(),
            result: cause.exception.clone(),
            adds: 0,
            expires_after: self.workflow.expires_after,
            closing: Closing::Known(Box::new(closing)),
        });
    }
}
