//! Requests wait for a slot of their pool and get it.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use celeriac_protocol::{State, Value};
use celeriac_store::{DeliveryTag, Finish, Settle, Settled};
use tokio::time::Instant;

use crate::consumer::deadlines::log_discarded;
use crate::consumer::{Consumer, Deadline};
use crate::events::TaskEvent;
use crate::finisher::Item;
use crate::outcome::{Outcome, Revoked};
use crate::pool::{Job, Pool, PoolKind};
use crate::prefetch::{Load, Pace};
use crate::request::{Request, RequestState, Step};
use crate::table::{Entry, Key, Started};
use crate::timers::after;

/// How many tasks a slot has ended in a tenth of a second where tasks are so short that the next may wait beside it.
const SHORT: usize = 10;

/// A pool, and what waits for it.
pub(crate) struct Lane {
    /// The pool.
    pub(crate) pool: Box<dyn Pool>,
    /// Requests that wait for a slot, the next one first.
    pub(super) waiting: VecDeque<Key>,
    /// How many requests wait for something to become durable before they run.
    pub(super) preparing: usize,
    /// How many run.
    pub(super) running: usize,
    /// How fast it works.
    pub(super) pace: Pace,
    /// Whether the pool has ever been able to take a job.
    pub(super) opened: bool,
    /// Whether nothing can run in it; see [`Pool::is_held_up`].
    pub(super) held_up: bool,
    /// Whether the pool has closed.
    pub(super) closed: bool,
}

impl Lane {
    /// A pool for which nothing waits.
    pub(crate) fn new(pool: Box<dyn Pool>) -> Self {
        Self {
            pool,
            waiting: VecDeque::new(),
            preparing: 0,
            running: 0,
            pace: Pace::new(Instant::now()),
            opened: false,
            held_up: false,
            closed: false,
        }
    }

    fn load(&self) -> Load {
        Load {
            // Nothing is fetched for a pool in which nothing can run.
            slots: if self.held_up { 0 } else { self.pool.size() },
            waiting: self.waiting.len(),
            running: self.running + self.preparing,
            pace: if self.held_up { 0 } else { self.pace.per_span() },
        }
    }

    /// Gives its pool this width. What is being prepared for it starts all the same.
    pub(super) fn resize(&mut self, width: usize) -> io::Result<()> {
        self.pool.resize(width, self.preparing)
    }

    fn has_room(&self) -> bool {
        !self.waiting.is_empty() && self.pool.free() > self.preparing
    }

    /// Whether its tasks are so short that the next ones may wait in the pool.
    fn is_fast(&self) -> bool {
        self.pace.is_at_least(self.pool.size().saturating_mul(SHORT), Instant::now())
    }
}

