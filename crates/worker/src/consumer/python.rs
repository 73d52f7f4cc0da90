//! What is said of requests of a Celery application that do not end by themselves, in the words that its users know.

use std::time::Duration;

use celeriac_app::task::PythonRules;
use celeriac_protocol::{Value, repr};

use crate::consumer::Consumer;
use crate::finish::python::{Loss, loss, seconds};
use crate::outcome::{Failure, Outcome, Revoked};
use crate::request::Request;

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
        let is_last = self.rules.is_last(request);
        match outcome {
            Outcome::Lost(death) => {
                let raised = raised(&Failure::lost_child(death));
                match loss(request, python, acknowledged) {
                    Loss::Retried => {
                        let delay = repr::repr(&seconds(python.default_retry_delay));
                        tracing::warn!(task_id = %id, task_name = %name, "Task {name}[{id}] retry: Retry in {delay}s: {raised}");
                    }
                    Loss::Returned if !is_last => {
                        tracing::warn!(task_id = %id, task_name = %name, deliveries, "Task {name}[{id}] goes back to its queue: {raised}");
                    }
                    Loss::Returned | Loss::Failed => {
                        tracing::error!(task_id = %id, task_name = %name, deliveries, "Task handler raised error: {raised}");
                    }
                }
            }
            Outcome::TimeLimitExceeded(limit) => {
                let goes_back = !acknowledged && !python.acks_on_timeout && !is_last;
                let then = if goes_back { "; it goes back to its queue" } else { "" };
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
            Outcome::Revoked(Revoked::BeforeStart | Revoked::Expired) => {
                tracing::info!(task_id = %id, task_name = %name, "Discarding revoked task: {name}[{id}]");
            }
            _ => {}
        }
    }
}

/// A failure as Python's `repr` shows the exception.
fn raised(failure: &Failure) -> String {
    format!("{}({})", failure.exc_type, repr::repr(&Value::from(&*failure.message)))
}
