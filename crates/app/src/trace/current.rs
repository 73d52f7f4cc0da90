//! The span in which the code of this thread runs, as the crate `opentelemetry` knows it.
//!
//! So spans that a task makes itself, or a library for it, lie in the span of its run, and what a program sends within a span
//! of its own lies in that. It works where the program has the same release of `opentelemetry` as this crate, and the
//! feature `otlp` is on; else nothing of this does anything.

use std::pin::Pin;
use std::task::{Context as Waker, Poll};

use super::SpanContext;

/// Makes a span the current one while it is polled.
pub struct InSpan<F> {
    span: SpanContext,
    future: Pin<Box<F>>,
}

impl<F: Future> InSpan<F> {
    /// Runs `future` in this span.
    pub fn new(span: SpanContext, future: F) -> Self {
        Self { span, future: Box::pin(future) }
    }
}

impl<F: Future> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, waker: &mut Waker<'_>) -> Poll<F::Output> {
        let _entered = entered(self.span);
        self.future.as_mut().poll(waker)
    }
}

/// Makes a span the current one of this thread until what is returned is dropped.
pub fn entered(span: SpanContext) -> Entered {
    Entered { _guard: imp::enter(span) }
}

/// Leaves the span when it is dropped.
#[must_use = "the span is current until this is dropped"]
pub struct Entered {
    _guard: imp::Guard,
}

/// The span in which this thread is.
pub(crate) fn current() -> Option<SpanContext> {
    imp::current()
}

#[cfg(feature = "otlp")]
mod imp {
    use opentelemetry::trace::{self as otel, TraceContextExt};
    use opentelemetry::{Context, ContextGuard};

    use crate::trace::SpanContext;

    pub(super) type Guard = ContextGuard;

    pub(super) fn enter(span: SpanContext) -> Guard {
        let flags = if span.sampled { otel::TraceFlags::SAMPLED } else { otel::TraceFlags::default() };
        let (trace_id, span_id) = (span.trace_id.into(), span.span_id.into());
        let span = otel::SpanContext::new(trace_id, span_id, flags, false, otel::TraceState::default());
        Context::current().with_remote_span_context(span).attach()
    }

    pub(super) fn current() -> Option<SpanContext> {
        let context = Context::current();
        if !context.has_active_span() {
            return None;
        }
        let span = context.span();
        let span = span.span_context();
        let bits = |bytes: otel::TraceId| u128::from_be_bytes(bytes.to_bytes());
        span.is_valid().then(|| SpanContext {
            trace_id: bits(span.trace_id()),
            span_id: u64::from_be_bytes(span.span_id().to_bytes()),
            sampled: span.is_sampled(),
        })
    }
}

#[cfg(not(feature = "otlp"))]
mod imp {
    use crate::trace::SpanContext;

    pub(super) struct Guard;

    pub(super) fn enter(_span: SpanContext) -> Guard {
        Guard
    }

    pub(super) fn current() -> Option<SpanContext> {
        None
    }
}

#[cfg(all(test, feature = "otlp"))]
mod tests {
    use super::*;

    const SPAN: SpanContext = SpanContext { trace_id: 7, span_id: 8, sampled: true };

    #[tokio::test]
    async fn a_future_is_in_its_span_while_it_is_polled() {
        let within = InSpan::new(SPAN, async {
            tokio::task::yield_now().await;
            current()
        });
        assert_eq!((within.await, current()), (Some(SPAN), None));
    }

    #[test]
    fn a_thread_is_in_a_span_until_it_leaves() {
        let entered = entered(SPAN);
        assert_eq!(current(), Some(SPAN));
        drop(entered);
        assert_eq!(current(), None);
    }
}
