//! What is said of requests of a Celery application that do not end by themselves, in the words that its users know.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::task::PythonRules;
use celeriac_protocol::{State, TaskId, TaskName, repr};
use celeriac_store::Delivery;

use crate::consumer::{Consumer, Input};
use crate::events::raised;
use crate::finish::Refusal;
use crate::finish::python::{Loss, loss, seconds};
use crate::finisher::Item;
use crate::outcome::{Failure, FailureCode, Outcome, Revoked};
use crate::pool::prefork::ANSWERS;
use crate::request::{Request, RequestState, Stores};
use crate::signum::Signum;
use crate::table::Key;
use crate::telling::{Raised, Telling, Told, What};

impl Consumer {
    pub(super) fn log_soft_limit(&self, request: &Request, limit: Duration) {
        let (id, name) = (&request.id, request.name());
        if request.task.body.python().is_some() {
            let limit = repr::repr(&seconds(limit));
            tracing::warn!(task_id = %id, task_name = %name, "Soft time limit ({limit}s) exceeded for {name}[{id}]");
        } else {
            tracing::warn!(task_id = %id, task_name = %name, ?limit, "soft time limit exceeded");
        }
    }

    /// Logs an outcome that the child has not logged.
    ///
    /// Source: `celery/worker/request.py`, Celery 5.7.0, for the words.
    pub(super) fn log_of_python(
        &self,
        request: &Request,
        python: &PythonRules,
        outcome: &Outcome,
        acknowledged: bool,
    ) {
        let (id, name) = (&request.id, request.name());
        let deliveries = request.delivery.deliveries;
        let fails = self.fails(request, python, outcome, acknowledged);
        match outcome {
            Outcome::Lost(death) => {
                let raised = raised(&Failure::lost_child(death));
                match loss(request, python, acknowledged) {
                    Loss::Retried => {
                        let delay = repr::repr(&seconds(python.default_retry_delay));
                        tracing::warn!(task_id = %id, task_name = %name, "Task {name}[{id}] retry: Retry in {delay}s: {raised}");
                    }
                    Loss::Returned if !fails => {
                        tracing::warn!(task_id = %id, task_name = %name, deliveries, "Task {name}[{id}] goes back to its queue: {raised}");
                    }
                    Loss::Returned | Loss::Failed => {
                        tracing::error!(task_id = %id, task_name = %name, deliveries, "Task handler raised error: {raised}");
                    }
                }
            }
            Outcome::TimeLimitExceeded(limit) => {
                let then = if fails { "" } else { "; it goes back to its queue" };
                let limit = repr::repr(&seconds(*limit));
                tracing::error!(task_id = %id, task_name = %name, deliveries, "Hard time limit ({limit}s) exceeded for {name}[{id}]{then}");
            }
            Outcome::Failure(failure) => {
                tracing::error!(task_id = %id, task_name = %name, "Task handler raised error: {}", raised(failure));
            }
            Outcome::Rejected { requeue: true, .. } if acknowledged => {
                tracing::error!(
                    task_id = %id, task_name = %name,
                    "Task {name}[{id}] asked for its message to be requeued, but that was acknowledged before it ran: it has failed"
                );
            }
            Outcome::Returned if acknowledged => {
                let raised = raised(&Failure::lost_with_worker());
                tracing::error!(task_id = %id, task_name = %name, "Task handler raised error: {raised}");
            }
            _ => {}
        }
    }

    /// Whether a task of a Celery application has failed with this outcome, which its child has not handled.
    pub(super) fn fails(
        &self,
        request: &Request,
        python: &PythonRules,
        outcome: &Outcome,
        acknowledged: bool,
    ) -> bool {
        let is_last = self.rules.is_last(request);
        match outcome {
            Outcome::Lost(_) => match loss(request, python, acknowledged) {
                Loss::Retried => false,
                Loss::Returned => is_last,
                Loss::Failed => true,
            },
            Outcome::TimeLimitExceeded(_) => acknowledged || python.acks_on_timeout || is_last,
            Outcome::Rejected { requeue, .. } => acknowledged || !requeue,
            Outcome::Returned => acknowledged,
            Outcome::Failure(_) => true,
            _ => false,
        }
    }

    /// What the code of the application is to hear of an outcome, which its child has not handled.
    pub(super) fn what_python_hears(
        &self,
        request: &Request,
        outcome: &Outcome,
        acknowledged: bool,
    ) -> Option<What> {
        let python = request.task.body.python()?;
        let (stores, stores_result) = (!python.keeps_results_here, request.stores != Stores::Nothing);
        let failed = |raised, calls_task: bool| {
            let calls_task = calls_task && python.hears_of_its_end;
            let fails = self.fails(request, python, outcome, acknowledged);
            fails.then_some(What::Failed { raised, stores, stores_result, calls_task })
        };
        match outcome {
            Outcome::Lost(death) if loss(request, python, acknowledged) == Loss::Retried => {
                let raised = Raised::from(&Failure::lost_child(death));
                let countdown = python.default_retry_delay.as_secs_f64();
                Some(What::Retried { raised, countdown, stores, stores_result })
            }
            Outcome::Lost(death) => failed(Raised::from(&Failure::lost_child(death)), true),
            Outcome::TimeLimitExceeded(limit) => failed(Raised::time_limit(*limit), true),
            Outcome::Failure(failure) => failed(Raised::from(failure), true),
            // Celery calls no method of the task then.
            Outcome::Rejected { requeue, reason } => failed(Raised::reject(reason, *requeue), false),
            Outcome::Returned => failed(Raised::from(&Failure::lost_with_worker()), true),
            Outcome::Revoked(why) => {
                let terminated = *why == Revoked::WhileRunning;
                Some(What::Revoked {
                    reason: why.reason(),
                    terminated,
                    signum: terminated.then_some(Signum::TERM.number()),
                    expired: *why == Revoked::Expired,
                    stores,
                    stores_result,
                })
            }
            _ => None,
        }
    }

