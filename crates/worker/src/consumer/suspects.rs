//! Requests on their last chance, of which one at a time runs.
//!
//! When a worker dies, every task that ran in it may be what killed it, and each of them counts one delivery more. Were
//! those on their last chance run side by side, the guilty one would take the others to the failed tasks with it.

use std::collections::VecDeque;

use crate::consumer::Consumer;
use crate::request::{Request, RequestState};
use crate::table::Key;

/// Requests on their last chance.
#[derive(Debug)]
pub(super) struct Suspects {
    delivery_limit: u32,
    /// The one whose turn it is, until its outcome is durable.
    turn: Option<Key>,
    /// The others. They hold no slot, and are not said to have started, so that the death of this worker does not count.
    waiting: VecDeque<Key>,
}

impl Suspects {
    pub(super) fn new(delivery_limit: u32) -> Self {
        Self { delivery_limit, turn: None, waiting: VecDeque::new() }
    }

    /// Keeps a request that is about to start until it is its turn, if it is on its last chance.
    pub(super) fn keep_back(&mut self, key: &Key, request: &Request) -> bool {
        if !self.is_suspect(request) || self.turn.as_ref() == Some(key) {
            return false;
        }
        if self.turn.is_none() {
            self.turn = Some(key.clone());
            return false;
        }
        self.waiting.push_back(key.clone());
        true
    }

    /// A request that waits here will not start.
    pub(super) fn forget(&mut self, key: &Key) {
        self.waiting.retain(|waiting| waiting != key);
    }

    /// Whether the death of its worker would be the last of this request. What is acknowledged early has no other one.
    fn is_suspect(&self, request: &Request) -> bool {
        let deliveries = request.delivery.deliveries;
        deliveries > 1 && deliveries >= self.delivery_limit && !request.acks_early
    }
}

impl Consumer {
    /// Gives the turn to the next request on its last chance, once the one before has ended for good.
    pub(super) fn next_suspect(&mut self) {
        if let Some(key) = &self.suspects.turn {
            if self.table.get_mut(key).is_some() {
                return;
            }
            self.suspects.turn = None;
        }
        while let Some(key) = self.suspects.waiting.pop_front() {
            let Some(entry) = self.table.get_mut(&key) else { continue };
            let pool = entry.pool;
            if entry.state != RequestState::Reserved {
                continue;
            }
            if let Some(lane) = self.lane(pool) {
                lane.waiting.push_front(key.clone());
                self.suspects.turn = Some(key);
                return;
            }
        }
    }
}
