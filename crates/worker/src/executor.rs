//! The steps around one run of a task function, in whatever slot it runs: arguments, resources, signals, retry policy.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::resource::LocalSet;
use celeriac_app::signals::{self, Postrun, TaskFailed, TaskRetried, TaskSucceeded};
use celeriac_app::task::{Returned, TaskBody};
use celeriac_app::trace::{InSpan, entered};
use celeriac_app::{Arguments, Context, TaskError, Workplace};
use celeriac_protocol::State;
use celeriac_store::clock::Clock;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::outcome::{Failure, Outcome};
use crate::panic::{Caught, catch};
use crate::request::Request;
use crate::retry::{Judged, judge};
use crate::{Options, decode};

/// Runs tasks in this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executor {
    place: Arc<Workplace>,
    clock: Clock,
    /// The seed of every random choice, for tests.
    seed: Option<u64>,
    max_body_bytes: usize,
}

/// How one run ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// How, unless it had been decided from outside before the task returned.
    pub outcome: Option<Outcome>,
    /// How long it ran.
    pub runtime: Duration,
}

impl Executor {
    /// Runs tasks at this place.
    pub(crate) fn new(place: Arc<Workplace>, options: &Options) -> Self {
        Self {
            place,
            clock: options.clock.clone(),
            seed: options.seed,
            max_body_bytes: options.max_body_bytes,
        }
    }

    /// Runs the task of a request on the runtime that polls this.
    pub(crate) async fn run_async(&self, request: &Request) -> Run {
        match request.span {
            None => self.run_logged(request).await,
            Some(span) => InSpan::new(span, self.run_logged(request)).await,
        }
    }

    /// Runs the task of a request on this thread, with the resources of this thread.
    pub(crate) fn run_blocking(
        &self,
        request: &Request,
        locals: &LocalSet,
        runtime: &tokio::runtime::Handle,
    ) -> Run {
        let _logged = span(request).entered();
        let _traced = request.span.map(entered);
        let started = Instant::now();
        let context = self.context(request);
        let judged = match self.arguments(request) {
            Ok(arguments) => self.judge(request, self.call_blocking(&context, arguments, locals, runtime)),
            Err(failure) => Judged { outcome: Outcome::Failure(failure), error: None },
        };
        self.ended(request, &context, judged, started.elapsed())
    }

    async fn run_logged(&self, request: &Request) -> Run {
        let span = span(request);
        if span.is_disabled() {
            self.run_in_span(request).await
        } else {
            self.run_in_span(request).instrument(span).await
        }
    }

    async fn run_in_span(&self, request: &Request) -> Run {
        let started = Instant::now();
        let context = self.context(request);
        let judged = match self.arguments(request) {
            Ok(arguments) => self.judge(request, self.call_async(&context, arguments).await),
            Err(failure) => Judged { outcome: Outcome::Failure(failure), error: None },
        };
        self.ended(request, &context, judged, started.elapsed())
    }

    fn context(&self, request: &Request) -> Context {
        Context::new(
            request.id.clone(),
            Arc::clone(&request.task),
            Arc::clone(&request.delivery),
            request.cancellation.clone(),
            Arc::clone(&request.trail),
            Arc::clone(&self.place),
            request.span,
        )
    }

    fn arguments(&self, request: &Request) -> Result<Arguments, Failure> {
        decode::arguments(&request.delivery.message, self.max_body_bytes)
    }

    fn judge(&self, request: &Request, returned: Returned) -> Judged {
        judge(request, returned, self.dice(request), self.clock.now())
    }

    async fn call_async(&self, context: &Context, arguments: Arguments) -> Returned {
        let task = context.task();
        if self.place.shared.has_checks(&task.resources) {
            self.place.shared.ensure_until_ready(&task.resources, context.cancellation()).await?;
        }
        self.prerun(context);
        match &task.body {
            TaskBody::Async(body) => match catch(|| body(context.clone(), arguments)) {
                Ok(future) => Caught(future).await.unwrap_or_else(Err),
                Err(panicked) => Err(panicked),
            },
            TaskBody::Blocking(_) | TaskBody::Python(_) => Err(misplaced(context)),
        }
    }

