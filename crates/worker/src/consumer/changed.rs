//! Limits of tasks that somebody has set while the worker runs, or before, and the store has kept.

use std::sync::Arc;

use celeriac_app::TaskDefinition;
use celeriac_app::task::RateLimit;
use celeriac_protocol::{TaskId, TaskName, TimeLimits};
use celeriac_store::Delivery;

use crate::consumer::Consumer;
use crate::request::{Request, RequestState};
use crate::table::{Entry, Key};

/// What somebody has set of one task, in the place of what its definition says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changed {
    /// How often it may start.
    pub(super) rate: Option<RateLimit>,
    /// How long it may run.
    limits: Option<TimeLimits>,
}

impl Consumer {
    /// From now on this task may start so often. What waits for its turn waits for the new one; what has gone back into the
    /// schedule comes at the time that it was given, which is a minute away at most.
    pub(super) fn set_rate_limit(&mut self, name: &TaskName, rate: RateLimit) {
        // The same limit once more must not let one more task start.
        if self.changed.entry(name.clone()).or_default().rate.replace(rate) != Some(rate) {
            self.limit_anew(name);
        }
    }

    /// From now on this task has these time limits, where a call has none of its own.
    pub(super) fn set_time_limits(&mut self, name: &TaskName, limits: TimeLimits) {
        self.changed.entry(name.clone()).or_default().limits = Some(limits);
        let waits = |state| matches!(state, RequestState::Reserved | RequestState::Preparing);
        let of_task = |entry: &Entry| waits(entry.state) && entry.request.name() == name;
        let waiting: Vec<Key> =
            self.table.iter().filter(|(_, entry)| of_task(entry)).map(|(key, _)| key.clone()).collect();
        for key in waiting {
            let Some(before) = self.table.get(&key).map(|entry| Arc::clone(&entry.request)) else { continue };
            let (task, delivery) = (Arc::clone(&before.task), Arc::clone(&before.delivery));
            let request = self.request(before.id.clone(), task, delivery);
            if let Some(entry) = self.table.get_mut(&key) {
                entry.request = request;
            }
        }
    }

    /// A request for this delivery of a task, with the limits that apply now.
    pub(super) fn request(
        &self,
        id: TaskId,
        task: Arc<TaskDefinition>,
        delivery: Arc<Delivery>,
    ) -> Arc<Request> {
        let mut request = Request::new(id, task, delivery, &self.options);
        self.trace(&mut request);
        if let Some(limits) = self.changed.get(request.name()).and_then(|changed| changed.limits) {
            let of_call = request.delivery.message.headers.timelimit;
            request.limits = TimeLimits {
                hard: of_call.hard.or(limits.hard).or(self.options.time_limit),
                soft: of_call.soft.or(limits.soft).or(self.options.soft_time_limit),
            };
        }
        Arc::new(request)
    }
}
