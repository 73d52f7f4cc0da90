//! How a run ended, once the policy of its task has been applied. Pure: time and dice are arguments.

use std::time::Duration;

use celeriac_app::task::{Ending, Failure as TaskFailure, RetryRequest, Returned, Verdict};
use celeriac_app::{Reason, TaskError};
use celeriac_protocol::{MAX_RESULT_DEPTH, Timestamp};

use crate::outcome::{Failure, FailureCode, Outcome, Revoked};
use crate::request::Request;

/// How a run ended, with the error itself for those who are told of it in this process.
#[derive(Debug)]
pub(crate) struct Judged {
    /// How it ended, as data.
    pub outcome: Outcome,
    /// The failure that the task returned, with its source.
    pub error: Option<TaskFailure>,
}

/// Applies the policy of the task to what its function returned.
pub(crate) fn judge(request: &Request, returned: Returned, dice: u64, now: Timestamp) -> Judged {
    let ending = match returned {
        Ok(value) if value.is_deeper_than(MAX_RESULT_DEPTH) => return Judged::plain(too_deep()),
        Ok(value) => return Judged::plain(Outcome::Success(value)),
        Err(error) => error.into_ending(),
    };
    match ending {
        Ending::Failure(failure) => failed(request, failure, dice),
        Ending::Retry(wish) => retried(request, wish, dice, now),
        Ending::Reject { requeue, reason } => {
            Judged::plain(Outcome::Rejected { requeue, reason: reason.into() })
        }
        Ending::Ignore => Judged::plain(Outcome::Ignored),
        Ending::Replace(call) => Judged::plain(Outcome::Replaced(call)),
        Ending::Cancelled(reason) => cancelled(request, reason),
        other => {
            Judged::plain(Outcome::Failure(Failure::new("Unsupported", None, format!("ended as {other:?}"))))
        }
    }
}

impl Judged {
    fn plain(outcome: Outcome) -> Self {
        Self { outcome, error: None }
    }

    fn failure(error: TaskFailure) -> Self {
        Self { outcome: Outcome::Failure(as_data(&error)), error: Some(error) }
    }
}

/// Nobody could read such a result.
fn too_deep() -> Outcome {
    let text = format!(
        "the result is nested more than {MAX_RESULT_DEPTH} levels deep, which nobody could read: return something flatter"
    );
    Outcome::Failure(Failure::new("EncodeError", Some("kombu.exceptions"), text))
}

fn failed(request: &Request, failure: TaskFailure, dice: u64) -> Judged {
    match request.task.options.retry.after_failure(&failure, request.retries(), dice) {
        Verdict::Fail => Judged::failure(failure),
        Verdict::Retry(delay) => {
            Judged { outcome: Outcome::Retry { delay, failure: as_data(&failure) }, error: Some(failure) }
        }
    }
}

fn retried(request: &Request, wish: RetryRequest, dice: u64, now: Timestamp) -> Judged {
    let policy = &request.task.options.retry;
    if policy.is_exhausted(request.retries(), wish.max_retries) {
        return Judged::failure(wish.cause.unwrap_or_else(|| exhausted(request)));
    }
    let countdown = wish.countdown.unwrap_or_else(|| policy.delay(request.retries(), dice));
    let delay = wish.eta.map_or(countdown, |eta| eta.saturating_since(now));
    let failure = wish
        .cause
        .as_ref()
        .map_or_else(|| Failure::new("Retry", Some("celery.exceptions"), asked(delay)), as_data);
    Judged { outcome: Outcome::Retry { delay, failure }, error: wish.cause }
}

fn cancelled(request: &Request, reason: Reason) -> Judged {
    let outcome = match reason {
        Reason::Revoked => Outcome::Revoked(Revoked::WhileRunning),
        Reason::HardTimeLimit => Outcome::TimeLimitExceeded(request.limits.hard.unwrap_or_default()),
        Reason::SoftTimeLimit => {
            Outcome::Failure(Failure::soft_time_limit(request.limits.soft.unwrap_or_default()))
        }
        Reason::Shutdown | Reason::LeaseLost => Outcome::Returned,
        other => Outcome::Failure(Failure::new("Cancelled", None, other.to_string())),
    };
    Judged::plain(outcome)
}

