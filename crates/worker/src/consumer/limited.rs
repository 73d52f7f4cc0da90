//! Requests of rate-limited tasks, which wait for a token before they wait for a slot.

use std::collections::VecDeque;
use std::time::Duration;

use celeriac_app::TaskDefinition;
use celeriac_protocol::TaskName;
use tokio::time::Instant;

use crate::consumer::{Consumer, Deadline};
use crate::pool::PoolKind;
use crate::rate::{Bucket, Turn};
use crate::request::RequestState;
use crate::table::Key;

/// What waits for the tokens of one task.
#[derive(Debug)]
pub(super) struct Limited {
    bucket: Bucket,
    pool: PoolKind,
    pub(super) waiting: VecDeque<Key>,
    /// Whether a deadline for the next token is set.
    timed: bool,
}

/// The longest time between two starts, so that sums with it stay in range.
const SLOWEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Consumer {
    /// The time between two starts of this task, if it has a rate limit.
    fn spacing(&self, task: &TaskDefinition) -> Option<Duration> {
        if self.options.disable_rate_limits {
            return None;
        }
        let changed = self.changed.get(&task.name).and_then(|changed| changed.rate);
        let rate = changed.or(task.options.rate_limit).or(self.options.rate_limit)?.per_second();
        // As in Celery, a limit of zero is no limit.
        (rate > 0.0).then(|| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(SLOWEST).min(SLOWEST))
    }

    /// For how long the next request of this task should go back into the schedule, because its turn is far.
    ///
    /// A redelivery waits here: into the schedule goes a new message, which nobody knows to have killed workers.
    pub(super) fn deferred(
        &mut self,
        task: &TaskDefinition,
        pool: PoolKind,
        redelivered: bool,
    ) -> Option<Duration> {
        let every = self.spacing(task)?;
        let now = Instant::now();
        let limited = self.limited.entry(task.name.clone()).or_insert_with(|| Limited {
            bucket: Bucket::new(every, now),
            pool,
            waiting: VecDeque::new(),
            timed: false,
        });
        if redelivered { None } else { limited.bucket.defer(limited.waiting.len(), now) }
    }

    /// Puts a request where it waits: for a token of its task if that is limited, else for a slot.
    pub(super) fn queue_up(&mut self, key: Key, task: &TaskDefinition, pool: PoolKind) {
        if let Some(limited) = self.limited.get_mut(&task.name) {
            limited.waiting.push_back(key);
            self.token(&task.name);
        } else if let Some(lane) = self.lane(pool) {
            lane.waiting.push_back(key);
        }
    }

    /// Lets what waits for tokens of this task wait for those of its rate limit as it is now, or for a slot if it has none.
    pub(super) fn limit_anew(&mut self, name: &TaskName) {
        let task = self.app.find_task(name.as_str()).cloned();
        let every = task.and_then(|task| self.spacing(&task));
        match (every, self.limited.get_mut(name)) {
            (_, None) => {}
            (Some(every), Some(limited)) => {
                limited.bucket = Bucket::new(every, Instant::now());
                limited.timed = false;
                self.token(name);
            }
            (None, Some(_)) => {
                let Some(Limited { pool, mut waiting, .. }) = self.limited.remove(name) else { return };
                waiting.retain(|key| {
                    self.table.get(key).is_some_and(|entry| entry.state == RequestState::Reserved)
                });
                if let Some(lane) = self.lane(pool) {
                    lane.waiting.extend(waiting);
                }
            }
        }
    }

    /// The next token of this task is there.
    pub(super) fn token_due(&mut self, name: &TaskName) {
        if let Some(limited) = self.limited.get_mut(name) {
            limited.timed = false;
            self.token(name);
        }
    }

    /// Hands out the tokens that there are, and waits for the next one.
    fn token(&mut self, name: &TaskName) {
        let now = Instant::now();
        let Some(limited) = self.limited.get_mut(name) else { return };
        let mut free = Vec::new();
        while let Some(key) = limited.waiting.front() {
            if self.table.get_mut(key).is_none_or(|entry| entry.state != RequestState::Reserved) {
                limited.waiting.pop_front();
                continue;
            }
            match limited.bucket.take(now) {
                Turn::Now => free.extend(limited.waiting.pop_front()),
                Turn::At(at) => {
                    if !std::mem::replace(&mut limited.timed, true) {
                        self.timers.set(at, Deadline::Token(name.clone()));
                    }
                    break;
                }
            }
        }
        let pool = limited.pool;
        if let Some(lane) = self.lane(pool) {
            lane.waiting.extend(free);
        }
    }
}
