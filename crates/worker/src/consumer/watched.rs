//! What happens to requests becomes events, while somebody wants them.

use std::sync::Arc;
use std::time::Duration;

use crate::consumer::Consumer;
use crate::events::{TaskEvent, events_of};
use crate::outcome::Outcome;
use crate::request::Request;
use crate::signum::Signum;

impl Consumer {
    /// Says what has happened to a request.
    pub(super) fn happened<'a, E>(&self, request: &Arc<Request>, what: impl FnOnce() -> E)
    where
        E: IntoIterator<Item = TaskEvent<'a>>,
    {
        let Some(watch) = self.watch.as_ref().filter(|_| self.options.task_events.is_on()) else { return };
        if request.task.body.python().is_some_and(|python| !python.sends_events) {
            return;
        }
        for what in what() {
            watch.say(self.now(), request, what);
        }
    }

    /// Says how a request has ended.
    pub(super) fn ended(
        &self,
        request: &Arc<Request>,
        outcome: &Outcome,
        acknowledged: bool,
        by: Signum,
        runtime: Duration,
    ) {
        if request.is_left_out() && matches!(outcome, Outcome::Success(_)) {
            // Counted, and not written: so nobody need know how its result looks.
            return self.happened(request, || [TaskEvent::Succeeded { result: "".into(), runtime }]);
        }
        self.happened(request, || {
            let fails = match request.task.body.python() {
                Some(python) => self.fails(request, python, outcome, acknowledged),
                None => self.ends_it(request, outcome, acknowledged),
            };
            events_of(outcome, fails, by, runtime)
        });
    }

    /// Whether a task in Rust has failed with this outcome, and is not tried again.
    pub(super) fn ends_it(&self, request: &Request, outcome: &Outcome, acknowledged: bool) -> bool {
        match outcome {
            Outcome::Lost(_) => acknowledged || !request.comes_back || self.rules.is_last(request),
            Outcome::TimeLimitExceeded(_) => true,
            _ => false,
        }
    }
}
