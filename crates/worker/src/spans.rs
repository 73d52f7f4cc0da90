//! What has happened to a request, as spans: that it waited, and that it ran. Pure.

use celeriac_app::sent_at;
use celeriac_app::trace::{Kind, Span, SpanContext, Tracer};
use celeriac_protocol::{State, Timestamp, Value, repr};

use crate::executor::state_of;
use crate::outcome::{Failure, Outcome};
use crate::request::Request;

/// A request that has run and ended.
pub(crate) struct Past<'a> {
    pub(crate) request: &'a Request,
    pub(crate) outcome: &'a Outcome,
    /// Whether it has failed with an outcome that came from outside of it.
    pub(crate) fails: bool,
    pub(crate) started: Timestamp,
    pub(crate) ended: Timestamp,
}

impl Past<'_> {
    /// The spans: `wait/NAME`, which is ours, and `run/NAME`, if this worker makes that.
    pub(crate) fn spans(&self, tracer: &Tracer) -> Vec<Span> {
        let sender = SpanContext::of(&self.request.delivery.message.headers);
        let mut spans = Vec::with_capacity(2);
        // Where nothing is known of its sender, it belongs to the run.
        if let Some(parent) = sender.or(self.request.span) {
            spans.push(self.wait(tracer.begin(Some(parent)), parent));
        }
        spans.extend(self.request.span.map(|context| self.run(context, sender)));
        spans
    }

    fn wait(&self, context: SpanContext, parent: SpanContext) -> Span {
        let request = self.request;
        let since = self.waited_since().min(self.started);
        let mut span = Span::of_task(
            "wait",
            Kind::Internal,
            context,
            (request.name(), Some(&request.id)),
            (since, self.started),
        );
        span.parent = Some(parent.span_id);
        span.text("messaging.destination", request.delivery.queue.as_str());
        span
    }

    /// Since when it could have run, as far as is known: since its ETA, since it was sent, or since it was taken in.
    fn waited_since(&self) -> Timestamp {
        let headers = &self.request.delivery.message.headers;
        let received = self.request.received.unwrap_or(self.started);
        if self.request.delivery.deliveries > 1 {
            return received;
        }
        // A retry has the time at which it was sent first.
        let sent = sent_at(headers).filter(|_| headers.retries == 0);
        headers.eta.max(sent).unwrap_or(received)
    }

    fn run(&self, context: SpanContext, parent: Option<SpanContext>) -> Span {
        let request = self.request;
        let (headers, properties) = (&request.delivery.message.headers, &request.delivery.message.properties);
        let call = (request.name(), Some(&request.id));
        let mut span = Span::of_task("run", Kind::Consumer, context, call, (self.started, self.ended));
        span.parent = parent.map(|parent| parent.span_id);
        span.maybe("messaging.conversation_id", properties.correlation_id.as_deref());
        span.text("messaging.destination", request.delivery.queue.as_str());
        span.text("celery.delivery_info", self.delivery_info());
        span.maybe("celery.reply_to", properties.reply_to.as_deref());
        span.headers(headers);
        self.end(&mut span);
        span
    }

    /// As `str` shows it in Python.
    fn delivery_info(&self) -> String {
        let delivery = &self.request.delivery;
        let priority = delivery.message.properties.priority.map_or(Value::Null, |it| Value::Int(it.into()));
        repr::repr(&Value::Map(vec![
            ("exchange".into(), Value::from("")),
            ("routing_key".into(), Value::from(delivery.queue.as_str())),
            ("priority".into(), priority),
            ("redelivered".into(), Value::Bool(delivery.redelivered)),
        ]))
    }

    fn end(&self, span: &mut Span) {
        let state = match self.outcome {
            Outcome::Handled { state, .. } => state.clone(),
            outcome => state_of(outcome),
        };
        span.text("celery.state", state.as_str());
        match self.outcome {
            Outcome::Failure(failure) => raised(span, failure),
            Outcome::Retry { delay, failure } => {
                // Source: `celery/exceptions.py`, `Retry.__str__`, Celery 5.7.0.
                let cause = crate::events::raised(failure);
                span.text("celery.retry.reason", format!("Retry in {}s: {cause}", delay.as_secs_f64()));
            }
            Outcome::TimeLimitExceeded(limit) => raised(span, &Failure::time_limit(*limit)),
            Outcome::Lost(death) => raised(span, &Failure::lost(death)),
            Outcome::Revoked(why) => raised(span, &Failure::revoked(*why)),
            Outcome::Returned if self.fails => raised(span, &Failure::stopped()),
            Outcome::Returned => span.error = Some("given back: the worker stops".into()),
            Outcome::Handled { said: Some(said), .. } if state == State::Failure => {
                // As its child shows it: `ValueError('no')`.
                let class = said.text.split('(').next().unwrap_or_default();
                span.exception(class, &said.text, said.traceback.as_deref());
            }
            Outcome::Handled { said: Some(said), .. } if state == State::Retry => {
                span.text("celery.retry.reason", said.text.clone());
            }
            Outcome::Rejected { .. }
            | Outcome::Success(_)
            | Outcome::Ignored
            | Outcome::Replaced(_)
            | Outcome::Handled { .. } => {}
        }
    }
}

fn raised(span: &mut Span, failure: &Failure) {
    let class = match failure.exc_module.as_deref() {
        Some(module) if module != "builtins" => format!("{module}.{}", failure.exc_type),
        _ => failure.exc_type.to_string(),
    };
    span.exception(&class, &failure.message, failure.traceback.as_deref());
}
