//! From a task of a composition to its message.

use std::time::Duration;

use celeriac_protocol::{Arguments, Embed, Signature, TaskId, TaskName, Timestamp, Value};
use celeriac_store::Publish;

use crate::canvas::node::refuse;
use crate::canvas::options::Options;
use crate::composer::{Composer, Outgoing, Place};
use crate::producer::SendError;
use crate::signature::SendOptions;

impl Composer<'_> {
    /// The message of a task with the options that Celery's `apply_async` takes.
    ///
    /// Source: `celery/app/base.py`, `Celery.send_task`, and `celery/app/amqp.py`, `AMQP.send_task_message`, Celery 5.7.0.
    pub(super) fn compose_wire(
        &self,
        task: TaskName,
        args: Vec<Value>,
        kwargs: Vec<(Box<str>, Value)>,
        options: Options,
    ) -> Result<(TaskId, Publish), SendError> {
        let reader = Reader { task: &task, stamps: options.stamps(), counts_down: self.counts_down() };
        let (mut call, mut place) = (SendOptions::default(), Place::default());
        let mut embed = Embed {
            chord: options.chord.as_deref().map(|chord| Box::new(chord.clone())),
            chain: options.chain.as_deref().map(<[Signature]>::to_vec).unwrap_or_default(),
            ..Embed::default()
        };
        for (name, value) in options.into_iter() {
            reader.read(&name, value, &mut call, &mut place, &mut embed)?;
        }
        let order = |name: &str| reader.stamps.iter().position(|stamp| **stamp == *name);
        place.stamps.sort_by_key(|(name, _)| order(name));
        // As Celery has it: a countdown goes before an ETA.
        if call.countdown.is_some_and(|countdown| !countdown.is_zero()) {
            call.eta = None;
        }
        let arguments = Arguments { args, kwargs, embed };
        self.compose_call(Outgoing { task, arguments, defaults: None, call: Some(&call), place: Some(place) })
    }
}

/// Reads the options of one call.
struct Reader<'a> {
    task: &'a TaskName,
    stamps: Vec<Box<str>>,
    /// Whether 0 is the highest priority, as kombu has it on Redis.
    counts_down: bool,
}

