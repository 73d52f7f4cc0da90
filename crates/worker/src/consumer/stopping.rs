//! The phases of a shutdown, and what entering each of them does.

use std::time::Duration;

use celeriac_app::signals::{self, ShuttingDown};
use tokio::time::Instant;

use crate::Exit;
use crate::consumer::{Consumer, Deadline};
use crate::outcome::Outcome;
use crate::pool::{PoolEvent, PoolKind, StopReason};
use crate::request::RequestState;
use crate::shutdown::{Asked, Phase, Turn};
use crate::table::{Entry, Key};
use crate::timers::after;

/// How long a worker waits for its store and its children once it has given everything up.
const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// The same in a cold shutdown.
const COLD_MOMENTS: Duration = Duration::from_millis(500);

/// Longer than any child may take to leave: its own pool kills it before.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

impl Consumer {
    /// Whether nothing runs and everything is durable.
    pub(super) fn is_empty(&self) -> bool {
        self.table.len() == 0 && self.unsettled == 0
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        self.turn(Turn::Asked(asked));
    }

    /// Moves to the next phase and does what entering it asks for.
    pub(super) fn turn(&mut self, turn: Turn) {
        let before = self.phase;
        self.phase = before.next(turn);
        if self.phase == before {
            return;
        }
        if before.is_working() {
            self.stop_fetching();
        }
        if let Some(timer) = self.phase_timer.take() {
            self.timers.cancel(timer);
        }
        match self.phase {
            Phase::Working | Phase::Over(_) => return,
            Phase::Draining(_) => {
                self.shutdown_deadline = self.options.shutdown_timeout.map(|time| Instant::now() + time);
                let running = self.running().len();
                tracing::info!(running, deadline = ?self.options.shutdown_timeout, "warm shutdown: nothing more is fetched");
            }
            Phase::Cancelling(_) => self.ask_everything(),
            Phase::Returning(exit) => self.give_everything_up(exit),
        }
        let time = match self.phase {
            Phase::Draining(_) => self.options.shutdown_timeout,
            Phase::Cancelling(_) => Some(self.options.shutdown_grace),
            _ => Some(LAST_MOMENTS),
        };
        self.phase_timer = time.map(|time| self.timers.set(after(Instant::now(), time), Deadline::Phase));
    }

    /// Fetches no more, and gives back what waits here without having started.
    fn stop_fetching(&mut self) {
        let warm = !matches!(self.phase, Phase::Returning(_));
        let name = self.options.node_name.as_str().into();
        self.app.signals().send(signals::worker_shutting_down, || ShuttingDown { name, signal: None, warm });
        self.wires.limits = None;
        let reserved = self.waiting(|entry| entry.acknowledged.is_none());
        if !reserved.is_empty() {
            tracing::info!(count = reserved.len(), "reserved tasks go back to their queues");
        }
        for key in reserved {
            self.end(&key, Outcome::Returned);
        }
        self.limited.clear();
    }

    /// Requests that have not started; those that are acknowledged already cannot be given back any more.
    fn waiting(&self, which: impl Fn(&Entry) -> bool) -> Vec<Key> {
        let waits = |entry: &Entry| match entry.state {
            RequestState::Reserved => true,
            RequestState::Preparing => which(entry),
            _ => false,
        };
        self.table.iter().filter(|(_, entry)| waits(entry)).map(|(key, _)| key.clone()).collect()
    }

    fn running(&self) -> Vec<Key> {
        let runs = |state| matches!(state, RequestState::Submitted | RequestState::Running);
        self.table.iter().filter(|(_, entry)| runs(entry.state)).map(|(key, _)| key.clone()).collect()
    }

    fn ask_everything(&mut self) {
        let running = self.running();
        tracing::warn!(running = running.len(), grace = ?self.options.shutdown_grace, "the deadline has passed: running tasks are asked to stop");
        for key in running {
            let Some(entry) = self.table.get_mut(&key) else { continue };
            let (request, pool) = (entry.request.clone(), entry.pool);
            if let Some(lane) = self.lane(pool) {
                lane.pool.ask(&request, StopReason::Shutdown);
            }
        }
        // What is idle need not wait for those that do not listen: it has the grace to end in order.
        self.tell_pools_to_close(false);
    }

