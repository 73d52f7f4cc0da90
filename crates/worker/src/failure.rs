//! The failures that the worker itself reports, under the names that Celery gives them.

use std::fmt;
use std::time::Duration;

use celeriac_app::TaskError;
use celeriac_app::task::{Ending, Failure as TaskFailure};
use celeriac_protocol::{TaskId, Value};

use crate::death::{ChildDeath, DeathReason};
use crate::finish::exception;
use crate::outcome::{Failure, FailureCode, Revoked};

const CELERY: &str = "celery.exceptions";
const BILLIARD: &str = "billiard.exceptions";
/// Where the failures live that only this worker knows.
const OURS: &str = "celeriac.worker";

impl Failure {
    /// An ordinary failure of this class.
    pub(crate) fn new(exc_type: &str, exc_module: Option<&str>, message: impl Into<Box<str>>) -> Self {
        Self {
            code: None,
            exc_type: exc_type.into(),
            exc_module: exc_module.map(Into::into),
            message: message.into(),
            traceback: None,
        }
    }

    /// One whose message goes to the failed tasks.
    pub(crate) fn with_code(self, code: FailureCode) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The worker itself failed while it ran the task.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new("InternalError", Some(OURS), message)
    }

    /// Whether the worker itself failed.
    pub(crate) fn is_internal(&self) -> bool {
        &*self.exc_type == "InternalError" && self.exc_module.as_deref() == Some(OURS)
    }

    /// The hard time limit passed.
    pub(crate) fn time_limit(limit: Duration) -> Self {
        Self::new("TimeLimitExceeded", Some(BILLIARD), format!("TimeLimitExceeded({})", limit.as_secs_f64()))
    }

    /// The soft time limit passed, and the task ended because it was told.
    pub(crate) fn soft_time_limit(limit: Duration) -> Self {
        let text = format!("SoftTimeLimitExceeded({})", limit.as_secs_f64());
        Self::new("SoftTimeLimitExceeded", Some(BILLIARD), text)
    }

    /// The process that ran the task is gone.
    pub(crate) fn lost(death: &ChildDeath) -> Self {
        let text = format!("process {} {}", death.pid, death.reason);
        Self::new("WorkerLostError", Some(BILLIARD), text)
    }

    /// The child that ran a task of a Celery application is gone: in Celery's words, and then why.
    ///
    /// Source: billiard/pool.py, `Pool.mark_as_worker_lost`, billiard 4.3.2.
    pub(crate) fn lost_child(death: &ChildDeath) -> Self {
        let job = death.task_id.as_ref().map_or("", TaskId::as_str);
        let mut text = format!("Worker exited prematurely: {} Job: {job}.", death.reason.human_status());
        if !matches!(death.reason, DeathReason::Signal(_) | DeathReason::Exit(_)) {
            text.push_str(&format!(" Its process {}", death.reason));
        }
        Self::new("WorkerLostError", Some(BILLIARD), text)
    }

    /// The worker stopped while a task of a Celery application ran that had been acknowledged early.
    ///
    /// `WorkerShutdown` would end the program that asks for the result: there, it is a `SystemExit`.
    pub(crate) fn lost_with_worker() -> Self {
        let text =
            "Worker exited prematurely: the worker was shut down, and the task was acknowledged early.";
        Self::new("WorkerLostError", Some(BILLIARD), text)
    }

    /// The worker stopped while a task ran that had been acknowledged early, so it cannot be given back.
    pub(crate) fn stopped() -> Self {
        let text = "the worker stopped while it ran, and it was acknowledged early";
        Self::new("WorkerShutdown", Some(CELERY), text)
    }

    /// The task was revoked.
    pub(crate) fn revoked(why: Revoked) -> Self {
        Self::new("TaskRevokedError", Some(CELERY), why.reason())
    }

    /// The task refused its message for good.
    pub(crate) fn rejected(reason: Box<str>) -> Self {
        Self::new("Reject", Some(CELERY), reason).with_code(FailureCode::Rejected)
    }

    /// As data for readers of the result.
    pub(crate) fn exception(&self) -> Value {
        exception(&self.exc_type, self.exc_module.as_deref(), &self.message)
    }
}

impl Failure {
    /// As signal handlers get it, when there is no error of the task itself.
    pub(crate) fn to_task_failure(&self) -> TaskFailure {
        let error = TaskError::failure(self.exc_type.clone(), self.message.clone());
        let Ending::Failure(mut failure) = error.into_ending() else { unreachable!("a failure was made") };
        failure.exc_module.clone_from(&self.exc_module);
        failure.traceback = self.traceback.as_deref().map(ToOwned::to_owned);
        failure
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exc_type, self.message)
    }
}
