//! All that a memory store knows, and the operations that touch several parts of it.

use std::collections::HashSet;

use celeriac_protocol::{
    GroupId, Message, QueueName, ResultRecord, State as TaskState, TaskId, Timestamp, Value,
};
use tokio::sync::mpsc;

use super::broadcasts::Ear;
use super::control_state::Changes;
use super::expiring::Expiring;
use super::failed::Failed;
use super::groups::{Publications, Run};
use super::presence::Announced;
use super::queues::{ConsumerTerms, Content, Lent, Queues};
use crate::{
    ConsumerId, Delivery, FailedTask, FailureReason, Finish, Revocation, Settle, Settled, StoreResult, Whose,
};

/// All that a memory store knows.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: Queues,
    pub(super) results: Expiring<TaskId, ResultRecord>,
    pub(super) groups: Expiring<GroupId, Value>,
    pub(super) chords: Expiring<GroupId, Run>,
    pub(super) failed: Failed,
    pub(super) revoked: Expiring<TaskId, Removed>,
    pub(super) revocation_watches: Vec<mpsc::UnboundedSender<Revocation>>,
    pub(super) changes: Expiring<Whose, Changes>,
    pub(super) ears: Vec<Ear>,
    pub(super) workers: Expiring<ConsumerId, Announced>,
    /// How many times somebody asked for fresh announcements.
    pub(super) asks: u64,
}

/// Whether the messages of a revoked task were removed and nothing was left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Removed(bool);

impl State {
    /// Does what time brings. Says whether somebody who waits should look again.
    pub(super) fn pass_time(&mut self, now: Timestamp) -> bool {
        self.results.sweep(now);
        self.groups.sweep(now);
        self.chords.sweep(now);
        self.revoked.sweep(now);
        self.changes.sweep(now);
        self.workers.sweep(now);
        self.queues.pass_time(now)
    }

    /// Lends up to `limit` messages.
    pub(super) fn take(&mut self, terms: &ConsumerTerms, limit: usize, now: Timestamp) -> Vec<Delivery> {
        let limit = limit.min(self.queues.attend(terms, now));
        let mut deliveries = Vec::new();
        while deliveries.len() < limit
            && let Some((queue, place, stored)) = self.queues.pop(&terms.queues)
        {
            let message = match &stored.content {
                Content::Message(message) => Message::clone(message),
                Content::Undecodable(bytes) => {
                    self.failed.keep(undecodable(queue, bytes, now));
                    continue;
                }
            };
            let deliveries_now = stored.deliveries + 1;
            let revoked = message.headers.id.as_ref().is_some_and(|id| self.revoked.contains(id));
            let tag = self.queues.lend(terms, (queue.clone(), place, stored), now);
            deliveries.push(Delivery {
                tag,
                queue,
                message,
                redelivered: deliveries_now > 1,
                deliveries: deliveries_now,
                revoked: Some(revoked),
            });
        }
        deliveries
    }

    pub(super) fn finish(&mut self, consumer: u64, finish: Finish, now: Timestamp) -> Settled {
        let Finish { delivery, settle, result, follow_ups, workflow } = finish;
        if delivery.is_some_and(|tag| !self.queues.is_ours(consumer, tag)) {
            return Settled::Lost;
        }
        if workflow.as_ref().is_some_and(|workflow| self.completes(workflow)) {
            return Settled::Completes;
        }
        if let Some(lent) = delivery.and_then(|tag| self.queues.end_lease(consumer, tag)) {
            self.settle(lent, settle, now);
        }
        self.publish(follow_ups.into(), now);
        if let Some(result) = result {
            self.store_result(result, now);
        }
        if let Some(workflow) = workflow {
            self.bring_about(*workflow, Publications::AreHere, now);
        }
        Settled::Done
    }

    fn settle(&mut self, lent: Lent, settle: Settle, now: Timestamp) {
        match settle {
            Settle::Ack => {}
            Settle::Requeue => self.queues.give_back(lent, true),
            Settle::Release => self.queues.give_back(lent, false),
            Settle::Fail(reason) => self.failed.keep(failed(lent, reason, now)),
        }
    }

    pub(super) fn store_result(&mut self, result: StoreResult, now: Timestamp) {
        let expires_after = result.expires_after;
        let record = result.into_record();
        let stays = self.results.get(&record.task_id).is_some_and(|old| {
            old.state == TaskState::Success || (old.state.is_ready() && !record.state.is_ready())
        });
        if !stays {
            self.results.insert(record.task_id.clone(), record, now.saturating_add(expires_after));
        }
    }

    /// Remembers revocations, and removes what waits or is scheduled of these tasks, or lets it hurry. Answers those that
    /// left in this way, now or before.
    pub(super) fn revoke(&mut self, revocations: &[Revocation], now: Timestamp) -> Vec<TaskId> {
        self.revocation_watches
            .retain(|watch| revocations.iter().all(|revocation| watch.send(revocation.clone()).is_ok()));
        let ids: HashSet<&TaskId> = revocations.iter().map(|revocation| &revocation.task_id).collect();
        self.queues.hurry(&ids);
        let mut removed = self.queues.remove_waiting(&ids);
        removed.extend(self.queues.cancel(&ids));
        let left_before = |id: &&TaskId| self.revoked.get(id) == Some(&Removed(true));
        removed.extend(ids.into_iter().filter(left_before).cloned());
        removed.retain(|id| !self.queues.is_there(id));
        removed.sort_unstable();
        removed.dedup();
        for Revocation { task_id, expires_after, .. } in revocations {
            let mark = Removed(removed.binary_search(task_id).is_ok());
            self.revoked.insert(task_id.clone(), mark, now.saturating_add(*expires_after));
        }
        removed
    }
}

fn failed(lent: Lent, reason: FailureReason, now: Timestamp) -> FailedTask {
    let (message, undecodable) = match lent.stored.content {
        Content::Message(message) => (Some(*message), None),
        Content::Undecodable(bytes) => (None, Some(bytes)),
    };
    FailedTask {
        task_id: message.as_ref().and_then(id_of).unwrap_or_else(TaskId::fresh),
        queue: lent.queue,
        failed_at: now,
        deliveries: lent.stored.deliveries,
        reason,
        size: message.as_ref().map_or(0, |message| message.body.len())
            + undecodable.as_ref().map_or(0, Vec::len),
        message,
        undecodable,
    }
}

fn undecodable(queue: QueueName, bytes: &[u8], now: Timestamp) -> FailedTask {
    FailedTask {
        task_id: TaskId::fresh(),
        queue,
        failed_at: now,
        deliveries: 0,
        reason: FailureReason::undecodable(None),
        message: None,
        undecodable: Some(bytes.to_vec()),
        size: bytes.len(),
    }
}

fn id_of(message: &Message) -> Option<TaskId> {
    message.headers.id.clone()
}
