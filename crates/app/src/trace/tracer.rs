//! What decides which spans are recorded, and hands them on.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Sampler, Span, SpanContext};

/// Takes finished spans.
pub trait SpanSink: Send + Sync {
    /// Takes a span. Never blocks: what cannot be kept is dropped.
    fn record(&self, span: Span);

    /// Waits until all spans that were taken before are where they belong, for this long at most; false if some are not.
    fn flush(&self, within: Duration) -> bool {
        let _ = within;
        true
    }

    /// Why the last spans that were sent did not get where they belong; nothing if they did, or none were sent.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Decides which spans are recorded, and hands them to its sink. Cheap to clone.
#[derive(Clone)]
pub struct Tracer(Arc<Inner>);

struct Inner {
    sampler: Sampler,
    sink: Box<dyn SpanSink>,
}

impl Tracer {
    /// A tracer that hands to `sink` what `sampler` chooses.
    pub fn new(sampler: Sampler, sink: impl SpanSink + 'static) -> Self {
        Self(Arc::new(Inner { sampler, sink: Box::new(sink) }))
    }

    /// A new span in `parent`, or the first one of a new trace.
    pub fn begin(&self, parent: Option<SpanContext>) -> SpanContext {
        let trace_id = parent.map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id);
        let sampled = self.0.sampler.samples(trace_id, parent);
        SpanContext { trace_id, span_id: fastrand::u64(1..), sampled }
    }

    /// Hands on a span, if it is one of those that are recorded.
    pub fn record(&self, span: Span) {
        if span.context.sampled {
            self.0.sink.record(span);
        }
    }

    /// Waits until all spans recorded before are where they belong, for this long at most; false if some are not.
    ///
    /// Blocks its thread.
    pub fn flush(&self, within: Duration) -> bool {
        self.0.sink.flush(within)
    }

    /// Why the last spans that were sent did not get where they belong; nothing if they did, or none were sent.
    pub fn trouble(&self) -> Option<String> {
        self.0.sink.trouble()
    }
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracer").field("sampler", &self.0.sampler).finish_non_exhaustive()
    }
}
