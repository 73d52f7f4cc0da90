//! What an outcome means for the store: the result, the follow-ups, and how the delivery is settled. Pure.

pub(crate) mod python;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{ResultRecord, Signature, State, TaskException, TaskId, Timestamp, Value};
use celeriac_store::{Delivery, FailureReason, Finish, Publish, Route, Settle, StoreResult};

use crate::death::ChildDeath;
use crate::outcome::{Failure, FailureCode, Outcome, Revoked};
use crate::request::{Request, Stores};
use crate::workflow::{End, Ended, Fault, may_follow};

/// The rules of this worker that decide how outcomes are stored.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// How long results are kept.
    pub result_expires: Duration,
    /// How often a task is delivered before it is taken to kill its workers.
    pub delivery_limit: u32,
}

impl Rules {
    /// The end of a request that had a task to run, and what it means for the workflow of the task; `acknowledged` if its
    /// delivery was settled before it ran.
    pub(crate) fn finish(
        &self,
        request: &Request,
        outcome: Outcome,
        acknowledged: bool,
        now: Timestamp,
    ) -> (Finish, Option<Box<Ended>>) {
        let left = request.trail.take();
        let mut ending = self.ending(request, outcome, acknowledged, now);
        let ended = ending.ended(&request.delivery, left.additions);
        let stored = ending.record.filter(|(state, ..)| match request.stores {
            Stores::Everything => true,
            Stores::Failures => *state == State::Failure,
            Stores::Nothing => false,
        });
        let result = stored.map(|(state, result, traceback)| {
            let mut stored = self.store(&request.delivery, request.id.clone(), state, result, traceback, now);
            stored.record.children = Value::List(left.children);
            stored
        });
        let encoded = ending.encoded.map(|(state, bytes)| {
            StoreResult::encoded(request.id.clone(), state, bytes, self.result_expires)
        });
        let finish = Finish {
            delivery: (!acknowledged).then_some(request.delivery.tag),
            settle: ending.settle,
            result: result.or(encoded),
            follow_ups: ending.follow_ups,
            workflow: None,
        };
        (finish, ended)
    }

    /// The end of a delivery that is no task this worker could run: kept unharmed among the failed tasks.
    pub(crate) fn refuse(
        &self,
        delivery: Delivery,
        refusal: Refusal,
        now: Timestamp,
    ) -> (Finish, Option<Box<Ended>>) {
        let id = delivery.message.headers.id.clone();
        let exception = exception(refusal.exc_type, Some(refusal.exc_module()), &refusal.text);
        let finish = Finish {
            delivery: Some(delivery.tag),
            settle: Settle::Fail(FailureReason {
                code: refusal.code.as_str().into(),
                text: refusal.text,
                evidence: refusal.evidence,
            }),
            result: id.map(|id| self.store(&delivery, id, State::Failure, exception.clone(), None, now)),
            follow_ups: Vec::new(),
            workflow: None,
        };
        let fault = Fault { state: State::Failure, exception, traceback: None };
        let ended = may_follow(&delivery.message).then(|| {
            let (delivery, end) = (Arc::new(delivery), End::Failure(fault));
            Box::new(Ended { delivery, end, additions: Vec::new() })
        });
        (finish, ended)
    }

    /// A progress report, to be stored as it is.
    pub(crate) fn report(&self, task_id: TaskId, state: State, meta: Value) -> StoreResult {
        let record = ResultRecord::new(task_id, state, meta, None);
        StoreResult::new(record, self.result_expires)
    }

    fn ending(&self, request: &Request, outcome: Outcome, acknowledged: bool, now: Timestamp) -> Ending {
        match request.task.body.python() {
            Some(python) => python::ending(self, request, python, outcome, acknowledged, now),
            None => self.plain_ending(request, outcome, acknowledged, now),
        }
    }

