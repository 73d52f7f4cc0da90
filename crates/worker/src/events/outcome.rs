//! How a task ended, in the words of an event.

use std::borrow::Cow;
use std::time::Duration;

use celeriac_protocol::{State, Value, repr};

use super::TaskEvent;
use crate::finish::python::seconds;
use crate::outcome::{Failure, Outcome, Revoked, Said};
use crate::signum::Signum;

/// The longest `repr` of a result, in characters: the setting `resultrepr_maxsize` of a task by default.
const LONGEST: usize = 1024;

/// What those who watch are told of an outcome. `fails` says of what no child has handled whether the task has failed with it;
/// `by` is the signal that revoked tasks are ended with.
///
/// Nothing where Celery says nothing: of a task that is ignored or replaced, or goes back to its queue.
pub(crate) fn events_of(
    outcome: &Outcome,
    fails: bool,
    by: Signum,
    runtime: Duration,
) -> impl Iterator<Item = TaskEvent<'_>> {
    let event = match outcome {
        Outcome::Success(value) => {
            Some(TaskEvent::Succeeded { result: shortened(repr::repr(value)), runtime })
        }
        Outcome::Handled { state, said, .. } => handled(state, said.as_deref(), runtime),
        Outcome::Failure(failure) => Some(failed(failure)),
        Outcome::Retry { failure, .. } => {
            Some(TaskEvent::Retried { exception: raised(failure).into(), traceback: traced(failure) })
        }
        Outcome::Rejected { requeue: false, reason } => {
            let exception = format!("reject requeue=False: {reason}");
            let traceback = format!("celery.exceptions.Reject: {exception}").into();
            Some(TaskEvent::Failed { exception: exception.into(), traceback })
        }
        Outcome::Rejected { requeue: true, .. } => None,
        Outcome::Revoked(why) => {
            let signal = (*why == Revoked::WhileRunning).then_some(by.number());
            Some(TaskEvent::Revoked { signal, expired: *why == Revoked::Expired })
        }
        Outcome::TimeLimitExceeded(limit) if fails => {
            let exception = format!("TimeLimitExceeded({},)", repr::repr(&seconds(*limit)));
            let traceback = format!("billiard.exceptions.TimeLimitExceeded: {exception}").into();
            Some(TaskEvent::Failed { exception: exception.into(), traceback })
        }
        Outcome::Lost(death) if fails => Some(of_lost(&Failure::lost_child(death))),
        Outcome::Returned if fails => Some(of_lost(&Failure::lost_with_worker())),
        Outcome::Ignored
        | Outcome::Replaced(_)
        | Outcome::TimeLimitExceeded(_)
        | Outcome::Lost(_)
        | Outcome::Returned => None,
    };
    // What is rejected has failed, too, unless it comes back.
    let rejected = match outcome {
        Outcome::Rejected { requeue, .. } => Some(TaskEvent::Rejected { requeue: *requeue }),
        _ => None,
    };
    event.into_iter().chain(rejected)
}

/// What a child has said of how it ended.
fn handled<'a>(state: &State, said: Option<&'a Said>, runtime: Duration) -> Option<TaskEvent<'a>> {
    let text = Cow::Borrowed(said.map_or("", |said| &*said.text));
    let traceback = || said.and_then(|said| said.traceback.as_deref()).map_or(text.clone(), Cow::Borrowed);
    match state {
        State::Success => Some(TaskEvent::Succeeded { result: text, runtime }),
        State::Failure => Some(TaskEvent::Failed { traceback: traceback(), exception: text }),
        State::Retry => Some(TaskEvent::Retried { traceback: traceback(), exception: text }),
        _ => None,
    }
}

fn failed(failure: &Failure) -> TaskEvent<'_> {
    TaskEvent::Failed { exception: raised(failure).into(), traceback: traced(failure) }
}

/// The same of what this worker finds out by itself.
fn of_lost(failure: &Failure) -> TaskEvent<'static> {
    TaskEvent::Failed { exception: raised(failure).into(), traceback: traced(failure).into_owned().into() }
}

/// A failure as Python's `repr` shows the exception.
pub(crate) fn raised(failure: &Failure) -> String {
    format!("{}({})", failure.exc_type, repr::repr(&Value::from(&*failure.message)))
}

/// Where a failure was raised; of what has no trace, what Python shows last of one.
fn traced(failure: &Failure) -> Cow<'_, str> {
    match (&failure.traceback, &failure.exc_module) {
        (Some(traceback), _) => Cow::Borrowed(traceback),
        (None, Some(module)) => format!("{module}.{}: {}", failure.exc_type, failure.message).into(),
        (None, None) => format!("{}: {}", failure.exc_type, failure.message).into(),
    }
}

fn shortened(mut text: String) -> Cow<'static, str> {
    if text.len() > LONGEST
        && let Some((end, _)) = text.char_indices().nth(LONGEST)
    {
        text.truncate(end);
        text.push_str("...");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcome: &Outcome, fails: bool) -> Vec<TaskEvent<'_>> {
        events_of(outcome, fails, Signum::TERM, Duration::from_secs(2)).collect()
    }

    #[test]
    fn a_result_is_shown_as_python_shows_it() {
        let runtime = Duration::from_secs(2);
        let outcome = Outcome::Success(Value::from("x"));
        assert_eq!(told(&outcome, false), [TaskEvent::Succeeded { result: "'x'".into(), runtime }]);
        let outcome = Outcome::Success(Value::from("é".repeat(2000).as_str()));
        let long = told(&outcome, false);
        let [TaskEvent::Succeeded { result, .. }] = &long[..] else { panic!("{long:?}") };
        assert_eq!((result.chars().count(), result.ends_with("é...")), (LONGEST + 3, true));
    }

    #[test]
    fn what_goes_back_has_not_ended() {
        let over = Outcome::TimeLimitExceeded(Duration::from_secs(2));
        assert_eq!(told(&over, false), []);
        let exception = "TimeLimitExceeded(2,)".into();
        let traceback = "billiard.exceptions.TimeLimitExceeded: TimeLimitExceeded(2,)".into();
        assert_eq!(told(&over, true), [TaskEvent::Failed { exception, traceback }]);
        for nothing in [Outcome::Ignored, Outcome::Returned] {
            assert_eq!(told(&nothing, false), []);
        }
    }

    #[test]
    fn a_failure_without_a_trace_has_the_last_line_of_one() {
        let event = told(&Outcome::Returned, true);
        let [TaskEvent::Failed { exception, traceback }] = &event[..] else { panic!("{event:?}") };
        assert!(exception.starts_with("WorkerLostError("), "{exception}");
        assert!(traceback.starts_with("billiard.exceptions.WorkerLostError: "), "{traceback}");
    }

    #[test]
    fn only_what_was_running_was_ended_by_a_signal() {
        for (why, signal, expired) in [
            (Revoked::BeforeStart, None, false),
            (Revoked::WhileRunning, Some(15), false),
            (Revoked::Expired, None, true),
        ] {
            assert_eq!(told(&Outcome::Revoked(why), false), [TaskEvent::Revoked { signal, expired }]);
        }
    }
}
