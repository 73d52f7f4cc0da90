//! Requests end, and their outcome becomes durable.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::Context;
use celeriac_app::signals::{self, InternalError, RefusedTask, RevokedTask, TaskFailed};
use celeriac_store::{Delivery, Settle, Settled};
use tokio::time::Instant;

use crate::consumer::Consumer;
use crate::consumer::acknowledging::settled_by_end;
use crate::death::{ChildDeath, DeathReason};
use crate::decode;
use crate::fetcher::Arrival;
use crate::finish::settle;
use crate::finisher::{Answer, Item};
use crate::outcome::{Failure, Outcome, Revoked};
use crate::pool::PoolEvent;
use crate::request::{Request, RequestState, Step};
use crate::shutdown::Asked;
use crate::table::{Entry, Key};
use crate::telling::Telling;

impl Consumer {
    pub(super) fn pool_event(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Started { request, executor } => self.started(&request, Some(executor)),
            PoolEvent::Report { request, state, meta } => {
                self.reports.add(self.rules.report(request.id.clone(), state, meta));
            }
            PoolEvent::Finished { request, outcome, runtime } => self.finished(&request, outcome, runtime),
            PoolEvent::Capacity | PoolEvent::Resources => self.look_whether_ready(),
            PoolEvent::ChildDied(death) => self.child_died(&death),
            PoolEvent::Unfit(error) => {
                self.unfit.get_or_insert(error);
                self.asked(Asked::ONCE);
            }
            PoolEvent::Closed(kind) => {
                if let Some(lane) = self.lane(kind) {
                    lane.closed = true;
                }
            }
        }
    }

    /// A slot is free. Unless the loop has decided before, this is how its request ended.
    fn finished(&mut self, request: &Arc<Request>, outcome: Outcome, runtime: Duration) {
        let kind = crate::admission::pool_of(&request.task);
        if let Some(lane) = self.lane(kind) {
            lane.running = lane.running.saturating_sub(1);
            lane.pace.count(1, Instant::now());
            lane.pool.finished(request);
        }
        if let Outcome::Lost(death) = &outcome {
            self.count(|counts| counts.child_died(death));
        }
        let Some(entry) = self.table.entry_of(request) else { return };
        if matches!(entry.state, RequestState::Submitted | RequestState::Running) {
            self.totals.runtime += runtime;
            entry.runtime = runtime;
            self.count(|counts| counts.ran(request, runtime));
            let outcome = as_decided(request, outcome);
            if let Some(outcome) = self.without_question(request, outcome) {
                self.end(&Key::of(request), outcome);
            }
        }
    }

    /// The outcome of a request is decided: on its way to the store with it.
    pub(super) fn end(&mut self, key: &Key, outcome: Outcome) {
        let now = self.now();
        let Some(entry) = self.table.get_mut(key) else { return };
        if let Err(illegal) = entry.step(Step::Finish) {
            tracing::error!(task_id = %key.id(), task_name = %entry.request.name(), %illegal, "an outcome came out of turn");
            return;
        }
        for timer in entry.timers.drain(..) {
            self.timers.cancel(timer);
        }
        let (request, tag, acknowledged) = (Arc::clone(&entry.request), entry.tag, entry.acknowledged);
        let owes_ack = std::mem::take(&mut entry.owes_ack);
        let (by, runtime) = (entry.signal, entry.runtime);
        let since = entry.started.as_ref().map(|started| started.since);
        self.totals.count(&outcome);
        self.totals.count_end(&request.delivery.message.headers, &outcome, now);
        self.count(|counts| counts.ended(&request, &outcome, now));
        self.told(&request, &outcome, acknowledged.is_some());
        self.ended(&request, &outcome, acknowledged.is_some(), by, runtime);
        let origin = self.traced(&request, &outcome, acknowledged.is_some(), since, runtime);
        let what = self.what_python_hears(&request, &outcome, acknowledged.is_some());
        let (finish, ended) = self.rules.finish(&request, outcome, acknowledged.is_some(), now);
        let finish = settled_by_end(finish, tag, acknowledged, owes_ack);
        let item = Item { ended, origin, ..Item::last(Some(key.clone()), finish) };
        match what {
            Some(what) => self.send_and_tell(item, Telling::of(&request, what.terminated_by(by))),
            None => self.send_item(item),
        }
    }

    /// Logs and tells the listeners of this process what no executor could: outcomes that came from outside the task.
    pub(super) fn told(&self, request: &Request, outcome: &Outcome, acknowledged: bool) {
        let (id, name) = (&request.id, request.name());
        if let Some(python) = request.task.body.python() {
            self.log_of_python(request, python, outcome, acknowledged);
            match outcome {
                Outcome::Lost(death) if self.fails(request, python, outcome, acknowledged) => {
                    return self.failed(request, &Failure::lost_child(death));
                }
                Outcome::TimeLimitExceeded(limit) if self.fails(request, python, outcome, acknowledged) => {
                    return self.failed(request, &Failure::time_limit(*limit));
                }
                Outcome::Lost(_) | Outcome::TimeLimitExceeded(_) => return,
                _ => {}
            }
        }
        match outcome {
            Outcome::Revoked(why) => self.app.signals().send(signals::task_revoked, || RevokedTask {
                id: id.clone(),
                name: name.clone(),
                terminated: *why == Revoked::WhileRunning,
                expired: *why == Revoked::Expired,
            }),
            Outcome::Rejected { reason, .. } => {
                let refused = || RefusedTask {
                    id: Some(id.clone()),
                    name: Some(name.clone()),
                    message: request.delivery.message.clone(),
                    reason: reason.to_string(),
                };
                self.app.signals().send(signals::task_rejected, refused);
            }
            Outcome::Failure(failure) if failure.is_internal() => {
                let error = || InternalError {
                    id: id.clone(),
                    name: name.clone(),
                    reason: failure.message.to_string(),
                };
                self.app.signals().send(signals::task_internal_error, error);
            }
            Outcome::TimeLimitExceeded(limit) => {
                tracing::error!(task_id = %id, task_name = %name, ?limit, "hard time limit exceeded");
                self.failed(request, &Failure::time_limit(*limit));
            }
            Outcome::Lost(death) if self.ends_it(request, outcome, acknowledged) => {
                tracing::error!(task_id = %id, task_name = %name, deliveries = request.delivery.deliveries, "its process {}", death.reason);
                self.failed(request, &Failure::lost(death));
            }
            Outcome::Lost(death) => {
                tracing::warn!(task_id = %id, task_name = %name, deliveries = request.delivery.deliveries, "tried again: its process {}", death.reason);
            }
            _ => {}
        }
    }

    /// Ends a request that cannot be called, before its early acknowledgement would take its message out of reach.
    pub(super) fn fails_unrun(&mut self, key: &Key, request: &Request) -> bool {
        let message = &request.delivery.message;
        // In what its application accepts besides, its child alone can read.
        let is_ours = request.task.body.python().is_none() || &*message.content_type == "application/json";
        if !is_ours {
            return false;
        }
        let Err(failure) = decode::check(&request.task, message, self.options.max_body_bytes) else {
            return false;
        };
        if request.task.body.python().is_none() {
            tracing::error!(task_id = %request.id, task_name = %request.name(), error = %failure, "failed");
        }
        self.failed(request, &failure);
        self.end(key, Outcome::Failure(failure));
        true
    }

    fn failed(&self, request: &Request, failure: &Failure) {
        let context = || {
            let (task, delivery) = (Arc::clone(&request.task), Arc::clone(&request.delivery));
            Context::new(
                request.id.clone(),
                task,
                delivery,
                request.cancellation.clone(),
                Arc::clone(&request.trail),
                Arc::clone(&self.place),
                request.span,
            )
        };
        self.app.signals().send(signals::task_failure, || TaskFailed {
            context: context(),
            failure: failure.to_task_failure(),
        });
    }

    fn child_died(&mut self, death: &ChildDeath) {
        self.totals.children_died += u64::from(!death.reason.is_orderly());
        self.count(|counts| counts.child_died(death));
        self.look_whether_ready();
    }

    /// The store has answered.
    pub(super) fn settled(&mut self, answer: Answer) {
        self.unsettled -= usize::from(answer.settles);
        let Some(key) = answer.key else { return };
        if answer.prepares {
            // What the store refused to note has gone back to its queue.
            let settled = if answer.returned { Settled::Lost } else { answer.settled };
            return self.prepared(key, settled);
        }
        let Some(entry) = self.table.get_mut(&key) else { return };
        if entry.step(Step::Settle).is_err() {
            return;
        }
        let Some(Entry { request, parked, telling, .. }) = self.table.remove(&key) else { return };
        if answer.settled == Settled::Lost {
            tracing::warn!(task_id = %key.id(), task_name = %request.name(), "its lease had run out: this outcome does not count");
        }
        let is_over = answer.settled == Settled::Done && !answer.returned;
        telling.into_iter().filter(|_| is_over).for_each(|telling| self.tell_python(telling));
        let (repeated, others): (Vec<_>, _) =
            parked.into_iter().partition(|delivery| is_over && delivery.redelivered);
        for repeated in &repeated {
            self.send_item(Item::last(None, settle(repeated, Settle::Ack)));
        }
        self.take_up(others);
    }

    /// Takes in what has waited for the end of a request, and is not settled with it.
    pub(super) fn take_up(&mut self, parked: Vec<Delivery>) {
        for delivery in parked {
            if self.phase.is_working() {
                let revoked = delivery.revoked.unwrap_or(false);
                self.arrive(Arrival { delivery, revoked, stamp: None }, self.now());
            } else {
                self.send_item(Item::last(None, settle(&delivery, Settle::Release)));
            }
        }
    }
}

/// What the death of a child means for the task in it, when it was us who killed it.
fn as_decided(request: &Request, outcome: Outcome) -> Outcome {
    let Outcome::Lost(death) = outcome else { return outcome };
    match death.reason {
        DeathReason::HardLimit => Outcome::TimeLimitExceeded(request.limits.hard.unwrap_or_default()),
        DeathReason::Revoked => Outcome::Revoked(Revoked::WhileRunning),
        DeathReason::Shutdown => Outcome::Returned,
        _ => Outcome::Lost(death),
    }
}
