//! Spans that tasks of a child make, handed to the parent, which exports them: so none is lost with a child.

use celeriac_app::trace::{Span, SpanSink};

use super::super::protocol::FromChild;
use super::connection::Sender;

/// Sends spans as frames.
pub(super) struct FrameSpans(pub(super) Sender);

impl SpanSink for FrameSpans {
    /// Waits for the parent to read, like everything that a child says.
    fn record(&self, span: Span) {
        // Texts and numbers are always JSON, and without a parent nobody wants it.
        if let Ok(json) = serde_json::to_vec(&span) {
            let _ = self.0.send(&FromChild::Span, json.into());
        }
    }
}
