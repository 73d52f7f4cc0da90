//! Time limits and revocations end requests from outside.

use std::sync::Arc;

use celeriac_protocol::TaskId;
use celeriac_store::Revocation;

use crate::consumer::Consumer;
use crate::outcome::{Outcome, Revoked};
use crate::pool::{Kill, PoolKind, StopReason};
use crate::request::{Request, RequestState};
use crate::stamps::Stamp;
use crate::table::Key;

impl Consumer {
    pub(super) fn soft_limit(&mut self, key: &Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let (request, pool) = (Arc::clone(&entry.request), entry.pool);
        let limit = request.limits.soft.unwrap_or_default();
        self.log_soft_limit(&request, limit);
        if let Some(lane) = self.lane(pool) {
            lane.pool.ask(&request, StopReason::SoftTimeLimit(limit));
        }
    }

    pub(super) fn hard_limit(&mut self, key: &Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let limit = entry.request.limits.hard.unwrap_or_default();
        self.kill(key, StopReason::HardTimeLimit(limit));
    }

    pub(super) fn revoked(&mut self, revocation: &Revocation) {
        let reason = revocation.terminate.then_some(StopReason::Revoked);
        match Stamp::of_id(&revocation.task_id) {
            None => drop(self.stop_task(&revocation.task_id, reason)),
            Some(stamp) => {
                for key in self.table.stamped(&stamp) {
                    self.stop_request(&key, reason, Some(&stamp));
                }
            }
        }
    }

    /// Discards what has not started of this task, and stops what has if there is a reason for that. Says whether the worker
    /// had it.
    pub(super) fn stop_task(&mut self, id: &TaskId, reason: Option<StopReason>) -> bool {
        let runs = self.table.runs_of(id);
        runs.iter().map(|key| self.stop_request(key, reason, None)).filter(|stopped| *stopped).count() > 0
    }

    fn stop_request(&mut self, key: &Key, reason: Option<StopReason>, stamp: Option<&Stamp>) -> bool {
        let Some(entry) = self.table.get_mut(key) else { return false };
        match (entry.state, reason) {
            (RequestState::Reserved | RequestState::Preparing, _) => {
                let (request, pool) = (Arc::clone(&entry.request), entry.pool);
                self.suspects.forget(key);
                if let Some(lane) = self.lane(pool) {
                    lane.waiting.retain(|waiting| waiting != key);
                }
                log_discarded(&request, stamp);
                self.end(key, Outcome::Revoked(Revoked::BeforeStart));
                true
            }
            (RequestState::Submitted | RequestState::Running, Some(reason)) => {
                if let StopReason::Terminated(signal) = reason {
                    entry.signal = signal;
                }
                self.kill(key, reason);
                true
            }
            // It may wait for a child yet.
            (RequestState::Submitted, None) if entry.pool == PoolKind::Python => {
                let request = Arc::clone(&entry.request);
                if let Some(lane) = self.lane(PoolKind::Python) {
                    lane.pool.withdraw(&request);
                }
                false
            }
            _ => false,
        }
    }

    /// Stops a running task as well as its pool can, and decides its outcome where that is up to the loop.
    pub(super) fn kill(&mut self, key: &Key, reason: StopReason) {
        let Some(entry) = self.table.get_mut(key) else { return };
        if !matches!(entry.state, RequestState::Submitted | RequestState::Running) {
            return;
        }
        let (request, pool) = (Arc::clone(&entry.request), entry.pool);
        let Some(lane) = self.lane(pool) else { return };
        let killed = lane.pool.kill(&request, reason);
        let outcome = match (killed, reason) {
            (Kill::Pending, _) => return,
            (Kill::Stopped, StopReason::Revoked | StopReason::Terminated(_)) => {
                Outcome::Revoked(Revoked::WhileRunning)
            }
            (Kill::Unable, StopReason::Revoked | StopReason::Terminated(_)) => {
                tracing::warn!(task_id = %key.id(), task_name = %request.name(), "revoked; code on a thread cannot be stopped, it was asked to");
                return;
            }
            // The record is made on time, also when the code itself cannot be stopped and keeps its slot.
            (_, StopReason::HardTimeLimit(limit)) => Outcome::TimeLimitExceeded(limit),
            (_, StopReason::Shutdown) => Outcome::Returned,
            (_, StopReason::SoftTimeLimit(_)) => return,
        };
        if request.decide() {
            self.end(key, outcome);
        }
    }
}

/// Says that a task does not run, in the words that users of Celery look for; with the stamp because of which that is.
///
/// Source: `Request.revoked`, `celery/worker/request.py`, Celery 5.7.0.
pub(super) fn log_discarded(request: &Request, stamp: Option<&Stamp>) {
    let (id, name) = (&request.id, request.name());
    let stamp = stamp.map_or_else(String::new, |stamp| format!(" (revoked by header: {})", stamp.shown()));
    tracing::info!(task_id = %id, task_name = %name, "Discarding revoked task: {name}[{id}]{stamp}");
}
