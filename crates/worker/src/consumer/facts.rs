//! What a worker says of itself, for those who inspect it.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_app::resource::ResourceHealth;
use celeriac_app::sent_at;
use celeriac_app::signals::{self, Heartbeat};
use celeriac_protocol::{Headers, State, TaskName, Timestamp, Value};
use celeriac_store::WorkerRecord;

use crate::consumer::{Consumer, Lane};
use crate::outcome::Outcome;
use crate::request::RequestState;
use crate::shutdown::Phase;
use crate::table::Entry;

/// What has happened since the worker started.
#[derive(Clone, Debug, Default)]
pub(super) struct Totals {
    /// How often each task has started.
    started: HashMap<TaskName, u64>,
    succeeded: u64,
    failed: u64,
    retried: u64,
    revoked: u64,
    lost: u64,
    other: u64,
    pub(super) refused: u64,
    pub(super) children_died: u64,
    /// The time that tasks ran, all together.
    pub(super) runtime: Duration,
    /// From sending until the start, of all first runs whose producer said when it sent.
    response: Promise,
    /// From the first sending until the final state, retries included.
    resolution: Promise,
}

/// How long tasks took that had a time to keep, all together.
#[derive(Clone, Copy, Debug, Default)]
struct Promise {
    tasks: u64,
    time: Duration,
}

impl Promise {
    fn add(&mut self, headers: &Headers, now: Timestamp) {
        if let Some(sent) = sent_at(headers) {
            self.tasks += 1;
            self.time += now.saturating_since(sent);
        }
    }

    fn to_value(self) -> Value {
        let mean = self.time.as_secs_f64() / self.tasks.max(1) as f64;
        Value::Map(vec![("tasks".into(), integer(self.tasks)), ("mean_seconds".into(), Value::Float(mean))])
    }
}

impl Totals {
    /// Counts how a request ended.
    pub(super) fn count(&mut self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Success(_) | Outcome::Handled { state: State::Success, .. } => &mut self.succeeded,
            Outcome::Failure(_)
            | Outcome::TimeLimitExceeded(_)
            | Outcome::Handled { state: State::Failure, .. } => &mut self.failed,
            Outcome::Retry { .. } | Outcome::Handled { state: State::Retry, .. } => &mut self.retried,
            Outcome::Revoked(_) => &mut self.revoked,
            Outcome::Lost(_) => &mut self.lost,
            Outcome::Ignored
            | Outcome::Handled { .. }
            | Outcome::Replaced(_)
            | Outcome::Rejected { .. }
            | Outcome::Returned => &mut self.other,
        };
        *counter += 1;
    }

    /// Counts the start of a request. A retry starts late on purpose, so only first runs tell how soon tasks start.
    pub(super) fn count_start(&mut self, name: &TaskName, headers: &Headers, now: Timestamp) {
        match self.started.get_mut(name) {
            Some(count) => *count += 1,
            None => drop(self.started.insert(name.clone(), 1)),
        }
        if headers.retries == 0 {
            self.response.add(headers, now);
        }
    }

    /// Counts how a request ended for good.
    pub(super) fn count_end(&mut self, headers: &Headers, outcome: &Outcome, now: Timestamp) {
        if matches!(outcome, Outcome::Success(_) | Outcome::Failure(_) | Outcome::TimeLimitExceeded(_)) {
            self.resolution.add(headers, now);
        }
    }

    /// How often each task has started.
    pub(super) fn started(&self) -> impl Iterator<Item = (&TaskName, u64)> {
        self.started.iter().map(|(name, count)| (name, *count))
    }

    fn to_value(&self) -> Value {
        Value::Map(vec![
            ("succeeded".into(), integer(self.succeeded)),
            ("failed".into(), integer(self.failed)),
            ("retried".into(), integer(self.retried)),
            ("revoked".into(), integer(self.revoked)),
            ("lost".into(), integer(self.lost)),
            ("refused".into(), integer(self.refused)),
            ("other".into(), integer(self.other)),
            ("children_died".into(), integer(self.children_died)),
            ("runtime_seconds".into(), Value::Float(self.runtime.as_secs_f64())),
            ("response".into(), self.response.to_value()),
            ("resolution".into(), self.resolution.to_value()),
        ])
    }
}

