//! How tasks of a Celery application end that do not end by themselves, by the rules of their application. Pure.
//!
//! Source: `celery/worker/request.py`, `Request.on_failure`, `on_timeout` and `_retry_worker_lost`, Celery 5.7.0.

use std::time::Duration;

use celeriac_app::task::PythonRules;
use celeriac_protocol::{Message, State, TaskException, Timestamp, Value};
use celeriac_store::{FailureReason, Publish, Route, Settle};

use super::{Ending, Rules, again};
use crate::death::ChildDeath;
use crate::outcome::{Failure, FailureCode, Outcome};
use crate::request::Request;

/// The header by which a message says that it has been delivered before, as kombu's Redis transport writes it.
///
/// Source: `kombu/transport/redis.py`, `Channel._do_restore_message`, kombu 5.7.0.
const REDELIVERED: &str = "redelivered";

/// Whether a message says of itself that it has been delivered before.
pub(crate) fn says_redelivered(message: &Message) -> bool {
    let mut headers = message.headers.other.iter();
    headers.any(|(name, value)| &**name == REDELIVERED && value.as_bool() == Some(true))
}

/// What becomes of a task whose child is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It is sent again, counted as a retry.
    Retried,
    /// Its message goes back, until it has been delivered too often.
    Returned,
    /// It has failed.
    Failed,
}

/// What becomes of a task whose child is gone: `acknowledged` if its message was settled before it ran.
pub(crate) fn loss(request: &Request, python: &PythonRules, acknowledged: bool) -> Loss {
    let is_exhausted = python.max_retries.is_some_and(|most| request.retries() >= most);
    match (python.retry_on_worker_lost, is_exhausted) {
        (true, false) => Loss::Retried,
        // What has been tried so often is not tried once more by its broker.
        (true, true) => Loss::Failed,
        (false, _) if request.comes_back && !acknowledged => Loss::Returned,
        (false, _) => Loss::Failed,
    }
}

/// The end of a task of a Celery application.
pub(super) fn ending(
    rules: &Rules,
    request: &Request,
    python: &PythonRules,
    outcome: Outcome,
    acknowledged: bool,
    now: Timestamp,
) -> Ending {
    match outcome {
        Outcome::Lost(death) => lost(rules, request, python, &death, acknowledged, now),
        Outcome::TimeLimitExceeded(limit) => timed_out(rules, request, python, limit, acknowledged),
        Outcome::Handled { state: State::Failure, .. } => Ending {
            settle: settle_failed(python),
            ..rules.plain_ending(request, outcome, acknowledged, now)
        },
        Outcome::Failure(failure) if failure.code.is_none() => {
            Ending { settle: settle_failed(python), ..Ending::failed(failure) }
        }
        // Its message is gone, so that nothing would come of it.
        Outcome::Rejected { requeue: true, reason } if acknowledged => {
            Ending::failed(Failure::rejected(reason))
        }
        Outcome::Rejected { requeue: true, .. } => {
            Ending { follow_ups: vec![sent_back(request)], ..Ending::unrecorded(Settle::Ack) }
        }
        Outcome::Returned if acknowledged => Ending::failed(Failure::lost_with_worker()),
        other => rules.plain_ending(request, other, acknowledged, now),
    }
}

fn lost(
    rules: &Rules,
    request: &Request,
    python: &PythonRules,
    death: &ChildDeath,
    acknowledged: bool,
    now: Timestamp,
) -> Ending {
    let failure = Failure::lost_child(death);
    match loss(request, python, acknowledged) {
        Loss::Retried => Ending {
            record: Some((State::Retry, failure.exception(), None)),
            follow_ups: vec![again(&request.delivery, python.default_retry_delay, now)],
            ..Ending::unrecorded(Settle::Ack)
        },
        Loss::Returned => rules.sent_back_or_kept(request, failure.exception(), death),
        Loss::Failed => Ending { settle: settle_failed(python), ..Ending::failed(failure) },
    }
}

/// A task that goes beyond its limit each time it is delivered is kept from the queue in the end, as is one that kills its
/// process each time.
fn timed_out(
    rules: &Rules,
    request: &Request,
    python: &PythonRules,
    limit: Duration,
    acknowledged: bool,
) -> Ending {
    let record = Some((State::Failure, time_limit_exceeded(limit), None));
    if acknowledged || python.acks_on_timeout {
        return Ending { record, ..Ending::unrecorded(Settle::Ack) };
    }
    if !rules.is_last(request) {
        return Ending::unrecorded(Settle::Requeue);
    }
    let deliveries = request.delivery.deliveries;
    let settle = Settle::Fail(FailureReason {
        code: FailureCode::DeliveryLimit.as_str().into(),
        text: format!(
            "delivered {deliveries} times, and beyond its hard time limit of {}s each time: \
             find out why before `failed requeue {}`",
            limit.as_secs_f64(),
            request.id
        )
        .into(),
        evidence: Value::Map(vec![("deliveries".into(), Value::Int(i64::from(deliveries)))]),
    });
    Ending { record, ..Ending::unrecorded(settle) }
}

