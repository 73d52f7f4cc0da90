//! Tracing across programs: spans of sending, waiting and running, in the words of OpenTelemetry's instrumentation of Celery.
//!
//! - [`SpanContext`] is what goes from program to program: the message header `traceparent`;
//! - [`Span`] is one finished span, as plain data;
//! - [`Tracer`] decides what is recorded and hands spans to a [`SpanSink`];
//! - [`sending`] makes the spans of messages on their way;
//! - with the feature `otlp`, `Tracer::from_env` makes a tracer that exports to a collector.
//!
//! An [`App`](crate::App) without a tracer does none of it.

mod context;
mod current;
#[cfg(feature = "otlp")]
mod otlp;
mod sampler;
mod sending;
mod span;
#[cfg(test)]
mod testing;
mod tracer;

pub use context::{SpanContext, TRACEPARENT};
pub(crate) use current::current;
pub use current::{Entered, InSpan, entered};
#[cfg(feature = "otlp")]
pub use otlp::EnvError;
pub use sampler::Sampler;
pub use sending::{Origin, Sending};
pub use span::{Attribute, Event, Kind, Span};
pub use tracer::{SpanSink, Tracer};