fn exhausted(request: &Request) -> TaskFailure {
    let text = format!("can't retry {}[{}]: no retry is left", request.name(), request.id);
    match TaskError::failure("MaxRetriesExceededError", text).into_ending() {
        Ending::Failure(mut failure) => {
            failure.exc_module = Some("celery.exceptions".into());
            failure
        }
        _ => unreachable!("a failure was made"),
    }
}

fn asked(delay: Duration) -> String {
    format!("the task asked to be tried again in {:.3} s", delay.as_secs_f64())
}

/// A failure of a task as data.
pub(crate) fn as_data(failure: &TaskFailure) -> Failure {
    Failure {
        code: failure.is_bad_arguments().then_some(FailureCode::WrongArguments),
        exc_type: failure.exc_type.clone(),
        exc_module: failure.exc_module.clone(),
        message: failure.message.as_str().into(),
        traceback: failure.traceback.as_deref().map(Into::into),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use celeriac_app::TaskOptions;
    use celeriac_app::task::RetryFor;
    use celeriac_protocol::{ResultRecord, State, Value};

    use super::*;
    use crate::testing::{NOW, delivery, request_of, task};

    fn request_with(retries: u32, change: impl FnOnce(&mut TaskOptions)) -> Request {
        let mut options = TaskOptions::default();
        change(&mut options);
        let mut delivery = delivery(1);
        delivery.message.headers.retries = retries;
        request_of(task().with_options(options), delivery)
    }

    fn outcome(request: &Request, error: TaskError) -> Outcome {
        judge(request, Err(error), 0, NOW).outcome
    }

    #[test]
    fn a_wish_for_a_retry_goes_before_the_policy() {
        let request = request_with(0, |_| {});
        let wish = TaskError::retry().eta(NOW.saturating_add(Duration::from_secs(9)));
        assert!(matches!(outcome(&request, wish), Outcome::Retry { delay, .. } if delay.as_secs() == 9));
    }

    #[test]
    fn a_result_that_nobody_could_read_is_a_failure_that_names_the_limit() {
        let nested = |levels: u32| (0..levels).fold(Value::Null, |value, _| Value::List(vec![value]));
        let judged = |levels| judge(&request_with(0, |_| {}), Ok(nested(levels)), 0, NOW).outcome;
        let record =
            ResultRecord::new("call-1".into(), State::Success, nested(MAX_RESULT_DEPTH), None).encode();
        assert!(ResultRecord::decode(&record).is_ok());
        assert!(matches!(judged(MAX_RESULT_DEPTH), Outcome::Success(_)));
        let Outcome::Failure(failure) = judged(MAX_RESULT_DEPTH + 1) else { panic!("too deep") };
        assert!(failure.message.contains("511"), "{failure}");
    }

    #[test]
    fn an_exhausted_wish_fails_with_its_cause() {
        let request = request_with(3, |_| {});
        let wish = || TaskError::retry();
        let Outcome::Failure(failure) = outcome(&request, wish().because(io::Error::other("busy"))) else {
            panic!("no retry is left")
        };
        assert_eq!(&*failure.message, "busy");
        let Outcome::Failure(failure) = outcome(&request, wish()) else { panic!("no retry is left") };
        assert_eq!(&*failure.exc_type, "MaxRetriesExceededError");
    }

    #[test]
    fn each_reason_to_stop_ends_a_task_in_its_own_way() {
        let request = request_with(0, |options| options.retry.retry_for = RetryFor::Everything);
        let stopped = |reason| outcome(&request, TaskError::from(celeriac_app::Cancelled(reason)));
        assert_eq!(stopped(Reason::Revoked), Outcome::Revoked(Revoked::WhileRunning));
        assert_eq!(stopped(Reason::Shutdown), Outcome::Returned);
        assert_eq!(stopped(Reason::LeaseLost), Outcome::Returned);
        assert!(matches!(stopped(Reason::HardTimeLimit), Outcome::TimeLimitExceeded(_)));
        assert!(
            matches!(stopped(Reason::SoftTimeLimit), Outcome::Failure(f) if &*f.exc_type == "SoftTimeLimitExceeded")
        );
    }

    #[test]
    fn wrong_arguments_are_kept_and_never_tried_again() {
        let request = request_with(0, |options| options.retry.retry_for = RetryFor::Everything);
        let Outcome::Failure(failure) = outcome(&request, TaskError::bad_arguments("no number")) else {
            panic!("a failure")
        };
        assert_eq!(failure.code, Some(FailureCode::WrongArguments));
    }
}