impl Consumer {
    pub(super) fn lane(&mut self, kind: PoolKind) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.pool.kind() == kind)
    }

    /// Asks for as many deliveries as the pools can use beside so many that have come and are not taken in yet.
    pub(super) fn fetch(&mut self, come: usize) {
        if self.fetching || !self.readiness.can_run() || !self.phase.is_working() {
            return;
        }
        let mut loads = [Load { slots: 0, waiting: 0, running: 0, pace: 0 }; PoolKind::ALL.len()];
        for (load, lane) in loads.iter_mut().zip(&self.lanes) {
            *load = lane.load();
            // Any of them may be for this one.
            load.waiting += come;
        }
        let room = self.prefetch.room(&loads[..self.lanes.len()], self.unsettled);
        if room > 0
            && let Some(limits) = &self.wires.limits
        {
            self.fetching = limits.try_send(room).is_ok();
        }
    }

    /// Gives free slots to what waits for them.
    pub(super) fn dispatch(&mut self) {
        self.next_suspect();
        for lane in 0..self.lanes.len() {
            while self.lanes[lane].has_room() {
                let Some(key) = self.lanes[lane].waiting.front() else { break };
                if !self.may_start(lane, key) {
                    break;
                }
                let Some(key) = self.lanes[lane].waiting.pop_front() else { break };
                self.start(lane, &key);
            }
        }
    }

    /// Whether a request may be given to its pool. What could be discarded while it waits there waits here.
    fn may_start(&self, lane: usize, key: &Key) -> bool {
        let lane = &self.lanes[lane];
        lane.pool.idle() > lane.preparing
            || (lane.is_fast() && self.table.get(key).is_none_or(|entry| !entry.request.may_be_discarded()))
    }

    fn start(&mut self, lane: usize, key: &Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let (request, state) = (Arc::clone(&entry.request), entry.state);
        if state == RequestState::Reserved && self.has_expired(&request) {
            log_discarded(&request, None);
            return self.end(key, Outcome::Revoked(Revoked::Expired));
        }
        let Some(entry) = self.table.get_mut(key) else { return };
        let prepared = match state {
            RequestState::Preparing => true,
            RequestState::Reserved if self.suspects.keep_back(key, &request) => return,
            RequestState::Reserved => !needs_preparation(entry),
            _ => return,
        };
        let acks = entry.acks_before_start();
        if state == RequestState::Reserved && request.acks_early && self.fails_unrun(key, &request) {
            return;
        }
        if !prepared {
            let Some(entry) = self.table.get_mut(key) else { return };
            if entry.step(Step::Prepare).is_ok() {
                // The latest delivery: those before it went back with their lease.
                let tag = entry.tag;
                entry.acknowledged = acks.then_some(tag);
                self.lanes[lane].preparing += 1;
                self.prepare(key, acks, tag);
            }
            return;
        }
        if self.table.get_mut(key).is_none_or(|entry| entry.step(Step::Submit).is_err()) {
            return;
        }
        let starts_now = self.lanes[lane].pool.kind() == PoolKind::Async;
        self.lanes[lane].running += 1;
        self.lanes[lane].pool.submit(Job { request: Arc::clone(&request) });
        if starts_now {
            self.started(&request, None);
        }
    }

    /// Whether the time of a request has come to its end while it waited.
    fn has_expired(&self, request: &Request) -> bool {
        request.delivery.message.headers.expires.is_some_and(|expires| expires <= self.now())
    }

    /// Makes durable what has to be before a task runs: its early acknowledgement, or that it starts although it may have
    /// killed its worker before.
    fn prepare(&self, key: &Key, acks: bool, tag: DeliveryTag) {
        let delivery = acks.then_some(tag);
        let starts = (!acks).then_some(tag);
        let finish = Finish { delivery, ..nothing() };
        self.send_item(Item { starts, prepares: true, ..Item::last(Some(key.clone()), finish) });
    }

    /// Says of a redelivery that its task runs already.
    pub(super) fn say_started(&self, tag: DeliveryTag) {
        self.send_item(Item { starts: Some(tag), ..Item::last(None, nothing()) });
    }

    /// What had to be durable is: the request takes the next slot.
    pub(super) fn prepared(&mut self, key: Key, settled: Settled) {
        let Some(entry) = self.table.get_mut(&key) else { return };
        let (state, pool) = (entry.state, entry.pool);
        let Some(lane) = self.lane(pool) else { return };
        lane.preparing = lane.preparing.saturating_sub(1);
        match state {
            RequestState::Preparing if settled == Settled::Done => lane.waiting.push_front(key),
            // The lease had run out before it could be acknowledged: somebody else has it.
            RequestState::Preparing => {
                let parked = self.table.remove(&key).map_or_else(Vec::new, |entry| entry.parked);
                self.take_up(parked);
            }
            _ => {}
        }
    }

    /// A request runs: its time limits count from here.
    pub(super) fn started(&mut self, request: &Arc<Request>, executor: Option<Box<str>>) {
        let (at, now) = (Instant::now(), self.now());
        let Some(entry) = self.table.entry_of(request) else { return };
        if entry.step(Step::Start).is_err() {
            return;
        }
        entry.started = Some(Started { at, since: now, executor });
        if entry.acks_at_start() {
            self.owing_acks.push(Key::of(request));
        }
        self.totals.count_start(request.name(), &request.delivery.message.headers, now);
        if let Some(counts) = &mut self.counts {
            counts.started(request, now);
        }
        if let Some(soft) = request.limits.soft {
            entry.timers.push(self.timers.set(after(at, soft), Deadline::Soft(Key::of(request))));
        }
        if let Some(hard) = request.limits.hard {
            entry.timers.push(self.timers.set(after(at, hard), Deadline::Hard(Key::of(request))));
        }
        if request.track_started {
            self.reports.add(self.rules.report(request.id.clone(), State::Started, self.started_meta()));
        }
        self.happened(request, || [TaskEvent::Started]);
    }

    /// What a `STARTED` record says, as Celery's does.
    fn started_meta(&self) -> Value {
        Value::Map(vec![
            ("hostname".into(), Value::String(self.options.node_name.as_str().into())),
            ("pid".into(), Value::Int(i64::from(std::process::id()))),
        ])
    }
}

fn needs_preparation(entry: &Entry) -> bool {
    entry.acks_before_start() || entry.is_redelivered()
}

/// A finish that settles and stores nothing.
fn nothing() -> Finish {
    Finish { delivery: None, settle: Settle::Ack, result: None, follow_ups: Vec::new(), workflow: None }
}

#[cfg(test)]
mod tests;
