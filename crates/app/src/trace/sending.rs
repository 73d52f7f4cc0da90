//! Spans of messages on their way to the store.

use celeriac_protocol::{Headers, Timestamp, Value};
use celeriac_store::Publish;

use super::context::COMPANIONS;
use super::{Kind, Span, SpanContext, Tracer};

/// The task that sends something, as far as traces are concerned.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The span in which it is sent; none if it is the first of a trace.
    pub span: Option<SpanContext>,
    /// What goes along from the message of the task: `tracestate` and `baggage`.
    companions: Vec<(Box<str>, Value)>,
}

impl Origin {
    /// A span outside of any task.
    pub fn span(span: Option<SpanContext>) -> Self {
        Self { span, companions: Vec::new() }
    }

    /// The run of a task with these headers. Without a span of its own it hands on the one that it was sent in.
    pub fn task(run: Option<SpanContext>, headers: &Headers) -> Self {
        let goes_along = |(name, _): &&(Box<str>, Value)| COMPANIONS.contains(&&**name);
        let companions = headers.other.iter().filter(goes_along).cloned().collect();
        Self { span: run.or_else(|| SpanContext::of(headers)), companions }
    }

    /// Puts this span into a message that is sent without one of its own.
    pub fn hand_on(&self, publish: &mut Publish) {
        if let Some(span) = self.span {
            self.put(span, &mut publish.message.headers);
        }
    }

    fn put(&self, span: SpanContext, headers: &mut Headers) {
        span.put_into(headers);
        for (name, value) in &self.companions {
            if !headers.other.iter().any(|(other, _)| other == name) {
                headers.other.push((name.clone(), value.clone()));
            }
        }
    }
}

/// The spans of messages that are on their way. Dropped, they are forgotten: nothing was sent.
#[derive(Clone, Debug)]
#[must_use = "spans of messages are recorded when they have been sent"]
pub struct Sending {
    tracer: Tracer,
    spans: Vec<Span>,
}

impl Tracer {
    /// Gives each message a span of its own and puts that into its headers, in the place of what they carried.
    ///
    /// Where `origin` has no span, the one that a message carries already is the parent: a program may hand on what it has
    /// from elsewhere.
    ///
    /// Source: `opentelemetry/instrumentation/celery/__init__.py`, `CeleryInstrumentor._trace_before_publish`,
    /// opentelemetry-instrumentation-celery 0.66b2.
    pub fn sending<'a>(
        &self,
        messages: impl IntoIterator<Item = &'a mut Publish>,
        origin: &Origin,
        now: Timestamp,
    ) -> Sending {
        let mut spans = Vec::new();
        for publish in messages {
            let headers = &mut publish.message.headers;
            let parent = origin.span.or_else(|| SpanContext::of(headers));
            let context = self.begin(parent);
            origin.put(context, headers);
            if let (true, Some(name)) = (context.sampled, &headers.task) {
                let call = (name, headers.id.as_ref());
                let mut span = Span::of_task("apply_async", Kind::Producer, context, call, (now, now));
                span.parent = parent.map(|parent| parent.span_id);
                span.text("messaging.destination_kind", "queue");
                span.text("messaging.destination", publish.route.queue().as_str());
                spans.push(span);
            }
        }
        Sending { tracer: self.clone(), spans }
    }
}

impl Sending {
    /// Adds those of another.
    pub fn append(&mut self, other: Self) {
        self.spans.extend(other.spans);
    }

    /// The messages have been sent.
    pub fn sent(self, now: Timestamp) {
        for mut span in self.spans {
            span.end = now.max(span.start);
            self.tracer.record(span);
        }
    }

    /// The store has not taken the messages, or nobody knows.
    pub fn failed(self, error: &dyn std::error::Error, now: Timestamp) {
        for mut span in self.spans {
            span.end = now.max(span.start);
            span.exception("celeriac::SendError", &error.to_string(), None);
            self.tracer.record(span);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::testing::{NOW, collecting};
    use crate::{App, Signature};

    const PARENT: SpanContext = SpanContext { trace_id: 7, span_id: 8, sampled: true };

    fn message() -> Publish {
        App::new("test").compose(None, Signature::<()>::named("proj.add", vec![], vec![])).unwrap().1
    }

    #[test]
    fn a_message_carries_the_span_in_which_it_was_sent() {
        let (tracer, spans) = collecting();
        let mut publish = message();
        tracer.sending([&mut publish], &Origin::span(Some(PARENT)), NOW).sent(NOW);
        let spans = spans.take();
        assert_eq!(SpanContext::of(&publish.message.headers), Some(spans[0].context));
        assert_eq!((spans[0].context.trace_id, spans[0].parent), (7, Some(8)));
        assert_eq!((&*spans[0].name, spans[0].kind), ("apply_async/proj.add", Kind::Producer));
    }

    #[test]
    fn a_span_that_a_program_has_put_there_is_the_parent() {
        let (tracer, spans) = collecting();
        let mut publish = message();
        PARENT.put_into(&mut publish.message.headers);
        tracer.sending([&mut publish], &Origin::default(), NOW).sent(NOW);
        assert_eq!(spans.take()[0].parent, Some(8));
    }

    #[test]
    fn what_is_not_sampled_is_handed_on_and_not_recorded() {
        let (tracer, spans) = collecting();
        let mut publish = message();
        let parent = SpanContext { sampled: false, ..PARENT };
        tracer.sending([&mut publish], &Origin::span(Some(parent)), NOW).sent(NOW);
        let carried = SpanContext::of(&publish.message.headers).unwrap();
        assert_eq!((carried.trace_id, carried.sampled), (7, false));
        assert_ne!(carried.span_id, 8);
        assert!(spans.take().is_empty());
    }

    #[test]
    fn state_and_baggage_go_along_unless_the_message_has_its_own() {
        let (tracer, _) = collecting();
        let all = [("tracestate", "a=1".into()), ("baggage", "b=2".into()), ("mine", Value::Int(1))];
        let other = all.map(|(name, value)| (name.into(), value)).into();
        let headers = Headers { other, ..Headers::default() };
        let origin = Origin::task(Some(PARENT), &headers);
        let mut publish = message();
        publish.message.headers.other = vec![("baggage".into(), "c=3".into())];
        tracer.sending([&mut publish], &origin, NOW).sent(NOW);
        let get = |name: &str| {
            let mut all = publish.message.headers.other.iter();
            all.find(|(other, _)| **other == *name).map(|(_, value)| value.clone())
        };
        assert_eq!(get("tracestate"), Some("a=1".into()));
        assert_eq!(get("baggage"), Some("c=3".into()));
        assert_eq!(get("mine"), None);
    }

    #[test]
    fn a_message_that_was_not_sent_says_why() {
        let (tracer, spans) = collecting();
        let mut publish = message();
        let error = std::io::Error::other("no room");
        tracer.sending([&mut publish], &Origin::default(), NOW).failed(&error, NOW);
        let spans = spans.take();
        assert_eq!((spans[0].error.as_deref(), &*spans[0].events[0].name), (Some("no room"), "exception"));
    }
}