    fn plain_ending(
        &self,
        request: &Request,
        outcome: Outcome,
        acknowledged: bool,
        now: Timestamp,
    ) -> Ending {
        match outcome {
            Outcome::Success(value) => Ending::ack(State::Success, value),
            Outcome::Failure(failure) => Ending::failed(failure),
            Outcome::Retry { delay, failure } => Ending {
                record: Some((State::Retry, failure.exception(), failure.traceback)),
                follow_ups: vec![again(&request.delivery, delay, now)],
                ..Ending::unrecorded(Settle::Ack)
            },
            Outcome::Ignored | Outcome::Handled { record: None, .. } => Ending::unrecorded(Settle::Ack),
            Outcome::Handled { state, record: Some(bytes), .. } => {
                Ending { encoded: Some((state, bytes)), ..Ending::unrecorded(Settle::Ack) }
            }
            Outcome::Replaced(call) => Ending { replaced: Some(call), ..Ending::unrecorded(Settle::Ack) },
            Outcome::Rejected { requeue: true, .. } => Ending::unrecorded(Settle::Requeue),
            Outcome::Rejected { requeue: false, reason } => Ending::failed(Failure::rejected(reason)),
            Outcome::Revoked(revoked) => Ending::ack(State::Revoked, revoked_exception(revoked)),
            Outcome::TimeLimitExceeded(limit) => Ending::failed(Failure::time_limit(limit)),
            Outcome::Lost(death) if acknowledged || !request.comes_back => {
                Ending::failed(Failure::lost(&death))
            }
            Outcome::Lost(death) => {
                self.sent_back_or_kept(request, Failure::lost(&death).exception(), &death)
            }
            Outcome::Returned if acknowledged => Ending::failed(Failure::stopped()),
            Outcome::Returned => Ending::unrecorded(Settle::Release),
        }
    }

    /// Whether the message of a request will not be tried again when the process of its task dies.
    pub(crate) fn is_last(&self, request: &Request) -> bool {
        request.delivery.deliveries >= self.delivery_limit
    }

    /// A task whose process died is tried again, until it has been delivered too often.
    fn sent_back_or_kept(&self, request: &Request, exception: Value, death: &ChildDeath) -> Ending {
        let deliveries = request.delivery.deliveries;
        if !self.is_last(request) {
            return Ending::unrecorded(Settle::Requeue);
        }
        let text = format!(
            "delivered {deliveries} times, and the last time its process {pid} {reason}: \
             find out why before `failed requeue {id}`",
            pid = death.pid,
            reason = death.reason,
            id = request.id,
        );
        let settle = Settle::Fail(FailureReason {
            code: FailureCode::DeliveryLimit.as_str().into(),
            text: text.into(),
            evidence: evidence(death, deliveries),
        });
        Ending { record: Some((State::Failure, exception, None)), ..Ending::unrecorded(settle) }
    }

    fn store(
        &self,
        delivery: &Delivery,
        task_id: TaskId,
        state: State,
        result: Value,
        traceback: Option<Box<str>>,
        now: Timestamp,
    ) -> StoreResult {
        let headers = &delivery.message.headers;
        let mut other = Vec::new();
        if let Some(group) = &headers.group {
            other.push(("group_id".into(), Value::String(group.clone())));
        }
        if let Some(parent) = &headers.parent_id {
            other.push(("parent_id".into(), Value::String(parent.as_str().into())));
        }
        let record =
            ResultRecord { traceback, other, ..ResultRecord::new(task_id, state, result, Some(now)) };
        StoreResult::new(record, self.result_expires)
    }
}

/// Why a delivery is refused before it becomes a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    /// The stable code.
    pub code: FailureCode,
    /// The exception that readers of the result see.
    pub exc_type: &'static str,
    /// What is wrong and what to do.
    pub text: Box<str>,
    /// Facts.
    pub evidence: Value,
}

impl Refusal {
    /// Where Celery has the class of the exception.
    pub(crate) fn exc_module(&self) -> &'static str {
        if self.exc_type == "WorkerLostError" { "billiard.exceptions" } else { "celery.exceptions" }
    }
}

/// What one outcome asks of the store.
struct Ending {
    record: Option<(State, Value, Option<Box<str>>)>,
    /// A record that the process of the task has made.
    encoded: Option<(State, Bytes)>,
    settle: Settle,
    follow_ups: Vec<Publish>,
    replaced: Option<Box<Signature>>,
}

