//! Time limits and revocations end requests from outside.

use std::sync::Arc;

use celeriac_store::Revocation;

use crate::consumer::Consumer;
use crate::outcome::{Outcome, Revoked};
use crate::pool::{Kill, StopReason};
use crate::request::RequestState;
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
        for key in self.table.runs_of(&revocation.task_id) {
            let Some(entry) = self.table.get_mut(&key) else { continue };
            match entry.state {
                RequestState::Reserved | RequestState::Preparing => {
                    tracing::info!(task_id = %key.id(), task_name = %entry.request.name(), "revoked before it started");
                    let pool = entry.pool;
                    self.suspects.forget(&key);
                    if let Some(lane) = self.lane(pool) {
                        lane.waiting.retain(|waiting| *waiting != key);
                    }
                    self.end(&key, Outcome::Revoked(Revoked::BeforeStart));
                }
                RequestState::Submitted | RequestState::Running if revocation.terminate => {
                    self.kill(&key, StopReason::Revoked);
                }
                _ => {}
            }
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
            (Kill::Stopped, StopReason::Revoked) => Outcome::Revoked(Revoked::WhileRunning),
            (Kill::Unable, StopReason::Revoked) => {
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
