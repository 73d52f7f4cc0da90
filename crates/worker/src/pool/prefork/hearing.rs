//! What the supervisor makes of the news of its children.

use std::time::Duration;

use bytes::Bytes;
use celeriac_app::resource::ResourceState;
use celeriac_protocol::{Signature, State, TaskId, Value, json};
use tokio::time::Instant;

use super::ahead::AHEAD;
use super::child::log::level_for_children;
use super::doom::Doom;
use super::link::{From, News};
use super::protocol::{self, FromChild, HandledState, TaskEnding, ToChild, VERSION, Welcome};
use super::slot::{Lost, Phase};
use super::supervisor::Supervisor;
use super::sys::Remains;
use crate::death::{ChildDeath, Ending};
use crate::error::Error;
use crate::outcome::{Failure, FailureCode, Outcome, Revoked};
use crate::pool::{Job, PoolEvent};

/// How many reports a child may have on their way to the store.
const REPORTS: u32 = 2;

const SIGKILL: i32 = 9;

/// How a child says that a resource could not be built.
const FAILING: &str = ResourceState::Failing.as_str();

impl Supervisor {
    /// Takes news of a child, unless it is long gone.
    pub(super) fn hear(&mut self, from: From, news: News, now: Instant) {
        let index = from.slot;
        let Some(member) = self.members.get_mut(index).filter(|member| member.number == from.number) else {
            return;
        };
        member.slot.heard(now);
        match news {
            News::Alive => return,
            News::Frame(head, body) => self.understand(index, head, &body, now),
            News::Garbled(why) => self.condemn(index, Doom::Garbled(why), now),
            News::Exited(remains) => self.bury(index, remains, now),
        }
        self.changed(index);
    }

    fn understand(&mut self, index: usize, said: FromChild, body: &[u8], now: Instant) {
        let Some(member) = self.members.get_mut(index) else { return };
        match said {
            FromChild::Hello { version, .. } => self.welcome(index, version, now),
            FromChild::Phase { .. } => member.slot.reached(Phase::Init),
            FromChild::Resources => {
                let resources = json::parse(body).unwrap_or_default();
                let is_failing = is_failing(&resources);
                self.board.edit(index, |row| (row.resources, row.is_failing) = (resources, is_failing));
                self.outbox.push(PoolEvent::Resources);
            }
            FromChild::Beat { memory } => member.slot.measured(memory),
            FromChild::Ready { jobs, memory } => self.ready(index, jobs, memory),
            FromChild::Started { id } => self.started(index, &id, now),
            FromChild::Report { id, state } => self.report(index, &id, &state, body),
            FromChild::Span => self.span(body),
            FromChild::Confirmed { id } => {
                if let Some(action) = member.slot.confirmed(&id, now) {
                    self.carry_out(index, action);
                }
            }
            FromChild::Done { id, ending, left, runtime, memory } => {
                memory.into_iter().for_each(|memory| member.slot.measured(memory));
                if let (Some(left), Some(job)) = (left, member.job(&id)) {
                    job.request.trail.put(protocol::left_from_json(&left));
                }
                self.done(index, &id, ending, body, runtime, now);
            }
            FromChild::Failed { why } => member.slot.said(why),
        }
    }

    fn welcome(&mut self, index: usize, version: u32, now: Instant) {
        if version != VERSION {
            let why =
                format!("it speaks version {version} of the protocol and this worker version {VERSION}");
            return self.condemn(index, Doom::Garbled(why.into()), now);
        }
        self.board.edit(index, |row| (row.resources, row.is_failing) = (Value::Null, false));
        let Some(member) = self.members.get(index) else { return };
        let welcome = Welcome {
            version: VERSION,
            limit: self.options.frame_limit,
            beat: self.options.silence / 4,
            reports: REPORTS,
            name: member.name.clone(),
            number: member.number,
            index,
            node: self.options.node.clone(),
            log_level: level_for_children(),
            settings: self.options.settings.clone(),
            takes_results: self.options.takes_results,
            measures: self.options.limits.max_memory.is_some(),
            traces: self.options.tracer.is_some(),
        };
        self.say(index, &ToChild::Hello(welcome), Bytes::new());
    }

