//! What to do with a delivery before it becomes a request. Pure.

use std::sync::Arc;

use celeriac_app::task::Isolation;
use celeriac_app::{App, TaskBody, TaskDefinition, nearest_name};
use celeriac_protocol::{TaskId, Timestamp, Value};
use celeriac_store::Delivery;

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
    let Some(task) = app.find_task(name.as_str()) else {
        return Admission::Refuse(unknown(app, name.as_str()));
    };
    let (id, task) = (id.clone(), Arc::clone(task));
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
        (_, Isolation::Process) => PoolKind::Prefork,
        (TaskBody::Async(_), Isolation::None) => PoolKind::Async,
        (TaskBody::Blocking(_), Isolation::None) => PoolKind::Threads,
    }
}

/// A message that has been delivered too often without anybody having said how it ended.
pub(crate) fn over_limit(delivery: &Delivery, limit: u32, starts: u32) -> Refusal {
    let text = format!(
        "delivered {deliveries} times, and no worker lived to say how it ended (the limit is {limit}): \
         find out what it does to its worker before you requeue it",
        deliveries = delivery.deliveries,
    );
    let evidence = Value::Map(vec![
        ("deliveries".into(), Value::Int(i64::from(delivery.deliveries))),
        ("starts".into(), Value::Int(i64::from(starts))),
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

/// The known task that the name most likely means: by the whole name, else by that of the function, which may have moved.
fn nearest<'a>(app: &'a App, name: &str) -> Option<&'a str> {
    /// Names come from outside, and finding near ones takes time by their length.
    const LONGEST: usize = 200;
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
