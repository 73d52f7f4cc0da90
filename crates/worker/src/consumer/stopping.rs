//! The phases of a shutdown, and what entering each of them does.

use std::time::Duration;

use celeriac_app::signals::{self, ShuttingDown};
use tokio::time::Instant;

use crate::Exit;
use crate::consumer::{Consumer, Deadline, TimeLeft};
use crate::outcome::Outcome;
use crate::pool::{PoolEvent, PoolKind, StopReason};
use crate::request::RequestState;
use crate::shutdown::{Asked, Phase, Turn};
use crate::table::{Entry, Key};

/// The longest wait for the store, or for threads and async tasks that end, once nothing runs any more that should.
pub(crate) const LAST_MOMENTS: Duration = Duration::from_secs(5);

/// How long children that are told to end have, however late it is.
const CHILD_MOMENTS: Duration = Duration::from_secs(1);

/// How long everything has in a cold shutdown, once it has been killed as far as it can be.
const COLD_MOMENTS: Duration = Duration::from_millis(500);

/// Longer than any child may take to leave: its own pool kills it before.
const NO_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

impl Consumer {
    /// Whether nothing runs and everything is durable.
    pub(super) fn is_empty(&self) -> bool {
        self.table.len() == 0 && self.unsettled == 0
    }

    pub(super) fn asked(&mut self, asked: Asked) {
        self.stop_signal = asked.signal();
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
        } else if self.phase.exit() == Some(Exit::Cold) && before.exit() != Some(Exit::Cold) {
            self.say_shutting_down(false);
        }
        if let Some(timer) = self.phase_timer.take() {
            self.timers.cancel(timer);
        }
        match self.phase {
            Phase::Working | Phase::Over(_) => return,
            Phase::Draining(Exit::Cold) => {
                let timeout = self.options.soft_shutdown_timeout.unwrap_or_default();
                self.time_left = TimeLeft::soft(timeout, Instant::now());
                let seconds = timeout.as_secs_f64();
                tracing::warn!("Initiating Soft Shutdown, terminating in {seconds} seconds");
            }
            Phase::Draining(_) => {
                self.time_left = TimeLeft::warm(&self.options, Instant::now());
                let running = self.running().len();
                tracing::info!(running, signal = self.stop_signal, deadline = ?self.options.shutdown_timeout, "warm shutdown: nothing more is fetched");
            }
            Phase::Cancelling(_) => self.ask_everything(),
            Phase::Returning(exit) => self.give_everything_up(exit),
        }
        let end = match self.phase {
            Phase::Draining(_) => self.time_left.ask,
            Phase::Cancelling(_) => self.time_left.give_back,
            _ => Some(self.time_left.step(Instant::now(), LAST_MOMENTS)),
        };
        self.phase_timer = end.map(|end| self.timers.set(end, Deadline::Phase));
    }

    /// Fetches no more, and gives back what waits here without having started.
    fn stop_fetching(&mut self) {
        self.say_shutting_down(self.phase.exit() != Some(Exit::Cold));
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

    fn say_shutting_down(&self, warm: bool) {
        let name = self.options.node_name.as_str().into();
        let signal = self.stop_signal.map(Into::into);
        self.app.signals().send(signals::worker_shutting_down, || ShuttingDown { name, signal, warm });
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
        let grace = self.time_left.give_back.map(|end| end.saturating_duration_since(Instant::now()));
        tracing::warn!(
            running = running.len(),
            ?grace,
            "the deadline is near: running tasks are asked to stop"
        );
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
        if exit == Exit::Cold {
            self.time_left = self.time_left.cold(Instant::now());
        }
        let running = self.running();
        let how = if exit == Exit::Cold { "cold shutdown" } else { "the deadline has passed" };
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
        let patience = Patience::new(exit, self.time_left, Instant::now());
        if self.pools_have_closed(patience).await {
            return;
        }
        if self.lanes.iter().any(|lane| !lane.closed && lane.pool.kind().has_children()) {
            self.tell_pools_to_close(true);
            self.pools_have_closed(Patience::new(Some(Exit::Cold), self.time_left, Instant::now())).await;
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
    fn new(exit: Option<Exit>, left: TimeLeft, now: Instant) -> Self {
        if exit == Some(Exit::Cold) {
            let soon = left.step(now, COLD_MOMENTS);
            return Self { here: soon, children: soon };
        }
        let in_order = |deadline: Instant| deadline.max(left.step(now, CHILD_MOMENTS));
        Self {
            here: left.step(now, LAST_MOMENTS),
            children: left.give_back.map_or(now + NO_DEADLINE, in_order),
        }
    }

    fn with(self, kind: PoolKind) -> Instant {
        if kind.has_children() { self.children } else { self.here }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn children_may_use_what_is_left_of_the_time_for_the_shutdown() {
        let now = Instant::now();
        let left =
            |timeout| TimeLeft::warm(&Options { shutdown_timeout: timeout, ..Options::default() }, now);
        let wait = |exit, timeout, kind| Patience::new(Some(exit), left(timeout), now).with(kind) - now;
        let long = Some(Duration::from_secs(20));
        assert_eq!(wait(Exit::Warm, long, PoolKind::Prefork), Duration::from_secs(20));
        assert_eq!(wait(Exit::Warm, Some(Duration::ZERO), PoolKind::Prefork), CHILD_MOMENTS);
        assert_eq!(wait(Exit::Warm, None, PoolKind::Prefork), NO_DEADLINE, "their pool ends them in time");
        assert_eq!(wait(Exit::Cold, long, PoolKind::Prefork), COLD_MOMENTS);
        let threads = wait(Exit::Warm, long, PoolKind::Threads);
        assert_eq!(threads, LAST_MOMENTS, "code that cannot be stopped is not waited for");
    }
}