/// `TimeLimitExceeded(limit)`, as Celery stores it: its argument is a number.
fn time_limit_exceeded(limit: Duration) -> Value {
    let mut exception = TaskException::new("TimeLimitExceeded", "");
    exception.exc_module = Some("billiard.exceptions".into());
    exception.exc_message = Value::List(vec![seconds(limit)]);
    exception.into_value()
}

/// As Celery's users write them: whole where they are whole.
pub(crate) fn seconds(time: Duration) -> Value {
    match i64::try_from(time.as_secs()) {
        Ok(whole) if time.subsec_nanos() == 0 => Value::Int(whole),
        _ => Value::Float(time.as_secs_f64()),
    }
}

/// What becomes of the late message of a task that has failed.
fn settle_failed(python: &PythonRules) -> Settle {
    if python.acks_on_failure {
        return Settle::Ack;
    }
    Settle::Fail(FailureReason {
        code: FailureCode::Rejected.as_str().into(),
        text: "the task has failed, and its application acknowledges no failures (acks_on_failure)".into(),
        evidence: Value::Map(Vec::new()),
    })
}

/// The same message behind all others, as kombu requeues it. A task may refuse its message as often as it likes: only
/// deliveries that ended in a death count.
fn sent_back(request: &Request) -> Publish {
    let mut message = request.delivery.message.clone();
    if !says_redelivered(&message) {
        message.headers.other.push((REDELIVERED.into(), Value::Bool(true)));
    }
    Publish { route: Route::to(&request.delivery.queue), message, due: None }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use celeriac_app::task::Acks;
    use celeriac_app::{TaskBody, TaskDefinition, TaskOptions};
    use celeriac_store::{Delivery, Finish};

    use super::*;
    use crate::death::DeathReason;
    use crate::testing::{NOW, delivery, request_of, rules};

    /// One call of a task with these options and rules, delivered and retried so often.
    #[derive(Clone, Default)]
    struct Case {
        late: bool,
        reject_on_worker_lost: bool,
        rules: PythonRules,
        deliveries: u32,
        retries: u32,
    }

    impl Case {
        fn end(self, outcome: Outcome) -> Finish {
            let mut options = TaskOptions::default();
            options.acks = Some(if self.late { Acks::Late } else { Acks::Early });
            options.reject_on_worker_lost = Some(self.reject_on_worker_lost);
            let body = TaskBody::Python(Arc::new(self.rules));
            let mut delivery = Delivery { deliveries: self.deliveries.max(1), ..delivery(1) };
            delivery.message.headers.retries = self.retries;
            let request = request_of(TaskDefinition::new("proj.add", body).with_options(options), delivery);
            rules().finish(&request, outcome, !self.late, NOW).0
        }
    }

    fn early() -> Case {
        Case::default()
    }

    fn late() -> Case {
        Case { late: true, ..Case::default() }
    }

    fn with(change: impl FnOnce(&mut PythonRules)) -> PythonRules {
        let mut rules = PythonRules::default();
        change(&mut rules);
        rules
    }

    fn lost() -> Outcome {
        Outcome::Lost(ChildDeath {
            child: "ForkPoolWorker-1".into(),
            pid: 7,
            reason: DeathReason::Signal(9),
            task_id: Some("call-1".into()),
            task_name: None,
            runtime: Duration::ZERO,
            resident_bytes: None,
            lived: Duration::ZERO,
        })
    }

    /// The stored state and exception, and how the message is settled: `-` if it was before.
    fn seen(finish: &Finish) -> (String, String) {
        let stored = finish.result.as_ref().map_or_else(String::new, |result| {
            let raised = TaskException::from_value(&result.record.result);
            format!("{} {}", result.record.state, raised.map_or_else(String::new, |it| it.exc_type.into()))
        });
        let settled = match &finish.settle {
            _ if finish.delivery.is_none() => "-".to_owned(),
            Settle::Ack => "ack".to_owned(),
            Settle::Requeue => "requeue".to_owned(),
            Settle::Release => "release".to_owned(),
            Settle::Fail(reason) => format!("fail {}", reason.code),
        };
        (stored, settled)
    }

    #[test]
    fn what_becomes_of_a_lost_child_is_for_the_application_to_say() {
        let retry = || with(|rules| rules.retry_on_worker_lost = true);
        let no_acks = || with(|rules| rules.acks_on_failure = false);
        let rejects = Case { reject_on_worker_lost: true, ..late() };
        let cases = [
            (early(), "FAILURE WorkerLostError", "-", 0),
            (Case { reject_on_worker_lost: true, ..early() }, "FAILURE WorkerLostError", "-", 0),
            (late(), "FAILURE WorkerLostError", "ack", 0),
            (Case { rules: no_acks(), ..late() }, "FAILURE WorkerLostError", "fail rejected", 0),
            (rejects.clone(), "", "requeue", 0),
            (Case { deliveries: 3, ..rejects.clone() }, "FAILURE WorkerLostError", "fail delivery-limit", 0),
            (Case { rules: retry(), ..early() }, "RETRY WorkerLostError", "-", 1),
            (Case { rules: retry(), ..rejects.clone() }, "RETRY WorkerLostError", "ack", 1),
            (Case { rules: retry(), retries: 3, ..rejects }, "FAILURE WorkerLostError", "ack", 0),
        ];
        for (number, (case, stored, settled, follow_ups)) in cases.into_iter().enumerate() {
            let finish = case.end(lost());
            assert_eq!(seen(&finish), (stored.to_owned(), settled.to_owned()), "case {number}");
            assert_eq!(finish.follow_ups.len(), follow_ups, "case {number}");
        }
    }

    #[test]
    fn a_lost_task_is_retried_as_any_other_and_after_the_delay_of_its_task() {
        let rules = with(|rules| {
            rules.retry_on_worker_lost = true;
            rules.default_retry_delay = Duration::from_secs(7);
        });
        let finish = Case { rules, retries: 1, ..early() }.end(lost());
        let headers = &finish.follow_ups[0].message.headers;
        assert_eq!(headers.retries, 2);
        assert_eq!(headers.eta, Some(NOW.saturating_add(Duration::from_secs(7))));
    }

    #[test]
    fn a_message_beyond_its_hard_limit_goes_back_only_if_its_application_says_so() {
        let over = || Outcome::TimeLimitExceeded(Duration::from_secs(2));
        let again = || with(|rules| rules.acks_on_timeout = false);
        let cases = [
            (early(), "FAILURE TimeLimitExceeded", "-"),
            (late(), "FAILURE TimeLimitExceeded", "ack"),
            (Case { rules: again(), ..early() }, "FAILURE TimeLimitExceeded", "-"),
            (Case { rules: again(), ..late() }, "", "requeue"),
            (
                Case { rules: again(), deliveries: 3, ..late() },
                "FAILURE TimeLimitExceeded",
                "fail delivery-limit",
            ),
        ];
        for (number, (case, stored, settled)) in cases.into_iter().enumerate() {
            assert_eq!(seen(&case.end(over())), (stored.to_owned(), settled.to_owned()), "case {number}");
        }
        let raised = late().end(over()).result.unwrap().record.result;
        let raised = TaskException::from_value(&raised).unwrap();
        assert_eq!(raised.exc_message, Value::List(vec![Value::Int(2)]), "its argument is the limit");
    }

    #[test]
    fn a_rejected_message_goes_back_uncounted_or_is_kept_among_the_failed_tasks() {
        let reject = |requeue| Outcome::Rejected { requeue, reason: "no".into() };
        let back = late().end(reject(true));
        assert_eq!(seen(&back), (String::new(), "ack".to_owned()));
        assert!(says_redelivered(&back.follow_ups[0].message));
        let gone = early().end(reject(true));
        assert_eq!(seen(&gone), ("FAILURE Reject".to_owned(), "-".to_owned()), "better than nothing");
        assert!(gone.follow_ups.is_empty());
        assert_eq!(
            seen(&late().end(reject(false))),
            ("FAILURE Reject".to_owned(), "fail rejected".to_owned())
        );
        assert_eq!(seen(&early().end(reject(false))), ("FAILURE Reject".to_owned(), "-".to_owned()));
    }

    #[test]
    fn a_failure_that_its_child_has_stored_is_settled_as_its_application_says() {
        let failed = || Outcome::Handled { state: State::Failure, record: None, said: None };
        assert_eq!(seen(&late().end(failed())), (String::new(), "ack".to_owned()));
        let rules = with(|rules| rules.acks_on_failure = false);
        let refused = Case { rules, ..late() }.end(failed());
        assert_eq!(seen(&refused), (String::new(), "fail rejected".to_owned()));
    }

    #[test]
    fn a_worker_that_ends_leaves_no_task_without_an_end() {
        assert_eq!(
            seen(&early().end(Outcome::Returned)),
            ("FAILURE WorkerLostError".to_owned(), "-".to_owned())
        );
        assert_eq!(seen(&late().end(Outcome::Returned)), (String::new(), "release".to_owned()));
    }
}
