//! One finished span, as plain data.

use std::borrow::Cow;

use celeriac_protocol::{Headers, TaskId, TaskName, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::SpanContext;

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A message was sent.
    Producer,
    /// A message was worked on.
    Consumer,
    /// Something within.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Attribute {
    /// A text.
    Text(Box<str>),
    /// A number.
    Int(i64),
    /// Several texts.
    Texts(Vec<Box<str>>),
}

/// Something that happened within a span, at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What.
    pub name: Cow<'static, str>,
    /// Details.
    pub attributes: Vec<(Cow<'static, str>, Attribute)>,
}

/// One finished span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// What it is called, such as `run/proj.add`.
    pub name: Box<str>,
    /// What it stands for.
    pub kind: Kind,
    /// The span itself.
    pub context: SpanContext,
    /// The span in which it happened, of the same trace; none for the first of a trace.
    pub parent: Option<u64>,
    /// When it began.
    #[serde(serialize_with = "micros", deserialize_with = "from_micros")]
    pub start: Timestamp,
    /// When it was over; not before it began.
    #[serde(serialize_with = "micros", deserialize_with = "from_micros")]
    pub end: Timestamp,
    /// What else is known of it.
    pub attributes: Vec<(Cow<'static, str>, Attribute)>,
    /// What happened at its end.
    pub events: Vec<Event>,
    /// Why it is an error, if it is one.
    pub error: Option<Box<str>>,
}

impl Span {
    /// A span of what was done to a call, `action/NAME`, with the attributes that all of these have.
    ///
    /// Source: `opentelemetry/instrumentation/celery/__init__.py`, opentelemetry-instrumentation-celery 0.66b2.
    pub fn of_task(
        action: &'static str,
        kind: Kind,
        context: SpanContext,
        (name, id): (&TaskName, Option<&TaskId>),
        (start, end): (Timestamp, Timestamp),
    ) -> Self {
        let mut span = Self {
            name: format!("{action}/{name}").into(),
            kind,
            context,
            parent: None,
            start,
            end: end.max(start),
            attributes: Vec::with_capacity(12),
            events: Vec::new(),
            error: None,
        };
        span.text("celery.action", action);
        span.text("celery.task_name", name.as_str());
        span.maybe("messaging.message.id", id.map(TaskId::as_str));
        span
    }

    /// Adds a text.
    pub fn text(&mut self, name: &'static str, text: impl Into<Box<str>>) {
        self.attributes.push((name.into(), Attribute::Text(text.into())));
    }

    /// Adds a text, if there is one.
    pub fn maybe(&mut self, name: &'static str, text: Option<&str>) {
        text.filter(|text| !text.is_empty()).into_iter().for_each(|text| self.text(name, text));
    }

    /// Adds a number.
    pub fn int(&mut self, name: &'static str, number: i64) {
        self.attributes.push((name.into(), Attribute::Int(number)));
    }

    /// Adds what the headers of a message say of a call.
    ///
    /// Source: `opentelemetry/instrumentation/celery/utils.py`, `set_attributes_from_context`,
    /// opentelemetry-instrumentation-celery 0.66b2. `celery.hostname` is the origin of the message there.
    pub fn headers(&mut self, headers: &Headers) {
        self.maybe("celery.hostname", headers.origin.as_deref());
        self.maybe("celery.eta", headers.eta.map(|time| time.to_string()).as_deref());
        self.maybe("celery.expires", headers.expires.map(|time| time.to_string()).as_deref());
        if headers.retries > 0 {
            self.int("celery.retries", i64::from(headers.retries));
        }
        let limits = headers.timelimit;
        if limits.hard.is_some() || limits.soft.is_some() {
            let text = |limit: Option<std::time::Duration>| {
                limit.map_or_else(String::new, |limit| limit.as_secs_f64().to_string()).into()
            };
            let both = Attribute::Texts(vec![text(limits.hard), text(limits.soft)]);
            self.attributes.push(("celery.timelimit".into(), both));
        }
    }

    /// Records an exception, and that the span is an error because of it.
    ///
    /// Source: `opentelemetry/sdk/trace/__init__.py`, `Span.record_exception`, opentelemetry-sdk 1.45.2.
    pub fn exception(&mut self, class: &str, message: &str, traceback: Option<&str>) {
        let mut attributes = vec![
            ("exception.type".into(), Attribute::Text(class.into())),
            ("exception.message".into(), Attribute::Text(message.into())),
            ("exception.escaped".into(), Attribute::Text("False".into())),
        ];
        attributes
            .extend(traceback.map(|text| ("exception.stacktrace".into(), Attribute::Text(text.into()))));
        self.events.push(Event { name: "exception".into(), attributes });
        self.error = Some(message.into());
    }
}

fn micros<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(time.as_micros())
}

fn from_micros<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    i64::deserialize(from).map(Timestamp::from_micros)
}
