//! What happens to requests becomes spans, where a tracer records them.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::trace::{Origin, SpanContext};
use celeriac_protocol::{Headers, Timestamp};

use crate::consumer::Consumer;
use crate::outcome::Outcome;
use crate::request::Request;
use crate::spans::Past;

impl Consumer {
    /// Gives a request the span of its run.
    ///
    /// Not one of a Celery application, unless that is asked for: instrumentation of its own makes that span in the child,
    /// of which this process knows nothing, and then there would be two.
    pub(super) fn trace(&self, request: &mut Request) {
        let Some(tracer) = self.app.tracer() else { return };
        request.received = Some(self.now());
        if request.task.body.python().is_none() || self.options.traces_python {
            let headers = &request.delivery.message.headers;
            request.span = Some(tracer.begin(SpanContext::of(headers)));
        }
    }

    /// Records the spans of a request that has ended, and says from where what follows it is sent. `since` is when it
    /// started, if it did.
    pub(super) fn traced(
        &self,
        request: &Arc<Request>,
        outcome: &Outcome,
        acknowledged: bool,
        since: Option<Timestamp>,
        runtime: Duration,
    ) -> Option<Box<Origin>> {
        let tracer = self.app.tracer()?;
        if let Some(started) = since {
            let fails = match request.task.body.python() {
                Some(python) => self.fails(request, python, outcome, acknowledged),
                None => self.ends_it(request, outcome, acknowledged),
            };
            let ended = if runtime.is_zero() { self.now() } else { started.saturating_add(runtime) };
            let past = Past { request, outcome, fails, started, ended };
            past.spans(tracer).into_iter().for_each(|span| tracer.record(span));
        }
        self.origin(request.span.filter(|_| since.is_some()), &request.delivery.message.headers)
    }

    /// From where what follows a task with these headers is sent, if that is traced.
    pub(super) fn origin(&self, run: Option<SpanContext>, headers: &Headers) -> Option<Box<Origin>> {
        self.app.tracer()?;
        Some(Origin::task(run, headers)).filter(|origin| origin.span.is_some()).map(Box::new)
    }
}
