//! What to do with a delivery before it becomes a request. Pure.

use std::sync::Arc;

use celeriac_app::task::Isolation;
use celeriac_app::{App, TaskBody, TaskDefinition, nearest_name};
use celeriac_protocol::{TaskId, Timestamp, Value};
use celeriac_store::Delivery;

use crate::builtins;
use crate::finish::Refusal;
use crate::outcome::{FailureCode, Revoked};
use crate::pool::PoolKind;

/// What to do with a delivery.
#[derive(Debug)]
pub(crate) enum Admission {
    /// Run it.
    Run {
        /// The call.
        id: TaskId,
        /// The task.
        task: Arc<TaskDefinition>,
        /// Where.
        pool: PoolKind,
    },
    /// It must not run.
    Revoked {
        /// The call.
        id: TaskId,
        /// The task.
        task: Arc<TaskDefinition>,
        /// Why.
        why: Revoked,
    },
    /// It came before its time and goes into the schedule.
    Postpone(Timestamp),
    /// Nobody here can run it.
    Refuse(Refusal),
}

/// Decides what to do with a delivery.
pub(crate) fn admit(app: &App, delivery: &Delivery, revoked: bool, now: Timestamp) -> Admission {
    let headers = &delivery.message.headers;
    let (Some(name), Some(id)) = (&headers.task, &headers.id) else {
        return Admission::Refuse(not_a_task());
    };
    let Some(task) = builtins::find(app, name, &delivery.message) else {
        return Admission::Refuse(unknown(app, name.as_str()));
    };
    let id = id.clone();
    if revoked {
        return Admission::Revoked { id, task, why: Revoked::BeforeStart };
    }
    if headers.expires.is_some_and(|expires| expires <= now) {
        return Admission::Revoked { id, task, why: Revoked::Expired };
    }
    if let Some(eta) = headers.eta.filter(|eta| *eta > now) {
        return Admission::Postpone(eta);
    }
    let pool = pool_of(&task);
    Admission::Run { id, task, pool }
}

/// The pool that a task runs on.
pub(crate) fn pool_of(task: &TaskDefinition) -> PoolKind {
    match (&task.body, task.options.isolation) {
        (TaskBody::Python(rules), _) if rules.is_coroutine => PoolKind::Loops,
        (TaskBody::Python(_), _) => PoolKind::Python,
        (_, Isolation::Process) => PoolKind::Prefork,
        (TaskBody::Async(_), Isolation::None) => PoolKind::Async,
        (TaskBody::Blocking(_), Isolation::None) => PoolKind::Threads,
    }
}

/// A message that has been delivered too often without anybody having said how it ended.
pub(crate) fn over_limit(delivery: &Delivery, limit: u32) -> Refusal {
    let text = format!(
        "delivered {before} times without an end (the limit is {limit}): its workers died, or it asked to be requeued. \
         Find out why before you requeue it",
        before = delivery.deliveries.saturating_sub(1),
    );
    let evidence = Value::Map(vec![
        ("deliveries".into(), Value::Int(i64::from(delivery.deliveries))),
        ("reason".into(), Value::String("worker-died".into())),
    ]);
    Refusal { code: FailureCode::DeliveryLimit, exc_type: "WorkerLostError", text: text.into(), evidence }
}

fn not_a_task() -> Refusal {
    Refusal {
        code: FailureCode::NotATask,
        exc_type: "InvalidTaskError",
        text: "the message names no task or no id: whatever sent it is no Celery producer".into(),
        evidence: Value::Map(Vec::new()),
    }
}

fn unknown(app: &App, name: &str) -> Refusal {
    let nearest = nearest(app, name);
    let name = clipped(name);
    let hint = nearest.map_or_else(String::new, |known| format!(" Did the sender mean {known:?}?"));
    let text = format!(
        "no task named {name:?} is registered in this worker.{hint} \
         Register it, or send it to a queue whose workers know it; then requeue this message"
    );
    let evidence = Value::Map(vec![
        ("task".into(), Value::String(name.into())),
        ("nearest".into(), nearest.map_or(Value::Null, |known| Value::String(known.into()))),
    ]);
    Refusal { code: FailureCode::UnknownTask, exc_type: "NotRegistered", text: text.into(), evidence }
}