impl Ending {
    fn unrecorded(settle: Settle) -> Self {
        Self { record: None, encoded: None, settle, follow_ups: Vec::new(), replaced: None }
    }

    fn ack(state: State, result: Value) -> Self {
        Self { record: Some((state, result, None)), ..Self::unrecorded(Settle::Ack) }
    }

    /// What this end means for the workflow of the task, if it has one and this is its end.
    fn ended(&mut self, delivery: &Arc<Delivery>, additions: Vec<Signature>) -> Option<Box<Ended>> {
        let end = match (self.replaced.take(), &self.record) {
            (Some(call), _) => End::Replaced(call),
            (None, Some((state, result, traceback))) if state.is_ready() && may_follow(&delivery.message) => {
                match state {
                    State::Success => End::Success(result.clone()),
                    _ => End::Failure(Fault {
                        state: state.clone(),
                        exception: result.clone(),
                        traceback: traceback.clone(),
                    }),
                }
            }
            _ => return None,
        };
        Some(Box::new(Ended { delivery: Arc::clone(delivery), end, additions }))
    }

    fn failed(failure: Failure) -> Self {
        let settle = match failure.code {
            None => Settle::Ack,
            Some(code) => Settle::Fail(FailureReason {
                code: code.as_str().into(),
                text: failure.message.clone(),
                evidence: Value::Map(Vec::new()),
            }),
        };
        let record = Some((State::Failure, failure.exception(), failure.traceback));
        Self { record, ..Self::unrecorded(settle) }
    }
}

/// The same call once more, after a delay, counted as a retry.
fn again(delivery: &Delivery, delay: Duration, now: Timestamp) -> Publish {
    let mut message = delivery.message.clone();
    let due = (!delay.is_zero()).then(|| now.saturating_add(delay));
    message.headers.retries += 1;
    message.headers.eta = due;
    Publish { route: Route::to(&delivery.queue), message, due }
}

/// The message of a delivery, moved into the schedule as it is.
pub(crate) fn postpone(delivery: &Delivery, due: Timestamp) -> Finish {
    Finish {
        delivery: Some(delivery.tag),
        settle: Settle::Ack,
        result: None,
        follow_ups: vec![Publish {
            route: Route::to(&delivery.queue),
            message: delivery.message.clone(),
            due: Some(due),
        }],
        workflow: None,
    }
}

/// A delivery settled with nothing stored.
pub(crate) fn settle(delivery: &Delivery, settle: Settle) -> Finish {
    Finish { delivery: Some(delivery.tag), settle, result: None, follow_ups: Vec::new(), workflow: None }
}

/// Why a revoked task has no value.
pub(crate) fn revoked_exception(revoked: Revoked) -> Value {
    exception("TaskRevokedError", Some("celery.exceptions"), revoked.reason())
}

/// An exception as data, out of a class of this module.
pub(crate) fn exception(exc_type: &str, exc_module: Option<&str>, message: &str) -> Value {
    TaskException { exc_module: exc_module.map(Into::into), ..TaskException::new(exc_type, message) }
        .into_value()
}

fn evidence(death: &ChildDeath, deliveries: u32) -> Value {
    let integer = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    Value::Map(vec![
        ("deliveries".into(), Value::Int(i64::from(deliveries))),
        ("reason".into(), Value::String(death.reason.code().into())),
        ("what".into(), Value::String(death.reason.to_string().into())),
        ("child".into(), Value::String(death.child.clone())),
        ("pid".into(), Value::Int(i64::from(death.pid))),
        ("resident_bytes".into(), death.resident_bytes.map_or(Value::Null, integer)),
        ("runtime_seconds".into(), Value::Float(death.runtime.as_secs_f64())),
    ])
}

#[cfg(test)]
mod tests {
    use celeriac_app::TaskOptions;
    use celeriac_app::task::Acks;

    use super::*;
    use crate::death::DeathReason;
    use crate::testing::{NOW, delivery, request, request_of, rules, task};

    fn finish(request: &Request, outcome: Outcome, acknowledged: bool, now: Timestamp) -> Finish {
        rules().finish(request, outcome, acknowledged, now).0
    }