    /// What the code of the application is to hear of a message that is no call this worker can run.
    pub(super) fn telling_of_refusal(&self, delivery: &Delivery, refusal: &Refusal) -> Option<Telling> {
        let template = self.options.template.as_ref()?;
        let headers = &delivery.message.headers;
        let raised = |args| Raised::new(refusal.exc_type, refusal.exc_module(), args);
        let text = || vec![(&*refusal.text).into()];
        let name = headers.task.as_ref().map(TaskName::as_str);
        let known = name.and_then(|name| self.app.find_task(name));
        let what = match (refusal.code, known.and_then(|task| task.body.python())) {
            (FailureCode::UnknownTask, _) => {
                let stores = !template.keeps_results_here();
                What::Unknown { raised: raised(vec![name.into()]), stores }
            }
            (FailureCode::DeliveryLimit, Some(python)) => What::Failed {
                raised: raised(text()),
                stores: !python.keeps_results_here,
                stores_result: true,
                calls_task: python.hears_of_its_end,
            },
            _ => What::Rejected { raised: raised(text()) },
        };
        let (id, task, delivery) = (headers.id.clone(), headers.task.clone(), Arc::new(delivery.clone()));
        Some(Telling { id, task, delivery, what })
    }

    /// Tells the code of the application, if it has asked for that. Nobody waits for it.
    pub(super) fn tell_python(&self, telling: Telling) {
        if let Some(template) = &self.options.template
            && template.cares_for(&telling.what)
        {
            drop(template.tell(telling));
        }
    }

    /// The same of a request. Nothing is put together unless somebody listens: this is done for every task.
    pub(super) fn tell_python_of(&self, request: &Request, what: What) {
        if self.options.template.as_ref().is_some_and(|template| template.cares_for(&what)) {
            self.tell_python(Telling::of(request, what));
        }
    }

    /// Makes an outcome durable and tells the code of the application of it: once it is durable, if the engine does that;
    /// else the result backend of the application does, and the message is settled when it has.
    pub(super) fn send_and_tell(&mut self, mut item: Item, telling: Telling) {
        let Some(template) = self.options.template.as_ref().filter(|it| it.cares_for(&telling.what)) else {
            return self.send_item(item);
        };
        if telling.what.stores() {
            (item.finish.result, item.ended) = (None, None);
            let id = telling.id.clone();
            let (told, items) = (template.tell(telling), self.wires.items.clone());
            tokio::spawn(async move {
                let told = tokio::time::timeout(ANSWERS * 2, told).await;
                if !matches!(told, Ok(Ok(Told { done: true }))) {
                    let task_id = id.as_ref().map(TaskId::as_str);
                    tracing::error!(
                        task_id,
                        "the application's result backend has not stored how this task ended"
                    );
                }
                // Without a finisher the worker has ended, and the message comes back.
                let _ = items.send(item);
            });
            return;
        }
        match item.key.as_ref().and_then(|key| self.table.get_mut(key)) {
            Some(entry) => entry.telling = Some(telling),
            None => self.tell_python(telling),
        }
        self.send_item(item);
    }

    /// Gives back an outcome that stands. The child of a task of a Celery application may have stored its success before it
    /// was lost: then that is asked first, and answered with [`Input::Judged`].
    pub(super) fn without_question(&self, request: &Arc<Request>, outcome: Outcome) -> Option<Outcome> {
        let is_open = matches!(outcome, Outcome::Lost(_)) && request.stores == Stores::Everything;
        let template = self.options.template.as_ref();
        let Some(template) = template.filter(|_| is_open && request.task.body.python().is_some()) else {
            return Some(outcome);
        };
        let told = template.tell(Telling::of(request, What::Stored));
        let (request, inputs) = (Arc::clone(request), self.wires.own_inputs.clone());
        tokio::spawn(async move {
            let has_succeeded =
                matches!(tokio::time::timeout(ANSWERS, told).await, Ok(Ok(Told { done: true })));
            let outcome = if has_succeeded { succeeded_before(&request, &outcome) } else { outcome };
            // Without a loop the worker has ended.
            let _ = inputs.send(Input::Judged(request, outcome));
        });
        None
    }

    /// It is known how a request ended.
    pub(super) fn judged(&mut self, request: &Arc<Request>, outcome: Outcome) {
        let Some(entry) = self.table.entry_of(request) else { return };
        if matches!(entry.state, RequestState::Submitted | RequestState::Running) {
            self.end(&Key::of(request), outcome);
        }
    }
}

/// The outcome of a task whose success was stored before its child was lost.
fn succeeded_before(request: &Request, outcome: &Outcome) -> Outcome {
    if let Outcome::Lost(death) = outcome {
        let (id, name, raised) = (&request.id, request.name(), raised(&Failure::lost_child(death)));
        tracing::warn!(task_id = %id, task_name = %name, "Task {name}[{id}] succeeded before the worker was lost: {raised}");
    }
    Outcome::Handled { state: State::Success, record: None, said: None }
}
