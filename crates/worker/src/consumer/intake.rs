//! Deliveries become requests, or are settled at once.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::TaskDefinition;
use celeriac_app::signals::{self, ReceivedTask, RefusedTask};
use celeriac_protocol::{TaskId, TaskName, Timestamp};
use celeriac_store::{Delivery, Settle};

use crate::admission::{Admission, admit, over_limit};
use crate::consumer::Consumer;
use crate::consumer::deadlines::log_discarded;
use crate::consumer::readiness::HELD_BACK;
use crate::events::TaskEvent;
use crate::fetcher::Arrival;
use crate::finish::{Refusal, postpone, settle};
use crate::finisher::Item;
use crate::outcome::{FailureCode, Outcome};
use crate::pool::PoolKind;
use crate::request::Request;
use crate::signum::Signum;
use crate::table::{Entry, Key, Repeats};
use crate::telling::{Telling, What};

impl Consumer {
    pub(super) fn fetched(&mut self, arrivals: Vec<Arrival>) {
        self.fetching = false;
        self.unsettled += arrivals.len();
        // The store looks for the next ones while these are taken in and run.
        self.fetch(arrivals.len());
        let now = self.now();
        for arrival in arrivals {
            if self.phase.is_working() {
                self.arrive(arrival, now);
            } else {
                self.settle_unseen(&arrival.delivery, Settle::Release);
            }
        }
    }

    /// Takes in a delivery, or settles it.
    pub(super) fn arrive(&mut self, arrival: Arrival, now: Timestamp) {
        let Arrival { delivery, revoked, stamp } = arrival;
        if self.repeats(&delivery) {
            return;
        }
        match admit(&self.app, &delivery, revoked || stamp.is_some(), now) {
            Admission::Run { .. } if delivery.deliveries > self.options.delivery_limit => {
                let refusal = over_limit(&delivery, self.options.delivery_limit);
                self.refuse(delivery, refusal, now);
            }
            Admission::Run { id, task, pool } if self.cannot_run(&task, pool) => {
                tracing::debug!(task_id = %id, task_name = %task.name, "held back: what it needs is not there yet");
                if delivery.deliveries > 1 {
                    self.hold(Arc::new(delivery), id, task, pool);
                } else {
                    self.send_item(Item::last(None, postpone(&delivery, now.saturating_add(HELD_BACK))));
                }
            }
            Admission::Run { id, task, pool } => match self.deferred(&task, pool, delivery.redelivered) {
                None => self.take_in(Arc::new(delivery), id, task, pool),
                Some(delay) => {
                    self.send_item(Item::last(None, postpone(&delivery, now.saturating_add(delay))));
                }
            },
            Admission::Revoked { id, task, why } => {
                let request = Arc::new(Request::new(id, task, Arc::new(delivery), &self.options));
                // Its end is the first that is told of it.
                request.leave_out();
                self.ended(&request, &Outcome::Revoked(why), false, Signum::TERM, Duration::ZERO);
                log_discarded(&request, stamp.as_ref());
                self.told(&request, &Outcome::Revoked(why), false);
                self.count(|counts| counts.ended(&request, &Outcome::Revoked(why), now));
                let what = self.what_python_hears(&request, &Outcome::Revoked(why), false);
                let origin = self.origin(None, &request.delivery.message.headers);
                let (finish, ended) = self.rules.finish(&request, Outcome::Revoked(why), false, now);
                let item = Item { ended, origin, ..Item::last(None, finish) };
                match what {
                    Some(what) => self.send_and_tell(item, Telling::of(&request, what)),
                    None => self.send_item(item),
                }
            }
            Admission::Postpone(eta) => self.send_item(Item::last(None, postpone(&delivery, eta))),
            Admission::Refuse(refusal) => self.refuse(delivery, refusal, now),
        }
    }

    /// Whether the worker holds the task of this delivery already; that request is responsible for it then.
    fn repeats(&mut self, delivery: &Delivery) -> bool {
        let Some(key) = Key::for_delivery(delivery) else { return false };
        match self.table.adopt(&key, delivery) {
            Repeats::Nothing => return false,
            Repeats::Awaiting => {}
            Repeats::Held { before, runs } => {
                let task_name = delivery.message.headers.task.as_ref().map(TaskName::as_str);
                tracing::warn!(task_id = %key.id(), task_name, "delivered again while it is here; it runs once");
                if runs {
                    self.say_started(delivery.tag);
                }
                if let Some(before) = before {
                    let repeated = Delivery { tag: before, ..delivery.clone() };
                    self.settle_unseen(&repeated, Settle::Ack);
                }
            }
        }
        true
    }

    fn take_in(&mut self, delivery: Arc<Delivery>, id: TaskId, task: Arc<TaskDefinition>, pool: PoolKind) {
        let request = self.request(id, task, delivery);
        let key = Key::of(&request);
        self.table.insert(key.clone(), Entry::reserved(Arc::clone(&request), pool));
        self.line_up(key, &request, pool);
    }

    /// Puts a request that this worker can run where it waits for its turn.
    pub(super) fn line_up(&mut self, key: Key, request: &Arc<Request>, pool: PoolKind) {
        let (id, name) = (&request.id, request.name());
        if request.task.body.python().is_some() {
            tracing::info!(task_id = %id, task_name = %name, "Task {name}[{id}] received");
        } else {
            tracing::debug!(task_id = %id, task_name = %name, "received");
        }
        self.happened(request, || [TaskEvent::Received]);
        self.app.signals().send(signals::task_received, || ReceivedTask {
            id: request.id.clone(),
            name: request.name().clone(),
            queue: request.delivery.queue.clone(),
            headers: request.delivery.message.headers.clone(),
        });
        if request.task.body.python().is_some() {
            self.tell_python_of(request, What::Received);
        }
        self.queue_up(key, &request.task, pool);
    }

    fn refuse(&mut self, delivery: Delivery, refusal: Refusal, now: Timestamp) {
        let headers = &delivery.message.headers;
        let refused = || RefusedTask {
            id: headers.id.clone(),
            name: headers.task.clone(),
            message: delivery.message.clone(),
            reason: refusal.text.to_string(),
        };
        let (task_id, task_name) =
            (headers.id.as_ref().map(TaskId::as_str), headers.task.as_ref().map(TaskName::as_str));
        let code = refusal.code.as_str();
        match (refusal.code, task_name) {
            (FailureCode::UnknownTask, Some(name)) => {
                tracing::error!(
                    task_id,
                    task_name,
                    code,
                    "Received unregistered task of type '{name}'. {}",
                    refusal.text
                );
            }
            _ => tracing::error!(task_id, task_name, code, "{}", refusal.text),
        }
        match refusal.code {
            FailureCode::UnknownTask => self.app.signals().send(signals::task_unknown, refused),
            _ => self.app.signals().send(signals::task_rejected, refused),
        }
        self.totals.refused += 1;
        self.count(|counts| counts.refused(&refusal));
        let telling = self.telling_of_refusal(&delivery, &refusal);
        let origin = self.origin(None, &delivery.message.headers);
        let (finish, ended) = self.rules.refuse(delivery, refusal, now);
        let item = Item { ended, origin, ..Item::last(None, finish) };
        match telling {
            Some(telling) => self.send_and_tell(item, telling),
            None => self.send_item(item),
        }
    }

    fn settle_unseen(&self, delivery: &Delivery, how: Settle) {
        self.send_item(Item::last(None, settle(delivery, how)));
    }
}