    fn ready(&mut self, index: usize, jobs: u32, memory: u64) {
        if let Some(reason) = self.options.limits.refuse(memory) {
            self.outbox.push(PoolEvent::Unfit(Error::Misconfigured {
                option: "worker_max_memory_per_child",
                reason,
            }));
        }
        let Some(member) = self.members.get_mut(index) else { return };
        member.slot.measured(memory);
        // No more than was asked for: so many orders fit into its link.
        let jobs = usize::try_from(jobs).map_or(self.options.jobs, |jobs| jobs.min(self.options.jobs));
        // What a child has grown by is looked at after each task.
        let gets_ahead = member.gets_ahead() && self.options.limits.max_memory.is_none();
        member.slot.ready(jobs, if gets_ahead { AHEAD } else { 0 });
        tracing::debug!(child = &*member.name, memory, "child process ready");
    }

    fn started(&mut self, index: usize, id: &TaskId, now: Instant) {
        let Some(member) = self.members.get_mut(index) else { return };
        if !member.slot.started(id, now) {
            return self.breach(index, "it started a task that it had not been given", now);
        }
        if let Some(job) = member.job(id) {
            let (request, executor) = (job.request.clone(), member.name.clone());
            self.outbox.push(PoolEvent::Started { request, executor });
        }
    }

    fn span(&self, body: &[u8]) {
        let Some(tracer) = &self.options.tracer else { return };
        match serde_json::from_slice(body) {
            Ok(span) => tracer.record(span),
            Err(error) => tracing::warn!(%error, "a span of a child process is undecodable"),
        }
    }

    fn report(&mut self, index: usize, id: &TaskId, state: &str, body: &[u8]) {
        let Some(member) = self.members.get(index) else { return };
        if let Some(job) = member.job(id) {
            let (request, state) = (job.request.clone(), State::from(state));
            match json::parse(body) {
                Ok(meta) => self.outbox.push(PoolEvent::Report { request, state, meta }),
                Err(error) => {
                    tracing::warn!(task_id = %id, %error, "a report of a child process is undecodable");
                }
            }
        }
        self.say(index, &ToChild::Credit { reports: 1 }, Bytes::new());
    }

    fn done(
        &mut self,
        index: usize,
        id: &TaskId,
        ending: TaskEnding,
        body: &[u8],
        runtime: Duration,
        now: Instant,
    ) {
        let outcome = match outcome_of(ending, body) {
            Ok(outcome) => outcome,
            Err(error) => return self.breach(index, &format!("its result is undecodable: {error}"), now),
        };
        let Some(member) = self.members.get_mut(index) else { return };
        if !member.slot.done(id, now) {
            return self.breach(index, "it ended a task that it was not running", now);
        }
        if let Some(job) = member.take_job(id) {
            self.finish(job, outcome, runtime);
        }
    }

    fn breach(&mut self, index: usize, why: &str, now: Instant) {
        self.condemn(index, Doom::Garbled(why.into()), now);
    }

