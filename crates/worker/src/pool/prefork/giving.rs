//! Which child is given which job, and when it is taken back for another.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::TaskId;
use tokio::time::Instant;

use super::link::Order;
use super::member::{Given, Member, encode_job};
use super::slot::Slot;
use super::supervisor::Supervisor;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::pool::Job;

impl Supervisor {
    /// Gives waiting jobs to children that take them.
    pub(super) fn dispatch(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(job) = self.waiting.get(at) {
            match self.fittest(&job.request.id) {
                Some(index) => {
                    let Some(job) = self.waiting.remove(at) else { return };
                    if let Err(job) = self.assign(index, job, now) {
                        return self.waiting.insert(at, job);
                    }
                }
                // It may be another run of what the only free child has: then the next is not.
                None if self.options.jobs > 1 => at += 1,
                None => return,
            }
        }
    }

    /// Gives idle children what others were given ahead and have not taken.
    pub(super) fn level(&mut self, now: Instant) {
        while let Some(idle) = self.members.iter().position(|member| member.slot.is_idle()) {
            let mut richest: Vec<_> = (0..self.members.len()).collect();
            richest.retain(|index| self.members[*index].slot.not_started() > 0);
            richest.sort_by_key(|index| Reverse(self.members[*index].slot.not_started()));
            let Some(job) = richest.into_iter().find_map(|index| self.members[index].take_back()) else {
                return;
            };
            if let Err(job) = self.assign(idle, job, now) {
                return self.waiting.push_front(job);
            }
        }
    }

    /// Takes back what a child was given ahead: it waits for another one, before all others.
    pub(super) fn take_all_back(&mut self, index: usize) {
        let Some(member) = self.members.get_mut(index) else { return };
        let taken: Vec<Job> = std::iter::from_fn(|| member.take_back()).collect();
        for job in taken.into_iter().rev() {
            self.waiting.push_front(job);
        }
    }

    /// The child that takes a job of this id: one that is not to be replaced soon, and of those the one that runs the fewest.
    fn fittest(&self, id: &TaskId) -> Option<usize> {
        let limits = self.options.limits;
        let is_due = |member: &Member| limits.due(member.slot.tasks(), member.slot.memory()).is_some();
        // Beside the one that it runs, a child is given no more than it will run before it is replaced.
        let served =
            |slot: &Slot| limits.max_tasks.is_some_and(|most| slot.tasks() + slot.given() as u64 >= most);
        let takes = |slot: &Slot| slot.takes(id) && (slot.given() == 0 || !served(slot));
        let takers = self.members.iter().enumerate().filter(|(_, member)| takes(&member.slot));
        takers.min_by_key(|(_, member)| (is_due(member), member.slot.given())).map(|(index, _)| index)
    }

    /// Gives a job to a child; gives it back if there is no room for it beside what the child has.
    fn assign(&mut self, index: usize, job: Job, now: Instant) -> Result<(), Job> {
        let frame = match encode_job(&job, self.options.wants_ends(), self.options.frame_limit) {
            Ok(frame) => frame,
            Err(error) => {
                let failure = Failure {
                    code: Some(FailureCode::TooLarge),
                    exc_type: "MessageTooLarge".into(),
                    exc_module: None,
                    message: format!(
                        "the message cannot be handed to a child process: {error}; raise store_message_limit"
                    )
                    .into(),
                    traceback: None,
                };
                self.finish(job, Outcome::Failure(failure), Duration::ZERO);
                return Ok(());
            }
        };
        self.given += 1;
        let number = self.given;
        let Some(member) = self.members.get_mut(index) else { return Err(job) };
        if member.ahead.as_ref().is_some_and(|ahead| ahead.give(number, &frame)) {
            member.slot.assign(job.request.id.clone(), now);
            member.jobs.push(Given { number, job });
            return Ok(());
        }
        if member.ahead.is_some() && member.slot.given() > 0 {
            return Err(job);
        }
        member.slot.assign_alone(job.request.id.clone(), now);
        // Of several tasks nobody knows whose lines those are that the child prints.
        let starts = (self.options.jobs == 1).then(|| Arc::clone(&job.request));
        member.jobs.push(Given { number, job });
        self.order(index, Order { frame, starts, is_announced: false, is_last: false });
        Ok(())
    }
}
