//! How a task ended, in the words of an event.

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
pub(crate) fn events_of(outcome: &Outcome, fails: bool, by: Signum, runtime: Duration) -> Vec<TaskEvent> {
    let failed =
        |failure: &Failure| TaskEvent::Failed { exception: raised(failure), traceback: traced(failure) };
    let event = match outcome {
        Outcome::Success(value) => TaskEvent::Succeeded { result: shortened(repr::repr(value)), runtime },
        Outcome::Handled { state, said, .. } => {
            let Said { text, traceback } = said.as_deref().cloned().unwrap_or_default();
            let traceback = || traceback.unwrap_or_else(|| text.clone());
            match state {
                State::Success => TaskEvent::Succeeded { result: text, runtime },
                State::Failure => TaskEvent::Failed { traceback: traceback(), exception: text },
                State::Retry => TaskEvent::Retried { traceback: traceback(), exception: text },
                _ => return Vec::new(),
            }
        }
        Outcome::Failure(failure) => failed(failure),
        Outcome::Retry { failure, .. } => {
            TaskEvent::Retried { exception: raised(failure), traceback: traced(failure) }
        }
        // As one that failed, too, unless it comes back.
        Outcome::Rejected { requeue: false, reason } => {
            let exception = format!("reject requeue=False: {reason}").into();
            let traceback = format!("celery.exceptions.Reject: {exception}").into();
            let rejected = TaskEvent::Rejected { requeue: false };
            return vec![TaskEvent::Failed { exception, traceback }, rejected];
        }
        Outcome::Rejected { requeue: true, .. } => TaskEvent::Rejected { requeue: true },
        Outcome::Revoked(why) => {
            let signal = (*why == Revoked::WhileRunning).then_some(by.number());
            TaskEvent::Revoked { signal, expired: *why == Revoked::Expired }
        }
        Outcome::TimeLimitExceeded(limit) if fails => {
            let exception = format!("TimeLimitExceeded({},)", repr::repr(&seconds(*limit))).into();
            let traceback = format!("billiard.exceptions.TimeLimitExceeded: {exception}").into();
            TaskEvent::Failed { exception, traceback }
        }
        Outcome::Lost(death) if fails => failed(&Failure::lost_child(death)),
        Outcome::Returned if fails => failed(&Failure::lost_with_worker()),
        Outcome::Ignored
        | Outcome::Replaced(_)
        | Outcome::TimeLimitExceeded(_)
        | Outcome::Lost(_)
        | Outcome::Returned => return Vec::new(),
    };
    vec![event]
}

/// A failure as Python's `repr` shows the exception.
pub(crate) fn raised(failure: &Failure) -> Box<str> {
    format!("{}({})", failure.exc_type, repr::repr(&Value::from(&*failure.message))).into()
}

/// Where a failure was raised; of what has no trace, what Python shows last of one.
fn traced(failure: &Failure) -> Box<str> {
    let unknown = || match &failure.exc_module {
        Some(module) => format!("{module}.{}: {}", failure.exc_type, failure.message).into(),
        None => format!("{}: {}", failure.exc_type, failure.message).into(),
    };
    failure.traceback.clone().unwrap_or_else(unknown)
}

fn shortened(mut text: String) -> Box<str> {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push_str("...");
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(outcome: &Outcome, fails: bool) -> Vec<TaskEvent> {
        events_of(outcome, fails, Signum::TERM, Duration::from_secs(2))
    }

    #[test]
    fn a_result_is_shown_as_python_shows_it() {
        let runtime = Duration::from_secs(2);
        let event = told(&Outcome::Success(Value::from("x")), false);
        assert_eq!(event, [TaskEvent::Succeeded { result: "'x'".into(), runtime }]);
        let long = told(&Outcome::Success(Value::from("é".repeat(2000).as_str())), false);
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
        let revoked = |why| told(&Outcome::Revoked(why), false);
        let event = |signal, expired| [TaskEvent::Revoked { signal, expired }];
        assert_eq!(revoked(Revoked::BeforeStart), event(None, false));
        assert_eq!(revoked(Revoked::WhileRunning), event(Some(15), false));
        assert_eq!(revoked(Revoked::Expired), event(None, true));
    }
}