    fn call_blocking(
        &self,
        context: &Context,
        arguments: Arguments,
        locals: &LocalSet,
        runtime: &tokio::runtime::Handle,
    ) -> Returned {
        let task = context.task();
        if self.place.shared.has_checks(&task.resources) {
            runtime
                .block_on(self.place.shared.ensure_until_ready(&task.resources, context.cancellation()))?;
        }
        if !task.resources.is_empty() {
            catch(|| locals.ensure_until_ready(&task.resources, context.cancellation()))??;
        }
        self.prerun(context);
        match &task.body {
            TaskBody::Blocking(body) => catch(|| body(context, locals, arguments)).unwrap_or_else(Err),
            TaskBody::Async(_) | TaskBody::Python(_) => Err(misplaced(context)),
        }
    }

    fn prerun(&self, context: &Context) {
        self.place.app.signals().send(signals::task_prerun, || context.clone());
    }

    /// Says how the run ended, to those who listen in this process and to the caller, unless it is decided already.
    fn ended(&self, request: &Request, context: &Context, judged: Judged, runtime: Duration) -> Run {
        if !request.decide() {
            return Run { outcome: None, runtime };
        }
        let Judged { outcome, error } = judged;
        let all = self.place.app.signals();
        match &outcome {
            Outcome::Success(value) => {
                tracing::info!(runtime = runtime.as_secs_f64(), "succeeded");
                let result = || TaskSucceeded { context: context.clone(), result: value.clone(), runtime };
                all.send(signals::task_success, result);
            }
            Outcome::Failure(failure) => {
                tracing::error!(error = %failure, runtime = runtime.as_secs_f64(), "failed");
                let failure = || error.unwrap_or_else(|| failure.to_task_failure());
                all.send(signals::task_failure, || TaskFailed {
                    context: context.clone(),
                    failure: failure(),
                });
            }
            Outcome::Retry { delay, failure } => {
                tracing::info!(error = %failure, delay = delay.as_secs_f64(), "retries");
                let retried = || TaskRetried {
                    context: context.clone(),
                    reason: failure.to_string(),
                    countdown: *delay,
                };
                all.send(signals::task_retry, retried);
            }
            Outcome::Rejected { requeue, reason } => tracing::warn!(requeue, %reason, "rejected"),
            Outcome::Ignored => tracing::info!("ignored"),
            Outcome::Replaced(call) => tracing::info!(with = %call.task, "replaced"),
            _ => tracing::info!(how = ?outcome, "stopped"),
        }
        let state = state_of(&outcome);
        all.send(signals::task_postrun, || Postrun {
            context: context.clone(),
            state,
            runtime,
            ended_at: self.clock.now(),
        });
        Run { outcome: Some(outcome), runtime }
    }

    /// A random number; with a seed, one that depends on the seed and the run only.
    fn dice(&self, request: &Request) -> u64 {
        let Some(seed) = self.seed else { return fastrand::u64(..) };
        let bytes = request.id.as_str().bytes().chain(request.retries().to_le_bytes());
        bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

fn span(request: &Request) -> Span {
    // Of the highest level, so that every line of a task carries its id, whatever level is logged.
    tracing::error_span!("task", task_id = %request.id, task_name = %request.name())
}

fn misplaced(context: &Context) -> TaskError {
    let text = format!("{} was given to a pool that cannot run it", context.name());
    TaskError::failure("InternalError", text).permanent()
}

/// The state in which a task is after this outcome.
pub(crate) fn state_of(outcome: &Outcome) -> State {
    match outcome {
        Outcome::Success(_) => State::Success,
        Outcome::Failure(_) | Outcome::TimeLimitExceeded(_) | Outcome::Lost(_) => State::Failure,
        Outcome::Retry { .. } => State::Retry,
        Outcome::Ignored | Outcome::Replaced(_) => State::Ignored,
        Outcome::Rejected { .. } => State::Rejected,
        Outcome::Revoked(_) => State::Revoked,
        Outcome::Handled { .. } | Outcome::Returned => State::Pending,
    }
}