/// Names come from outside. The longest part of one that is looked at and shown, in bytes.
const LONGEST: usize = 200;

fn clipped(name: &str) -> &str {
    &name[..name.floor_char_boundary(LONGEST)]
}

/// The known task that the name most likely means: by the whole name, else by that of the function, which may have moved.
fn nearest<'a>(app: &'a App, name: &str) -> Option<&'a str> {
    let function = |name: &'a str| name.rsplit('.').next().unwrap_or(name);
    if name.len() > LONGEST {
        return None;
    }
    let known = || app.task_list().map(|task| task.name.as_str());
    nearest_name(name, known()).or_else(|| {
        let wanted = name.rsplit('.').next().unwrap_or(name);
        known().find(|known| function(known) == wanted)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use celeriac_app::TaskOptions;

    use super::*;
    use crate::testing::{NOW, delivery, task};

    fn admitted(change: impl FnOnce(&mut Delivery), revoked: bool) -> Admission {
        let mut delivery = delivery(1);
        change(&mut delivery);
        admit(&App::new("test").task(task()), &delivery, revoked, NOW)
    }

    #[test]
    fn a_message_without_a_name_or_an_id_is_no_task() {
        for admission in [
            admitted(|delivery| delivery.message.headers.task = None, false),
            admitted(|delivery| delivery.message.headers.id = None, false),
        ] {
            assert!(matches!(admission, Admission::Refuse(refusal) if refusal.code == FailureCode::NotATask));
        }
    }

    #[test]
    fn a_revoked_task_does_not_run_whatever_its_time() {
        let eta = Some(NOW.saturating_add(Duration::from_secs(9)));
        let admission = admitted(|delivery| delivery.message.headers.eta = eta, true);
        assert!(matches!(admission, Admission::Revoked { why: Revoked::BeforeStart, .. }));
    }

    #[test]
    fn a_task_whose_expiry_has_come_does_not_run() {
        let admission = admitted(|delivery| delivery.message.headers.expires = Some(NOW), false);
        assert!(matches!(admission, Admission::Revoked { why: Revoked::Expired, .. }));
    }

    #[test]
    fn a_task_before_its_time_is_postponed_and_one_on_time_runs() {
        let eta = NOW.saturating_add(Duration::from_secs(9));
        let early = admitted(|delivery| delivery.message.headers.eta = Some(eta), false);
        assert!(matches!(early, Admission::Postpone(due) if due == eta));
        let due = admitted(|delivery| delivery.message.headers.eta = Some(NOW), false);
        assert!(matches!(due, Admission::Run { pool: PoolKind::Async, .. }));
    }

    #[test]
    fn a_function_that_moved_is_suggested() {
        let name =
            |delivery: &mut Delivery| delivery.message.headers.task = Some("elsewhere.of.us.add".into());
        let Admission::Refuse(refusal) = admitted(name, false) else { panic!("nobody knows it") };
        assert!(refusal.text.contains("proj.add"), "{}", refusal.text);
    }

    #[test]
    fn an_endless_name_is_refused_in_few_words() {
        let endless = "x".repeat(10_000_000);
        let name = |delivery: &mut Delivery| delivery.message.headers.task = Some(endless.as_str().into());
        let Admission::Refuse(refusal) = admitted(name, false) else { panic!("nobody knows it") };
        assert!(refusal.text.len() < 1000);
    }

    #[test]
    fn isolation_decides_the_pool_before_the_kind_of_function() {
        let mut options = TaskOptions::default();
        options.isolation = Isolation::Process;
        assert_eq!(pool_of(&task().with_options(options)), PoolKind::Prefork);
        let blocking = TaskBody::blocking(|_, _, _| Ok(Value::Null));
        assert_eq!(pool_of(&TaskDefinition::new("plain", blocking)), PoolKind::Threads);
    }
}
