//! One slot of the pool with all that the supervisor holds of it, and how its child is given a job.

use std::sync::Arc;

use bytes::BytesMut;
use celeriac_protocol::TaskId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::ahead::Ahead;
use super::board::Row;
use super::frame::{self, Encoded};
use super::link::Order;
use super::process::Process;
use super::protocol::{self, JobHead, ToChild};
use super::slot::{Phase, Rules, Slot};
use crate::finish::python::says_redelivered;
use crate::pool::Job;

/// One slot, its child, and what the child is doing.
pub(super) struct Member {
    pub(super) slot: Slot,
    /// Counts the children of all slots; a child is known by it.
    pub(super) number: u32,
    pub(super) name: Box<str>,
    /// What it was given and has not ended, in that order.
    pub(super) jobs: Vec<Given>,
    /// What it was given ahead, if it is such a child.
    pub(super) ahead: Option<Ahead>,
    pub(super) hand: Option<Hand>,
    /// Whether people are not shown yet how it fares.
    pub(super) changed: bool,
    /// Whether the pool is to be without it: its child is the last one here.
    pub(super) is_surplus: bool,
}

impl Member {
    /// An empty slot.
    pub(super) fn new(rules: Rules, now: Instant) -> Self {
        Self {
            slot: Slot::new(rules, now),
            number: 0,
            name: Box::default(),
            jobs: Vec::new(),
            ahead: None,
            hand: None,
            changed: false,
            is_surplus: false,
        }
    }

    /// The job of this id that the child runs.
    pub(super) fn job(&self, id: &TaskId) -> Option<&Job> {
        self.jobs.iter().map(|given| &given.job).find(|job| job.request.id == *id)
    }

    /// The same, which it runs no more.
    pub(super) fn take_job(&mut self, id: &TaskId) -> Option<Job> {
        let at = self.jobs.iter().position(|given| given.job.request.id == *id)?;
        Some(self.jobs.remove(at).job)
    }

    /// Whether it may be given jobs ahead.
    pub(super) fn gets_ahead(&self) -> bool {
        self.ahead.is_some()
    }

    /// Shows people how it fares.
    pub(super) fn show(&self, row: &mut Row) {
        row.name = self.name.clone();
        row.pid = self.hand.as_ref().map(|hand| hand.process.id());
        row.phase = match self.slot.phase() {
            None => "down",
            Some(Phase::Ready) if !self.slot.is_open() => "leaving",
            Some(Phase::Ready) if self.slot.task().is_some() => "busy",
            Some(phase) => phase.as_str(),
        };
        row.task = self.slot.task().cloned();
        row.running = self.slot.given() - self.slot.not_started();
        row.tasks = self.slot.tasks();
        row.memory = self.slot.memory().map_or(0, |(_, memory)| memory);
        row.failed_starts = self.slot.failures();
        row.is_gone = self.is_surplus && self.slot.is_closed();
    }

    /// Takes a job back that the child has not taken yet: the one that it would take next.
    pub(super) fn take_back(&mut self) -> Option<Job> {
        let number = self.ahead.as_ref()?.take_back()?;
        let at = self.jobs.iter().position(|given| given.number == number)?;
        let job = self.jobs.remove(at).job;
        self.slot.unassign(&job.request.id);
        Some(job)
    }
}

/// A job that a child was given.
pub(super) struct Given {
    /// By which it is known in the socket for what is given ahead.
    pub(super) number: u64,
    pub(super) job: Job,
}

/// How the supervisor reaches a living child.
pub(super) struct Hand {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) process: Arc<Process>,
}

/// The frame by which a child is given this job.
///
/// # Errors
/// It is larger than `limit`.
pub(super) fn encode_job(job: &Job, shows: bool, limit: usize) -> Result<Encoded, frame::Error> {
    let delivery = &job.request.delivery;
    let headers = delivery.message.encode_head();
    let head = JobHead {
        id: job.request.id.clone(),
        task: job.request.name().clone(),
        queue: delivery.queue.as_str().into(),
        deliveries: delivery.deliveries,
        redelivered: delivery.redelivered || says_redelivered(&delivery.message),
        hard: job.request.limits.hard,
        soft: job.request.limits.soft,
        shows,
        span: job.request.span,
        headers: headers.len(),
    };
    let mut body = BytesMut::with_capacity(headers.len() + delivery.message.body.len());
    body.extend_from_slice(&headers);
    body.extend_from_slice(&delivery.message.body);
    protocol::encode(&ToChild::Job(head), body.freeze(), limit)
}
