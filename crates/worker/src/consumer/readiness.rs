//! What cannot run yet keeps nothing else from running.
//!
//! A worker begins to fetch when it knows of every pool and every resource whether it is there or could not be built, or
//! after [`PATIENCE`], as soon as one of its tasks can run. From then on a delivery whose task cannot run, because a
//! resource of this process is not built or its pool is held up, goes back into the schedule for [`HELD_BACK`]. So nothing
//! that waits for a resource takes the place of what could run, a worker that has the resource may take it after that
//! time, and no delivery comes and goes more often than that.
//!
//! Into the schedule goes a new message, which nobody knows to have killed workers. A redelivery therefore stays here, not
//! said to have started, and goes back to its queue with its delivery count after that time. It counts towards the
//! prefetch meanwhile. There are never more of them than dead workers had in hand, but if that is as much as this worker
//! may hold, what could run waits with them until they have gone back.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::TaskDefinition;
use celeriac_app::resource::ResourceState;
use celeriac_app::signals::{self, WorkerNode};
use celeriac_protocol::TaskId;
use celeriac_store::Delivery;
use tokio::time::Instant;

use crate::admission::pool_of;
use crate::consumer::{Consumer, Deadline};
use crate::outcome::Outcome;
use crate::pool::PoolKind;
use crate::request::RequestState;
use crate::table::{Entry, Key};

/// For how long a task that cannot run here goes back into the schedule, or stays here if it was delivered before.
pub(super) const HELD_BACK: Duration = Duration::from_secs(5);

/// How long the start waits for what is neither there nor known to have failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How far the worker has come.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Whether it has said that it is ready.
    said: bool,
    /// Whether the patience with what is slow is over.
    patience_is_over: bool,
    /// Whether a resource of this process has never been built.
    lacks_any: bool,
    /// Whether any task can run.
    any_can_run: bool,
}

impl Readiness {
    /// Whether the worker has said that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.said
    }

    /// Whether there is any task to fetch for.
    pub(super) fn can_run(&self) -> bool {
        self.said && self.any_can_run
    }
}

impl Consumer {
    /// Looks for the first time whether everything is there.
    pub(super) fn start_waiting(&mut self) {
        self.look_whether_ready();
        if !self.readiness.said {
            self.timers.set(Instant::now() + PATIENCE, Deadline::Start);
        }
    }

    /// What is slow at the start is waited for no longer.
    pub(super) fn start_is_over(&mut self) {
        self.readiness.patience_is_over = true;
        let slow = self.lanes.iter().filter(|lane| !lane.opened).map(|lane| lane.pool.kind().as_str());
        let mut slow: Vec<String> = slow.map(|pool| format!("the {pool} pool")).collect();
        let waiting = self.health.snapshot().into_iter().filter(|it| it.state == ResourceState::Waiting);
        slow.extend(waiting.map(|it| format!("resource {}", it.name)));
        if !slow.is_empty() {
            let still = slow.join(", ");
            tracing::warn!(still, after = ?PATIENCE, "not everything is there yet; the tasks that need it wait");
        }
        self.look_whether_ready();
    }

    pub(super) fn health_changed(&mut self) {
        self.look_whether_ready();
        self.announce();
    }

    /// Looks what can run. The first time that anything can, and nothing more is expected, the worker is ready.
    pub(super) fn look_whether_ready(&mut self) {
        for lane in 0..self.lanes.len() {
            self.look_at(lane);
        }
        let health = self.health.snapshot();
        self.readiness.lacks_any = health.iter().any(|resource| resource.builds == 0);
        let mut tasks = self.app.task_list();
        self.readiness.any_can_run =
            tasks.next().is_none() || self.app.task_list().any(|task| !self.cannot_run(task, pool_of(task)));
        let is_expected = self.lanes.iter().any(|lane| !lane.opened && !lane.held_up)
            || health.iter().any(|resource| resource.builds == 0 && resource.failures == 0);
        if self.readiness.said || !self.readiness.any_can_run {
            return;
        }
        if is_expected && !self.readiness.patience_is_over {
            return;
        }
        self.readiness.said = true;
        tracing::info!("{} ready.", self.options.node_name);
        let name = self.options.node_name.as_str().into();
        self.app.signals().send(signals::worker_ready, || WorkerNode { name });
        self.announce();
    }

    /// Looks whether a pool is held up; if it has just become so, what waits for its slots goes back.
    fn look_at(&mut self, lane: usize) {
        let patience_is_over = self.readiness.patience_is_over;
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        lane.opened |= lane.pool.free() > 0;
        let held_up = lane.pool.is_held_up() || (patience_is_over && !lane.opened);
        if std::mem::replace(&mut lane.held_up, held_up) == held_up {
            return;
        }
        let pool = lane.pool.kind();
        if !held_up {
            return tracing::info!(pool = pool.as_str(), "tasks run in this pool again");
        }
        tracing::warn!(pool = pool.as_str(), "nothing can run in this pool; its tasks wait in their queues");
        let waiting = lane.waiting.iter().cloned().collect::<Vec<_>>();
        for key in waiting {
            let reserved = |entry: &mut Entry| entry.state == RequestState::Reserved;
            if self.table.get_mut(&key).is_some_and(reserved) {
                self.end(&key, Outcome::Returned);
            }
        }
        let (table, Some(lane)) =
            (&mut self.table, self.lanes.iter_mut().find(|lane| lane.pool.kind() == pool))
        else {
            return;
        };
        lane.waiting
            .retain(|key| table.get_mut(key).is_some_and(|entry| entry.state == RequestState::Preparing));
    }

    /// Keeps a redelivery whose task cannot run for a while.
    pub(super) fn hold(
        &mut self,
        delivery: Arc<Delivery>,
        id: TaskId,
        task: Arc<TaskDefinition>,
        pool: PoolKind,
    ) {
        let request = self.request(id, task, delivery);
        let key = Key::of(&request);
        let mut entry = Entry::reserved(request, pool);
        entry.timers.push(self.timers.set(Instant::now() + HELD_BACK, Deadline::Held(key.clone())));
        self.table.insert(key, entry);
    }

    /// A redelivery was kept long enough: it waits for its turn if it can run now, else it goes back to its queue.
    pub(super) fn held_long_enough(&mut self, key: &Key) {
        let Some(entry) = self.table.get_mut(key) else { return };
        let (request, pool) = (Arc::clone(&entry.request), entry.pool);
        if self.cannot_run(&request.task, pool) {
            self.end(key, Outcome::Returned);
        } else {
            self.line_up(key.clone(), &request, pool);
        }
    }

    /// Whether a task would only wait in its pool for what it needs.
    pub(super) fn cannot_run(&self, task: &TaskDefinition, pool: PoolKind) -> bool {
        let lacks = || !pool.has_children() && self.health.lacks(&task.resources);
        (self.readiness.lacks_any && lacks())
            || self.lanes.iter().any(|lane| lane.held_up && lane.pool.kind() == pool)
    }
}