    fn death() -> ChildDeath {
        ChildDeath {
            child: "child-1".into(),
            pid: 7,
            reason: DeathReason::Signal(9),
            task_id: None,
            task_name: None,
            runtime: Duration::from_secs(2),
            resident_bytes: Some(1024),
            lived: Duration::from_secs(3),
        }
    }

    fn failed() -> Failure {
        Failure::new("ValueError", None, "bad")
    }

    #[test]
    fn a_success_is_stored_and_acknowledged() {
        let finish = finish(&request(delivery(1)), Outcome::Success(Value::Int(3)), false, NOW);
        let record = finish.result.unwrap().record;
        assert_eq!(
            (record.state, record.result, record.date_done),
            (State::Success, Value::Int(3), Some(NOW))
        );
        assert_eq!(finish.settle, Settle::Ack);
    }

    #[test]
    fn a_retry_is_the_same_call_for_later() {
        let outcome = Outcome::Retry { delay: Duration::from_secs(5), failure: failed() };
        let finish = finish(&request(delivery(1)), outcome, false, NOW);
        let again = &finish.follow_ups[0];
        assert_eq!(again.due, Some(NOW.saturating_add(Duration::from_secs(5))));
        assert_eq!(again.message.headers.eta, again.due);
        assert_eq!(again.message.headers.id.as_ref().unwrap().as_str(), "call-1");
        assert_eq!(again.message.headers.retries, 1);
        assert_eq!(finish.settle, Settle::Ack);
        assert_eq!(finish.result.unwrap().record.state, State::Retry);
    }

    #[test]
    fn a_lost_task_is_requeued_below_the_limit_and_fails_at_it() {
        let first = finish(&request(delivery(1)), Outcome::Lost(death()), false, NOW);
        assert_eq!((first.settle, first.result), (Settle::Requeue, None));

        let third = request(Delivery { deliveries: 3, ..delivery(1) });
        let last = finish(&third, Outcome::Lost(death()), false, NOW);
        let Settle::Fail(reason) = last.settle else { panic!("{:?}", last.settle) };
        assert_eq!(&*reason.code, "delivery-limit");
        assert_eq!(reason.evidence.get("pid"), Some(&Value::Int(7)));
        assert!(reason.text.contains("signal 9"), "{}", reason.text);
        assert_eq!(last.result.unwrap().record.state, State::Failure);
    }

    #[test]
    fn a_returned_task_goes_back_uncounted() {
        let finish = finish(&request(delivery(1)), Outcome::Returned, false, NOW);
        assert_eq!((finish.settle, finish.result), (Settle::Release, None));
    }

    #[test]
    fn what_was_acknowledged_early_is_not_settled_again() {
        let mut options = TaskOptions::default();
        options.acks = Some(Acks::Early);
        let request = request_of(task().with_options(options), delivery(1));
        let finish = finish(&request, Outcome::Lost(death()), true, NOW);
        assert_eq!(finish.delivery, None);
        assert_eq!(finish.result.unwrap().record.state, State::Failure);
    }

    #[test]
    fn ignored_results_are_not_stored_but_failures_may_be() {
        let mut options = TaskOptions::default();
        options.ignore_result = Some(true);
        options.store_errors_even_if_ignored = Some(true);
        let request = request_of(task().with_options(options), delivery(1));
        assert_eq!(finish(&request, Outcome::Success(Value::Null), false, NOW).result, None);
        assert!(finish(&request, Outcome::Failure(failed()), false, NOW).result.is_some());
    }

    #[test]
    fn an_ordinary_failure_is_done_with_and_a_coded_one_is_kept() {
        let request = request(delivery(1));
        assert_eq!(finish(&request, Outcome::Failure(failed()), false, NOW).settle, Settle::Ack);
        let coded = failed().with_code(FailureCode::WrongArguments);
        let Settle::Fail(reason) = finish(&request, Outcome::Failure(coded), false, NOW).settle else {
            panic!("kept")
        };
        assert_eq!(&*reason.code, "wrong-arguments");
    }
}
