//! From a signature to the message that is published.

use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{
    Arguments, Compression, Headers, Message, Properties, QueueName, Serializer, TaskId, TaskName,
    TimeLimits, Timestamp, Value, body, repr,
};
use celeriac_store::{Publish, Route};

use crate::canvas::Parent;
use crate::client::origin;
use crate::producer::SendError;
use crate::signals::{self, Publishing};
use crate::signature::SendOptions;
use crate::task::TaskOptions;
use crate::{App, Settings, Signature};

/// The header with the time at which a task was first sent, in microseconds since the Unix epoch. Retries keep it, so
/// that time to resolution can be measured.
pub const SENT_AT_HEADER: &str = "celeriac_sent_at_us";

/// The longest text of arguments in the headers, in bytes.
///
/// Source: `celery/app/amqp.py`, `AMQP.argsrepr_maxsize`, Celery 5.7.0.
const REPR_LIMIT: usize = 1024;

/// When a task was first sent, if its producer says so.
pub fn sent_at(headers: &Headers) -> Option<Timestamp> {
    let (_, micros) = headers.other.iter().find(|(name, _)| **name == *SENT_AT_HEADER)?;
    micros.as_i64().map(Timestamp::from_micros)
}

/// A call on its way into a message.
pub(crate) struct Outgoing<'a> {
    pub(crate) task: TaskName,
    pub(crate) arguments: Arguments,
    /// The options of the task itself, where the call comes from the task; else those of the registered one count.
    pub(crate) defaults: Option<&'static TaskOptions>,
    pub(crate) call: Option<&'a SendOptions>,
    pub(crate) place: Option<Place>,
}

/// Where a call stands in its workflow, and what only workflows say of a call.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) group: Option<Box<str>>,
    pub(crate) group_index: Option<i64>,
    pub(crate) root_id: Option<TaskId>,
    pub(crate) parent_id: Option<TaskId>,
    pub(crate) retries: u32,
    pub(crate) replaced_task_nesting: i64,
    pub(crate) reply_to: Option<Box<str>>,
    pub(crate) delivery_mode: Option<u8>,
    /// The name that routes look at, where it is not the task's own.
    pub(crate) route_name: Option<Box<str>>,
    /// The stamps, in the order of their names' list.
    pub(crate) stamps: Vec<(Box<str>, Value)>,
    /// Other AMQP properties.
    pub(crate) properties: Vec<(Box<str>, Value)>,
}

/// Makes messages of signatures: what all calls of one sending have in common, looked up once.
pub(crate) struct Composer<'a> {
    app: &'a App,
    parent: Option<Parent>,
    now: Timestamp,
    default_queue: QueueName,
    announce: bool,
}

impl<'a> Composer<'a> {
    pub(crate) fn new(app: &'a App, parent: Option<Parent>) -> Self {
        Self {
            app,
            parent,
            now: app.client().now(),
            default_queue: app.default_queue().clone(),
            announce: app.signals().is_connected(signals::before_task_publish),
        }
    }

    pub(crate) fn compose<T>(&self, mut signature: Signature<T>) -> Result<(TaskId, Publish), SendError> {
        if let Some(source) = signature.error.take() {
            return Err(SendError::Encode { task: signature.task, source });
        }
        if signature.composed.is_some() {
            return Err(self.refuse(&signature.task, "a composition is more than one message"));
        }
        let Signature { task, mut arguments, defaults, mut options, .. } = signature;
        let mut place = None;
        if let Some(call) = &mut options {
            arguments.embed.callbacks.append(&mut call.link);
            arguments.embed.errbacks.append(&mut call.link_error);
            let (stamps, route_name) = (std::mem::take(&mut call.stamps), call.route_name.take());
            if !stamps.is_empty() || route_name.is_some() {
                place = Some(Place { stamps, route_name, ..Place::default() });
            }
        }
        self.compose_call(Outgoing { task, arguments, defaults, call: options.as_deref(), place })
    }