impl Reader<'_> {
    fn read(
        &self,
        name: &str,
        value: Value,
        call: &mut SendOptions,
        place: &mut Place,
        embed: &mut Embed,
    ) -> Result<(), SendError> {
        if self.stamps.iter().any(|stamp| **stamp == *name) {
            place.stamps.push((name.into(), value));
            return Ok(());
        }
        match name {
            "link" => embed.callbacks = self.signatures(name, value)?,
            "link_error" => embed.errbacks = self.signatures(name, value)?,
            "group_id" => place.group = text(&value),
            "group_index" => place.group_index = value.as_i64(),
            "root_id" => place.root_id = text(&value).map(|id| TaskId::new(&*id)),
            "parent_id" => place.parent_id = text(&value).map(|id| TaskId::new(&*id)),
            "retries" => place.retries = value.as_i64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0),
            "replaced_task_nesting" => place.replaced_task_nesting = value.as_i64().unwrap_or(0),
            "reply_to" => place.reply_to = text(&value),
            "route_name" => place.route_name = text(&value),
            "delivery_mode" => {
                place.delivery_mode = match &value {
                    Value::String(mode) if **mode == *"transient" => Some(1),
                    mode => mode.as_i64().and_then(|mode| u8::try_from(mode).ok()),
                }
            }
            _ if CONSUMED.contains(&name) => {}
            _ => match self.call_option(name, &value, call)? {
                true => {}
                false => place.properties.push((name.into(), value)),
            },
        }
        Ok(())
    }

    /// Reads an option that calls outside of compositions have too; answers whether it is one.
    fn call_option(&self, name: &str, value: &Value, call: &mut SendOptions) -> Result<bool, SendError> {
        match name {
            "task_id" => call.task_id = text(value).map(|id| TaskId::new(&*id)),
            // Without a queue, the exchange that leads straight to one names it in its key.
            "queue" => call.queue = self.queue(value).map(|queue| (&*queue).into()),
            "priority" => call.priority = Some(self.priority(value)?),
            "countdown" => call.countdown = self.seconds(name, value)?,
            "eta" => call.eta = Some(self.moment(name, value)?),
            "expires" => match value {
                Value::Int(_) | Value::Float(_) => call.expires = self.seconds(name, value)?,
                moment => call.expires_at = Some(self.moment(name, moment)?),
            },
            "serializer" => call.serializer = text(value),
            "compression" => call.compression = text(value),
            "ignore_result" => call.ignore_result = value.as_bool(),
            "time_limit" => call.time_limit = self.seconds(name, value)?,
            "soft_time_limit" => call.soft_time_limit = self.seconds(name, value)?,
            "shadow" => call.shadow = text(value),
            "headers" => {
                let headers = value.as_map().unwrap_or_default().iter();
                call.headers.extend(headers.filter(|(name, _)| !OWN_HEADERS.contains(&&**name)).cloned());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn signatures(&self, name: &str, value: Value) -> Result<Vec<Signature>, SendError> {
        let values = match value {
            Value::List(values) => values,
            single => vec![single],
        };
        let signatures = values.into_iter().map(Signature::from_value);
        signatures.collect::<Result<_, _>>().map_err(|error| refuse(self.task, format!("{name}: {error}")))
    }

    /// A queue is its name, or kombu's description of it.
    fn queue(&self, value: &Value) -> Option<Box<str>> {
        text(value).or_else(|| value.get("name").and_then(text))
    }

    fn priority(&self, value: &Value) -> Result<u8, SendError> {
        let priority = value.as_i64().ok_or_else(|| refuse(self.task, "its priority is no whole number"))?;
        // As kombu has it: what is beyond the highest counts as that.
        let priority = u8::try_from(priority.clamp(0, HIGHEST.into())).unwrap_or(HIGHEST);
        Ok(if self.counts_down { HIGHEST.saturating_sub(priority) } else { priority })
    }

    fn seconds(&self, name: &str, value: &Value) -> Result<Option<Duration>, SendError> {
        let seconds = value.as_f64().ok_or_else(|| refuse(self.task, format!("{name} is no number")))?;
        // What lies in the past is due now.
        Duration::try_from_secs_f64(seconds.max(0.0))
            .map(Some)
            .map_err(|error| refuse(self.task, format!("{name}: {error}")))
    }

    fn moment(&self, name: &str, value: &Value) -> Result<Timestamp, SendError> {
        let text = value.as_str().ok_or_else(|| refuse(self.task, format!("{name} is no date")))?;
        text.parse().map_err(|error| refuse(self.task, format!("{name}: {error}")))
    }
}

/// The highest priority.
const HIGHEST: u8 = 9;

/// Options that say how the sender sends, and have no place in a message; and those read elsewhere.
const CONSUMED: [&str; 24] = [
    "add_to_parent",
    "argsrepr",
    "chain",
    "chord",
    "confirm_timeout",
    "connection",
    "declare",
    "event_dispatcher",
    "exchange",
    "exchange_type",
    "immediate",
    "kwargsrepr",
    "mandatory",
    "origin",
    "producer",
    "publisher",
    "result_cls",
    "retry",
    "retry_policy",
    "router",
    "routing_key",
    "stamped_headers",
    "timeout",
    "use_link",
];

/// Headers that the message has of its own, which those of the application may not replace.
const OWN_HEADERS: [&str; 20] = [
    "argsrepr",
    "compression",
    "eta",
    "expires",
    "group",
    "group_index",
    "id",
    "ignore_result",
    "kwargsrepr",
    "lang",
    "origin",
    "parent_id",
    "replaced_task_nesting",
    "retries",
    "root_id",
    "shadow",
    "stamped_headers",
    "stamps",
    "task",
    "timelimit",
];

fn text(value: &Value) -> Option<Box<str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        _ => None,
    }
}