/// The most running tasks that are listed one by one.
const LISTED: usize = 200;

impl Consumer {
    /// The lease was renewed: as good a time as any to say that the worker is alive.
    pub(super) fn heartbeat(&mut self) {
        self.count(|counts| counts.renewals += 1);
        self.announce();
        let running = self.lanes.iter().map(|lane| lane.running).sum();
        let name = self.options.node_name.as_str().into();
        self.app.signals().send(signals::heartbeat_sent, || Heartbeat { name, running });
    }

    /// Says how the worker is.
    pub(super) fn announce(&self) {
        let record = WorkerRecord {
            id: self.id.clone(),
            name: self.options.node_name.clone(),
            announced_at: self.now(),
            valid_for: self.options.lease,
            facts: self.facts(),
        };
        // With a record on its way already, the next heartbeat will do.
        let _ = self.wires.records.try_send(record);
    }

    fn facts(&self) -> Value {
        let queues = self.queues.iter().map(|queue| Value::String(queue.as_str().into())).collect();
        let running: Vec<Value> = self
            .table
            .iter()
            .filter(|(_, entry)| entry.is_running())
            .take(LISTED)
            .map(|(_, entry)| Self::running_task(entry))
            .collect();
        let reserved = self.table.iter().filter(|(_, entry)| entry.state == RequestState::Reserved).count();
        Value::Map(vec![
            ("version".into(), Value::String(env!("CARGO_PKG_VERSION").into())),
            ("app".into(), Value::String(self.app.name().into())),
            ("pid".into(), Value::Int(i64::from(std::process::id()))),
            ("state".into(), Value::String(self.state().into())),
            ("queues".into(), Value::List(queues)),
            ("pools".into(), Value::List(self.lanes.iter().map(pool_facts).collect())),
            ("running".into(), Value::List(running)),
            ("reserved".into(), integer(reserved as u64)),
            ("totals".into(), self.totals.to_value()),
            ("resources".into(), Value::List(self.health.snapshot().iter().map(resource_facts).collect())),
        ])
    }

    fn state(&self) -> &'static str {
        match self.phase {
            Phase::Working if self.readiness.is_ready() => "ready",
            Phase::Working => "starting",
            _ => "stopping",
        }
    }

    fn running_task(entry: &Entry) -> Value {
        let request = &entry.request;
        let runtime = entry.started.as_ref().map_or(Duration::ZERO, |started| started.at.elapsed());
        let executor = entry.started.as_ref().and_then(|started| started.executor.clone());
        Value::Map(vec![
            ("id".into(), Value::String(request.id.as_str().into())),
            ("name".into(), Value::String(request.name().as_str().into())),
            ("pool".into(), Value::String(entry.pool.as_str().into())),
            ("executor".into(), executor.map_or(Value::Null, Value::String)),
            ("runtime_seconds".into(), Value::Float(runtime.as_secs_f64())),
            ("deliveries".into(), Value::Int(i64::from(request.delivery.deliveries))),
        ])
    }
}

fn pool_facts(lane: &Lane) -> Value {
    Value::Map(vec![
        ("pool".into(), Value::String(lane.pool.kind().as_str().into())),
        ("concurrency".into(), integer(lane.pool.size() as u64)),
        ("running".into(), integer(lane.running as u64)),
        ("waiting".into(), integer(lane.waiting.len() as u64)),
        ("members".into(), lane.pool.facts()),
    ])
}

fn resource_facts(health: &ResourceHealth) -> Value {
    let error = health.last_error.as_deref().map_or(Value::Null, |error| Value::String(error.into()));
    Value::Map(vec![
        ("name".into(), Value::String(health.name.clone())),
        ("kind".into(), Value::String(health.kind.to_string().into())),
        ("state".into(), Value::String(health.state.as_str().into())),
        ("alive".into(), integer(u64::from(health.alive))),
        ("builds".into(), integer(health.builds)),
        ("rebuilds".into(), integer(health.rebuilds)),
        ("failures".into(), integer(health.failures)),
        ("last_error".into(), error),
    ])
}

fn integer(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}
