//! How a task stands, judged from all that is known of it. Pure.

use std::time::Duration;

use celeriac_protocol::{Message, ResultRecord, State, TaskId, Timestamp, Value};
use celeriac_store::{FailedTask, Location, WorkerRecord};

/// How a task stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing {
    /// It returned.
    Succeeded {
        /// When.
        at: Option<Timestamp>,
    },
    /// It failed, or will never run because another has.
    Failed {
        /// When.
        at: Option<Timestamp>,
        /// With what.
        error: String,
        /// Where its message is kept for somebody to requeue it: the code of the reason.
        kept_as: Option<Box<str>>,
    },
    /// It was revoked, or had expired.
    Revoked {
        /// When.
        at: Option<Timestamp>,
        /// Why.
        reason: String,
    },
    /// A worker runs it.
    Running {
        /// Where it came from.
        queue: Option<Box<str>>,
        /// The node name of the worker.
        worker: Option<Box<str>>,
        /// Since when.
        since: Option<Timestamp>,
        /// What it says of itself: a state of its own such as `PROGRESS`, with what describes it.
        says: Option<(Box<str>, Value)>,
    },
    /// A worker has taken it and does not run it yet, as far as the worker says.
    Reserved {
        /// Where it came from.
        queue: Box<str>,
        /// The node name of the worker; none for Celery's own.
        worker: Option<Box<str>>,
    },
    /// The worker that has taken it is not alive: it goes back to its queue when the lease ends.
    Held {
        /// Where it came from.
        queue: Box<str>,
        /// The node name that the worker had.
        worker: Box<str>,
    },
    /// It waits in its queue.
    Ready {
        /// The queue.
        queue: Box<str>,
        /// How many messages are before it.
        ahead: Option<u64>,
        /// What will happen when a worker takes it, if it will not run.
        doom: Option<Doom>,
    },
    /// It is held for later.
    Scheduled {
        /// The queue it will be in.
        queue: Box<str>,
        /// When.
        due: Timestamp,
        /// If it is a retry: what went wrong.
        error: Option<String>,
        /// What will happen then, if it will not run.
        doom: Option<Doom>,
    },
    /// It is not sent yet.
    NotSent {
        /// The task it waits for; none for the body of a chord, which waits for the group before it.
        after: Option<TaskId>,
    },
    /// Nothing is known: its result was ignored or has expired, and there is no message of it.
    Unknown,
}

/// Why a task that waits will not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doom {
    /// It is revoked.
    Revoked,
    /// It has expired.
    Expired,
}

impl Standing {
    /// For programs: `succeeded`, `failed`, `revoked`, `running`, `reserved`, `held`, `ready`, `scheduled`, `not-sent` or
    /// `unknown`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Revoked { .. } => "revoked",
            Self::Running { .. } => "running",
            Self::Reserved { .. } => "reserved",
            Self::Held { .. } => "held",
            Self::Ready { .. } => "ready",
            Self::Scheduled { .. } => "scheduled",
            Self::NotSent { .. } => "not-sent",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it has ended.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded { .. } | Self::Failed { .. } | Self::Revoked { .. })
    }

    /// The queue in which it waits or will wait.
    pub fn waits_in(&self) -> Option<&str> {
        match self {
            Self::Ready { queue, .. } | Self::Scheduled { queue, .. } => Some(queue),
            _ => None,
        }
    }
}

/// What is known of a task.
#[derive(Default)]
pub(super) struct Evidence<'a> {
    pub record: Option<&'a ResultRecord>,
    pub place: Option<&'a Location>,
    pub ahead: Option<u64>,
    pub message: Option<&'a Message>,
    pub failed: Option<&'a FailedTask>,
    pub is_revoked: bool,
}

