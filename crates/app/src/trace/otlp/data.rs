//! Spans as the crate `opentelemetry_sdk` has them.

use std::time::{Duration, SystemTime};

use celeriac_protocol::Timestamp;
use opentelemetry::trace::{self as otel, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use crate::trace::{Attribute, Event, Kind, Span};

/// Who has made the spans: this library.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("celeriac").with_version(env!("CARGO_PKG_VERSION")).build()
}

pub(super) fn data(span: &Span, scope: &InstrumentationScope) -> SpanData {
    let flags = if span.context.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace_id, span_id) = (span.context.trace_id.into(), span.context.span_id.into());
    let mut events = SpanEvents::default();
    events.events = span.events.iter().map(|event| as_event(event, span.end)).collect();
    SpanData {
        span_context: otel::SpanContext::new(trace_id, span_id, flags, false, TraceState::default()),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span.parent.is_some() && span.kind == Kind::Consumer,
        span_kind: match span.kind {
            Kind::Producer => SpanKind::Producer,
            Kind::Consumer => SpanKind::Consumer,
            Kind::Internal => SpanKind::Internal,
        },
        name: span.name.to_string().into(),
        start_time: system_time(span.start),
        end_time: system_time(span.end),
        attributes: span.attributes.iter().map(|(name, value)| key_value(name, value)).collect(),
        dropped_attributes_count: 0,
        events,
        links: SpanLinks::default(),
        status: span.error.as_ref().map_or(Status::Unset, |why| Status::error(why.to_string())),
        instrumentation_scope: scope.clone(),
    }
}

fn as_event(event: &Event, at: Timestamp) -> otel::Event {
    let attributes = event.attributes.iter().map(|(name, value)| key_value(name, value)).collect();
    otel::Event::new(event.name.clone(), system_time(at), attributes, 0)
}

fn key_value(name: &str, value: &Attribute) -> KeyValue {
    let text = |text: &str| StringValue::from(text.to_owned());
    let value = match value {
        Attribute::Text(value) => Value::String(text(value)),
        Attribute::Int(value) => Value::I64(*value),
        Attribute::Texts(all) => Value::Array(Array::String(all.iter().map(|it| text(it)).collect())),
    };
    KeyValue::new(name.to_owned(), value)
}

/// A time before 1970, which only a wrong clock tells, is 1970.
fn system_time(time: Timestamp) -> SystemTime {
    let micros = u64::try_from(time.as_micros()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}