    /// Writes the one record of a death, and hands on the tasks that died with the child.
    fn bury(&mut self, index: usize, remains: Remains, now: Instant) {
        let oom_kill = remains.ending == Ending::Signal(SIGKILL) && self.oom_kills.explain_one(now);
        self.take_all_back(index);
        let Some(member) = self.members.get_mut(index) else { return };
        let Some(death) = member.slot.died(remains.ending, oom_kill, now) else { return };
        let (child, jobs) =
            (member.name.clone(), std::mem::take(&mut member.jobs).into_iter().map(|given| given.job));
        let whole = ChildDeath {
            child,
            pid: self.let_go(index).unwrap_or(0),
            reason: death.reason,
            task_id: None,
            task_name: None,
            runtime: Duration::ZERO,
            resident_bytes: remains.peak_memory,
            lived: death.lived,
        };
        self.board.edit(index, |row| row.last_death = Some(whole.reason.to_string().into()));
        let of_task = |(job, lost): (Job, Lost)| {
            let (task_id, task_name) = (Some(lost.id), Some(job.request.name().clone()));
            let (reason, runtime) = (lost.reason, lost.runtime);
            (job, ChildDeath { task_id, task_name, reason, runtime, ..whole.clone() })
        };
        let tasks: Vec<_> = jobs.into_iter().zip(death.runs).map(of_task).collect();
        let Some((_, first)) = tasks.first() else {
            whole.log(0);
            return self.outbox.push(PoolEvent::ChildDied(whole));
        };
        ChildDeath { reason: whole.reason, ..first.clone() }.log(tasks.len() - 1);
        for (job, death) in tasks {
            let runtime = death.runtime;
            self.finish(job, Outcome::Lost(death), runtime);
        }
    }
}

/// What a task raises that wants its process to end. Source: `celery/worker/request.py`, `Request._worker_lost_info`,
/// Celery 5.7.0.
const ENDS_PROCESSES: [&str; 3] = ["SystemExit", "KeyboardInterrupt", "GeneratorExit"];

/// What kombu raises for a body that it cannot read, or may not. Source: kombu/exceptions.py, kombu 5.7.0.
const UNDECODABLE: [&str; 3] = ["DecodeError", "ContentDisallowed", "SerializerNotInstalled"];

/// Whether one of these resources could not be built.
fn is_failing(resources: &Value) -> bool {
    let Value::List(resources) = resources else { return false };
    let state = |resource: &Value| resource.get("state").and_then(Value::as_str) == Some(FAILING);
    resources.iter().any(state)
}

fn outcome_of(ending: TaskEnding, body: &[u8]) -> Result<Outcome, celeriac_protocol::DecodeError> {
    Ok(match ending {
        TaskEnding::Success => {
            Outcome::Success(if body.is_empty() { Value::Null } else { json::parse(body)? })
        }
        TaskEnding::Failure { failure } => Outcome::Failure(failure),
        TaskEnding::Retry { delay, failure } => Outcome::Retry { delay, failure },
        TaskEnding::Ignored => Outcome::Ignored,
        TaskEnding::Replaced => Outcome::Replaced(Box::new(Signature::from_value(json::parse(body)?)?)),
        TaskEnding::Rejected { requeue, reason } => Outcome::Rejected { requeue, reason },
        TaskEnding::Revoked => Outcome::Revoked(Revoked::WhileRunning),
        TaskEnding::TimeLimitExceeded { limit } => Outcome::TimeLimitExceeded(limit),
        TaskEnding::Returned => Outcome::Returned,
        TaskEnding::Handled { state, said } => Outcome::Handled {
            said,
            state: match state {
                HandledState::Success => State::Success,
                HandledState::Failure => State::Failure,
                HandledState::Retry => State::Retry,
                HandledState::Ignored => State::Ignored,
            },
            // A copy, which does not keep the whole buffer it was read into.
            record: (!body.is_empty()).then(|| Bytes::copy_from_slice(body)),
        },
        TaskEnding::Escaped { exc_type, .. } if ENDS_PROCESSES.contains(&&*exc_type) => {
            let text = format!("Worker exited prematurely: {exc_type}.");
            Outcome::Failure(Failure::new("WorkerLostError", Some("billiard.exceptions"), text))
        }
        TaskEnding::Escaped { exc_type, exc_module, message, traceback } => {
            let code = UNDECODABLE.contains(&&*exc_type).then_some(FailureCode::UndecodableBody);
            Outcome::Failure(Failure { code, exc_type, exc_module, message, traceback })
        }
    })
}
