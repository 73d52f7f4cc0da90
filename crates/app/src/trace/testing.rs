//! What the unit tests of several modules need.

use std::sync::{Arc, Mutex};

use celeriac_protocol::Timestamp;

use super::{Sampler, Span, SpanSink, Tracer};

/// The present of unit tests.
pub(super) const NOW: Timestamp = Timestamp::from_micros(1_795_435_200_000_000);

/// Keeps what is recorded.
#[derive(Clone, Default)]
pub(super) struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    pub(super) fn take(&self) -> Vec<Span> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl SpanSink for Spans {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

pub(super) fn collecting() -> (Tracer, Spans) {
    let spans = Spans::default();
    (Tracer::new(Sampler::default(), spans.clone()), spans)
}