    /// Source: `celery/app/amqp.py`, `AMQP.as_task_v2`, and `celery/app/task.py`, `Task.apply_async`, Celery 5.7.0.
    /// What the call says goes before what the task says, and that before the routes and the settings.
    pub(crate) fn compose_call(&self, out: Outgoing<'_>) -> Result<(TaskId, Publish), SendError> {
        let registered = match out.defaults {
            Some(_) => None,
            None => self.app.find_task(out.task.as_str()),
        };
        let task = out.defaults.or(registered.map(|task| &task.options));
        let options = Merged { call: out.call, task, settings: self.app.config() };

        let id = out.call.and_then(|call| call.task_id.clone()).unwrap_or_else(TaskId::fresh);
        let route_name = out.place.as_ref().and_then(|place| place.route_name.as_deref());
        let (queue, priority) = self.route(&out.task, route_name, &options)?;
        let due = options.due(self.now);
        let coding = options.coding().map_err(|reason| self.refuse(&out.task, reason))?;
        let body = body::encode(&out.arguments, coding.0, coding.1)
            .map_err(|source| SendError::Encode { task: out.task.clone(), source })?;
        let timelimit = self.time_limits(&out.task, &options)?;
        let headers = Headers { eta: due, timelimit, ..self.headers(&out, &options, &id, coding.1) };
        let mut message = self.message(headers, &id, priority, coding.0, body);
        if let Some(place) = out.place {
            place.complete(&mut message);
        }
        let publish = self.announced(Publish { route: Route::to(&queue), message, due }, &out.task);
        Ok((id, publish))
    }

    /// Whether 0 is the highest priority in the options of signatures: on Redis, where kombu counts down.
    pub(crate) fn counts_down(&self) -> bool {
        self.app.counts_down()
    }

    pub(crate) fn result_lifetime(&self) -> Duration {
        self.app.config().result_lifetime()
    }

    fn route(
        &self,
        task: &TaskName,
        route_name: Option<&str>,
        options: &Merged<'_>,
    ) -> Result<(QueueName, Option<u8>), SendError> {
        let settings = options.settings;
        let target = settings.task_routes.find(route_name.unwrap_or(task.as_str()));
        let queue = options.pick(|call| call.queue.clone(), |task| task.queue.clone());
        let queue = queue
            .or_else(|| target.and_then(|target| target.queue.clone()))
            .unwrap_or_else(|| self.default_queue.clone());
        let priority = options.pick(|call| call.priority, |task| task.priority);
        let priority =
            priority.or_else(|| target.and_then(|target| target.priority)).or(settings.task_default_priority);
        match priority {
            Some(priority) if priority > 9 => {
                Err(self.refuse(task, format!("priority {priority} is above 9")))
            }
            _ => Ok((queue, priority)),
        }
    }

    /// The limits of the call, or of the task.
    fn time_limits(&self, task: &TaskName, options: &Merged<'_>) -> Result<TimeLimits, SendError> {
        let hard = options.pick(|call| call.time_limit, |task| task.time_limit);
        let soft = options.pick(|call| call.soft_time_limit, |task| task.soft_time_limit);
        match (soft, hard) {
            (Some(soft), Some(hard)) if soft > hard => Err(self
                .refuse(task, format!("its soft time limit of {soft:?} is above the hard one of {hard:?}"))),
            _ => Ok(TimeLimits { hard, soft }),
        }
    }

    fn headers(
        &self,
        out: &Outgoing<'_>,
        options: &Merged<'_>,
        id: &TaskId,
        compression: Option<Compression>,
    ) -> Headers {
        let call = options.call;
        let mut other = Vec::with_capacity(1 + call.map_or(0, |call| call.headers.len()));
        other.push((SENT_AT_HEADER.into(), Value::Int(self.now.as_micros())));
        other.extend(call.into_iter().flat_map(|call| call.headers.iter().cloned()));
        Headers {
            lang: Some("rust".into()),
            task: Some(out.task.clone()),
            id: Some(id.clone()),
            shadow: call.and_then(|call| call.shadow.clone()),
            expires: options.expires(self.now),
            root_id: Some(self.parent.as_ref().map_or(id, |parent| &parent.root_id).clone()),
            parent_id: self.parent.as_ref().map(|parent| parent.id.clone()),
            argsrepr: Some(repr::args(&out.arguments.args, REPR_LIMIT).into()),
            kwargsrepr: Some(repr::kwargs(&out.arguments.kwargs, REPR_LIMIT).into()),
            origin: Some(origin().into()),
            ignore_result: Some(
                options
                    .pick(|call| call.ignore_result, |task| task.ignore_result)
                    .unwrap_or(options.settings.task_ignore_result),
            ),
            compression: compression.map(|compression| compression.content_type().into()),
            other,
            ..Headers::default()
        }
    }