/// How the task of this id stands.
pub(super) fn judge(
    id: &TaskId,
    evidence: &Evidence<'_>,
    workers: &[WorkerRecord],
    now: Timestamp,
) -> Standing {
    if let Some(record) = evidence.record.filter(|record| record.state.is_ready()) {
        return ended(record, evidence.failed);
    }
    let queue = |place: &Location| Box::from(place.queue().as_str());
    let doom = || {
        let expires = evidence.message.and_then(|message| message.headers.expires);
        let has_expired = expires.is_some_and(|expires| expires <= now);
        if evidence.is_revoked { Some(Doom::Revoked) } else { has_expired.then_some(Doom::Expired) }
    };
    match evidence.place {
        Some(place @ Location::Lent { worker, .. }) => taken(id, evidence, queue(place), worker, workers),
        Some(place @ Location::Ready { .. }) => {
            Standing::Ready { queue: queue(place), ahead: evidence.ahead, doom: doom() }
        }
        Some(place @ Location::Scheduled { due, .. }) => {
            let retried = evidence.record.and_then(ResultRecord::exception);
            let error = retried.map(|exception| exception.to_string());
            Standing::Scheduled { queue: queue(place), due: *due, error, doom: doom() }
        }
        Some(Location::Failed { .. }) => kept(evidence.failed),
        None => without_message(id, evidence, workers),
    }
}

fn ended(record: &ResultRecord, failed: Option<&FailedTask>) -> Standing {
    let at = record.date_done;
    let error = || match record.exception() {
        Some(exception) => exception.to_string(),
        None => String::from_utf8_lossy(&celeriac_protocol::json::to_bytes(&record.result)).into_owned(),
    };
    match record.state {
        State::Success => Standing::Succeeded { at },
        State::Revoked => {
            let reason = record.exception().map_or_else(error, |exception| exception.message());
            Standing::Revoked { at, reason }
        }
        _ => Standing::Failed { at, error: error(), kept_as: failed.map(|task| task.reason.code.clone()) },
    }
}

fn kept(failed: Option<&FailedTask>) -> Standing {
    let at = failed.map(|task| task.failed_at);
    let error = failed.map_or_else(String::new, |task| task.reason.text.to_string());
    Standing::Failed { at, error, kept_as: failed.map(|task| task.reason.code.clone()) }
}

fn taken(
    id: &TaskId,
    evidence: &Evidence<'_>,
    queue: Box<str>,
    worker: &str,
    workers: &[WorkerRecord],
) -> Standing {
    if let Some(running) = running(id, Some(&queue), evidence, workers) {
        return running;
    }
    let is_alive = workers.iter().any(|alive| alive.name == worker);
    let worker = (!worker.is_empty()).then(|| Box::from(worker));
    match (worker, says(evidence)) {
        (Some(worker), _) if !is_alive => Standing::Held { queue, worker },
        (worker, Some(said)) => Standing::Running { queue: Some(queue), worker, since: None, says: said },
        (worker, None) => Standing::Reserved { queue, worker },
    }
}

/// A task that was acknowledged early has no message while it runs.
fn without_message(id: &TaskId, evidence: &Evidence<'_>, workers: &[WorkerRecord]) -> Standing {
    running(id, None, evidence, workers).unwrap_or_else(|| match says(evidence) {
        Some(says) => Standing::Running { queue: None, worker: None, since: None, says },
        None => Standing::Unknown,
    })
}

/// Whether its result says that it runs, and if so, what else.
#[expect(clippy::option_option, reason = "whether it runs, and what it says")]
fn says(evidence: &Evidence<'_>) -> Option<Option<(Box<str>, Value)>> {
    let record = evidence.record?;
    match &record.state {
        State::Started => Some(None),
        State::Custom(name) => Some(Some((name.clone(), record.result.clone()))),
        _ => None,
    }
}

/// The task as the worker that runs it tells of it.
fn running(
    id: &TaskId,
    queue: Option<&str>,
    evidence: &Evidence<'_>,
    workers: &[WorkerRecord],
) -> Option<Standing> {
    workers.iter().find_map(|worker| {
        let running = worker.facts.get("running")?.as_list()?;
        let task = running.iter().find(|task| task.get("id").and_then(Value::as_str) == Some(id.as_str()))?;
        let runtime = task.get("runtime_seconds").and_then(Value::as_f64).unwrap_or_default();
        let runtime = Duration::try_from_secs_f64(runtime).unwrap_or_default();
        let runtime = i64::try_from(runtime.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(worker.announced_at.as_micros().saturating_sub(runtime));
        Some(Standing::Running {
            queue: queue.map(Into::into),
            worker: Some(worker.name.as_str().into()),
            since: Some(since),
            says: says(evidence).flatten(),
        })
    })
}
