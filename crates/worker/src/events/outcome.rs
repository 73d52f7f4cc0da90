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
    let failed = |failure: &Failure| TaskEvent::Failed {
        exception: raised(failure),
        traceback: failure.traceback.clone(),
    };
    let event = match outcome {
        Outcome::Success(value) => TaskEvent::Succeeded { result: shortened(repr::repr(value)), runtime },
        Outcome::Handled { state, said, .. } => {
            let Said { text, traceback } = said.as_deref().cloned().unwrap_or_default();
            match state {
                State::Success => TaskEvent::Succeeded { result: text, runtime },
                State::Failure => TaskEvent::Failed { exception: text, traceback },
                State::Retry => TaskEvent::Retried { exception: text, traceback },
                _ => return Vec::new(),
            }
        }
        Outcome::Failure(failure) => failed(failure),
        Outcome::Retry { failure, .. } => {
            TaskEvent::Retried { exception: raised(failure), traceback: failure.traceback.clone() }
        }
        // As one that failed, too, unless it comes back.
        Outcome::Rejected { requeue: false, reason } => {
            let exception = format!("reject requeue=False: {reason}").into();
            let rejected = TaskEvent::Rejected { requeue: false };
            return vec![TaskEvent::Failed { exception, traceback: None }, rejected];
        }
        Outcome::Rejected { requeue: true, .. } => TaskEvent::Rejected { requeue: true },
        Outcome::Revoked(why) => {
            let signal = (*why == Revoked::WhileRunning).then_some(by.number());
            TaskEvent::Revoked { signal, expired: *why == Revoked::Expired }
        }
        Outcome::TimeLimitExceeded(limit) if fails => {
            let exception = format!("TimeLimitExceeded({},)", repr::repr(&seconds(*limit)));
            TaskEvent::Failed { exception: exception.into(), traceback: None }
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
        assert_eq!(told(&over, true), [TaskEvent::Failed { exception, traceback: None }]);
        for nothing in [Outcome::Ignored, Outcome::Returned] {
            assert_eq!(told(&nothing, false), []);
        }
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