    fn give_everything_up(&mut self, exit: Exit) {
        let running = self.running();
        let how = if exit == Exit::Cold { "cold shutdown" } else { "the grace is over" };
        tracing::warn!(running = running.len(), "{how}: running tasks go back to their queues");
        for key in self.waiting(|_| true) {
            self.end(&key, Outcome::Returned);
        }
        for key in running {
            self.kill(&key, StopReason::Shutdown);
        }
        self.tell_pools_to_close(exit == Exit::Cold);
    }

    /// Ends the pools after the loop: idle slots end at once, with their resources, all pools at the same time. Slots whose
    /// code cannot be stopped are not waited for beyond a limit, and children are killed after theirs.
    pub(crate) async fn close_pools(&mut self, exit: Option<Exit>) {
        self.tell_pools_to_close(false);
        let patience = Patience::new(exit, self.shutdown_deadline, Instant::now());
        if self.pools_have_closed(patience).await {
            return;
        }
        if self.lanes.iter().any(|lane| !lane.closed && lane.pool.kind() == PoolKind::Prefork) {
            self.tell_pools_to_close(true);
            self.pools_have_closed(Patience::new(Some(Exit::Cold), None, Instant::now())).await;
        } else {
            tracing::warn!("some tasks cannot be stopped; they end with the process");
        }
    }

    fn tell_pools_to_close(&mut self, force: bool) {
        for lane in self.lanes.iter_mut().filter(|lane| !lane.closed) {
            lane.pool.close(force);
        }
    }

    /// Whether every pool has closed in time.
    async fn pools_have_closed(&mut self, patience: Patience) -> bool {
        loop {
            let open = self.lanes.iter().filter(|lane| !lane.closed);
            let Some(deadline) = open.map(|lane| patience.with(lane.pool.kind())).max() else { return true };
            match tokio::time::timeout_at(deadline, self.wires.pools.recv()).await {
                Ok(Some(PoolEvent::Finished { request, .. })) => {
                    let kind = crate::admission::pool_of(&request.task);
                    if let Some(lane) = self.lane(kind) {
                        lane.pool.finished(&request);
                    }
                }
                Ok(Some(event)) => self.pool_event(event),
                Ok(None) => return true,
                Err(_elapsed) => return false,
            }
        }
    }
}

/// Until when pools that close are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    /// Pools of this process: what has not ended by now may never do.
    here: Instant,
    /// Child processes, whose shutdown handlers may take what is left of the time for the shutdown.
    children: Instant,
}

impl Patience {
    fn new(exit: Option<Exit>, shutdown_deadline: Option<Instant>, now: Instant) -> Self {
        if exit == Some(Exit::Cold) {
            return Self { here: now + COLD_MOMENTS, children: now + COLD_MOMENTS };
        }
        let here = now + LAST_MOMENTS;
        Self { here, children: shutdown_deadline.map_or(now + NO_DEADLINE, |deadline| deadline.max(here)) }
    }

    fn with(self, kind: PoolKind) -> Instant {
        if kind == PoolKind::Prefork { self.children } else { self.here }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_may_use_what_is_left_of_the_time_for_the_shutdown() {
        let now = Instant::now();
        let children = |exit, left: Option<Duration>| {
            Patience::new(exit, left.map(|left| now + left), now).with(PoolKind::Prefork) - now
        };
        let (long, short) = (Duration::from_secs(20), Duration::from_secs(1));
        assert_eq!(children(Some(Exit::Warm), Some(long)), long);
        assert_eq!(children(Some(Exit::Warm), Some(short)), LAST_MOMENTS);
        assert!(children(Some(Exit::Warm), None) > long, "their pool ends them in time");
        assert_eq!(children(Some(Exit::Cold), Some(long)), COLD_MOMENTS);
        let threads = Patience::new(Some(Exit::Warm), Some(now + long), now).with(PoolKind::Threads);
        assert_eq!(threads - now, LAST_MOMENTS, "code that cannot be stopped is not waited for");
    }
}