    fn message(
        &self,
        headers: Headers,
        id: &TaskId,
        priority: Option<u8>,
        serializer: Serializer,
        body: Bytes,
    ) -> Message {
        Message {
            headers,
            properties: Properties {
                correlation_id: Some(id.as_str().into()),
                priority,
                delivery_mode: Some(2),
                ..Properties::default()
            },
            content_type: serializer.content_type().into(),
            content_encoding: serializer.content_encoding().into(),
            body,
        }
    }

    /// Lets the handlers of `before_task_publish` change the message.
    fn announced(&self, mut publish: Publish, task: &TaskName) -> Publish {
        if self.announce {
            let queue = publish.route.queue().clone();
            let publishing = Publishing::new(task.clone(), queue, publish.message);
            publish.message =
                self.app.signals().send_through(signals::before_task_publish, publishing).into_message();
        }
        publish
    }

    fn refuse(&self, task: &TaskName, reason: impl Into<String>) -> SendError {
        SendError::Option { task: task.clone(), reason: reason.into() }
    }
}

impl Place {
    /// Adds to a message what is known of its place.
    fn complete(self, message: &mut Message) {
        let headers = &mut message.headers;
        headers.group = self.group;
        headers.group_index = self.group_index;
        headers.retries = self.retries;
        headers.replaced_task_nesting = self.replaced_task_nesting;
        headers.root_id = self.root_id.or(headers.root_id.take());
        headers.parent_id = self.parent_id.or(headers.parent_id.take());
        if !self.stamps.is_empty() {
            let names = self.stamps.iter().map(|(name, _)| Value::from(&**name)).collect();
            headers.other.push(("stamped_headers".into(), Value::List(names)));
            headers.other.push(("stamps".into(), Value::Map(self.stamps)));
        }
        let properties = &mut message.properties;
        properties.reply_to = self.reply_to;
        properties.delivery_mode = self.delivery_mode.or(properties.delivery_mode);
        properties.other.extend(self.properties);
    }
}

/// The options of one call over those of its task over the settings.
struct Merged<'a> {
    call: Option<&'a SendOptions>,
    task: Option<&'a TaskOptions>,
    settings: &'a Settings,
}

impl<'a> Merged<'a> {
    fn pick<V>(
        &self,
        of_call: impl FnOnce(&'a SendOptions) -> Option<V>,
        of_task: impl FnOnce(&'a TaskOptions) -> Option<V>,
    ) -> Option<V> {
        self.call.and_then(of_call).or_else(|| self.task.and_then(of_task))
    }

    fn due(&self, now: Timestamp) -> Option<Timestamp> {
        let after = |countdown: Duration| (!countdown.is_zero()).then(|| now.saturating_add(countdown));
        let of_call = self.call.and_then(|call| match (call.eta, call.countdown) {
            (Some(eta), _) => Some(Some(eta)),
            (None, Some(countdown)) => Some(after(countdown)),
            (None, None) => None,
        });
        of_call.unwrap_or_else(|| self.task.and_then(|task| task.countdown).and_then(after))
    }

    fn expires(&self, now: Timestamp) -> Option<Timestamp> {
        let at = self.call.and_then(|call| call.expires_at);
        at.or_else(|| {
            self.pick(|call| call.expires, |task| task.expires).map(|after| now.saturating_add(after))
        })
    }

    fn coding(&self) -> Result<(Serializer, Option<Compression>), String> {
        let serializer = self.pick(|call| call.serializer.as_deref(), |task| task.serializer.as_deref());
        let serializer = serializer.unwrap_or(&self.settings.task_serializer);
        let serializer = Serializer::from_name(serializer)
            .ok_or_else(|| format!("serializer {serializer:?} is not known: use \"json\" or \"msgpack\""))?;
        let name = self.pick(|call| call.compression.as_deref(), |task| task.compression.as_deref());
        let Some(name) = name.or(self.settings.task_compression.as_deref()) else {
            return Ok((serializer, None));
        };
        match Compression::from_name(name) {
            Some(compression) => Ok((serializer, Some(compression))),
            None => Err(format!("compression {name:?} is not known: use \"gzip\", \"bzip2\" or \"zstd\"")),
        }
    }
}
