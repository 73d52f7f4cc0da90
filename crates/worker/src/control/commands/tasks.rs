//! What the worker does and has before it: `active`, `reserved`, `scheduled`, `query_task`.

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{Message, TaskId, TaskName, Timestamp, Value, body};

use crate::control::Held;
use crate::control::panel::{Panel, Refusal};
use crate::request::RequestState;

/// The most scheduled tasks that are listed.
const LISTED: usize = 1000;

/// Arguments in a larger body are told as text, as their message has them.
const LARGEST_BODY: usize = 64 << 10;

/// What stock workers give as the priority of every task that waits for its time.
const SCHEDULED_PRIORITY: i64 = 6;

impl Panel {
    /// The tasks that run. With `safe`, their arguments as text.
    pub(in crate::control) async fn active(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let safe = command.argument("safe").and_then(Value::as_bool).unwrap_or(false);
        self.listed("active", safe).await
    }

    /// The tasks that have been taken and wait for a slot.
    pub(in crate::control) async fn reserved(&self) -> Result<Value, Refusal> {
        self.listed("reserved", false).await
    }

    async fn listed(&self, state: &str, safe: bool) -> Result<Value, Refusal> {
        let held = self.inquirer.requests().await?;
        let of_state = held.iter().filter(|held| state_of(held) == state);
        Ok(Value::List(of_state.map(|held| self.info(held, safe)).collect()))
    }

    /// The tasks that wait for their time in the queues of this worker. The store holds them for whoever comes first, so
    /// every worker on a queue tells the same.
    pub(in crate::control) async fn scheduled(&self) -> Result<Value, Refusal> {
        let waiting = self.store.schedule().scheduled(LISTED).await?;
        let open = self.intake.open();
        let ours = waiting.into_iter().filter(|waiting| open.contains(&waiting.queue));
        let told = ours.map(|waiting| {
            let request = self.described(&waiting.message, waiting.queue.as_str(), false);
            Value::Map(vec![
                ("eta".into(), waiting.due.to_string().into()),
                ("priority".into(), Value::Int(SCHEDULED_PRIORITY)),
                ("request".into(), request),
            ])
        });
        Ok(Value::List(told.collect()))
    }

    /// Those of these tasks that the worker holds, each with its state.
    pub(in crate::control) async fn query_task(&self, command: &ControlCommand) -> Result<Value, Refusal> {
        let ids = command.argument("ids").ok_or_else(|| Refusal::missing("query_task", &["ids"]))?;
        let held = self.inquirer.requests().await?;
        let asked = |held: &&Held| names(ids, held.request.id.as_str());
        let told = held.iter().filter(asked).map(|held| {
            let known = vec![state_of(held).into(), self.info(held, false)];
            (held.request.id.as_str().into(), Value::List(known))
        });
        Ok(Value::Map(told.collect()))
    }

    /// What is told of one request.
    ///
    /// Source: `Request.info`, `celery/worker/request.py`, Celery 5.7.0.
    fn info(&self, held: &Held, safe: bool) -> Value {
        let delivery = &held.request.delivery;
        let mut info = self.described(&delivery.message, delivery.queue.as_str(), safe);
        let Value::Map(entries) = &mut info else { return info };
        for (name, value) in entries {
            match &**name {
                "time_start" => *value = held.started.map_or(Value::Null, seconds),
                "acknowledged" => *value = held.acknowledged.into(),
                "worker_pid" => *value = held.pid.map_or(Value::Null, Value::from),
                "delivery_info" => {
                    if let Value::Map(delivered) = value {
                        delivered.retain(|(name, _)| &**name != "redelivered");
                        delivered.push(("redelivered".into(), delivery.redelivered.into()));
                    }
                }
                _ => {}
            }
        }
        info
    }

    /// What a message tells of its task.
    fn described(&self, message: &Message, queue: &str, safe: bool) -> Value {
        let headers = &message.headers;
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        let task = headers.task.as_ref().map(TaskName::as_str);
        let shown = headers.shadow.as_deref().filter(|shadow| !shadow.is_empty()).or(task);
        let (args, kwargs) = arguments(message, safe);
        let priority = message.properties.priority;
        let priority = priority.map(|priority| self.store.broker().priority_in_celery(priority));
        let delivery_info = Value::Map(vec![
            ("exchange".into(), "".into()),
            ("routing_key".into(), queue.into()),
            ("priority".into(), priority.map_or(Value::Null, Value::from)),
            ("redelivered".into(), false.into()),
        ]);
        Value::Map(vec![
            ("id".into(), text(headers.id.as_ref().map(TaskId::as_str))),
            ("name".into(), text(shown)),
            ("args".into(), args),
            ("kwargs".into(), kwargs),
            ("type".into(), text(task)),
            ("hostname".into(), self.options.node_name.as_str().into()),
            ("time_start".into(), Value::Null),
            ("acknowledged".into(), false.into()),
            ("delivery_info".into(), delivery_info),
            ("worker_pid".into(), Value::Null),
        ])
    }
}

/// Where a request is, in Celery's words.
///
/// Source: `_state_of_task`, `celery/worker/control.py`, Celery 5.7.0.
fn state_of(held: &Held) -> &'static str {
    match held.state {
        RequestState::Running => "active",
        RequestState::Reserved | RequestState::Preparing | RequestState::Submitted => "reserved",
        RequestState::Finishing | RequestState::Settled => "ready",
    }
}

/// Whether an id, or a list of them, names this one.
fn names(ids: &Value, id: &str) -> bool {
    match ids {
        Value::List(ids) => ids.iter().any(|one| one.as_str() == Some(id)),
        one => one.as_str() == Some(id),
    }
}

/// The arguments of a call as they are; or as text where that is asked for, or nobody here can read them.
fn arguments(message: &Message, safe: bool) -> (Value, Value) {
    let is_small = message.body.len() <= LARGEST_BODY;
    if !safe
        && is_small
        && let Ok(call) = body::decode_call(message, LARGEST_BODY)
    {
        return (Value::List(call.args), Value::Map(call.kwargs));
    }
    let text = |text: &Option<Box<str>>| Value::from(text.as_deref().unwrap_or_default());
    (text(&message.headers.argsrepr), text(&message.headers.kwargsrepr))
}

fn seconds(time: Timestamp) -> Value {
    Value::Float(time.as_micros() as f64 / 1e6)
}
