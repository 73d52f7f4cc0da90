//! What a task knows of the call it is running.

use std::fmt;
use std::sync::Arc;

use celeriac_protocol::{
    self as protocol, Headers, MAX_RESULT_DEPTH, QueueName, State, TaskId, TaskName, Value, body,
};
use celeriac_store::Delivery;
use serde::Serialize;

use crate::canvas::Composed;
use crate::resource::{Local, LocalSet, Shared, SharedSet};
use crate::task::{TaskDefinition, TaskError};
use crate::trace::SpanContext;
use crate::{App, CancellationToken, Process, Trail};

/// Takes what a running task says of itself.
pub trait Reporter: Send + Sync {
    /// Takes a state of a running task. Never blocks; what is reported is stored before the outcome of the task.
    fn report(&self, task: &TaskId, state: State, meta: Value);
}

/// What all tasks of one pool in one process have in common. Made once by the worker.
pub struct Workplace {
    /// The program.
    pub app: App,
    /// The process the tasks run in.
    pub process: Process,
    /// The resources they share.
    pub shared: Arc<SharedSet>,
    /// Takes what they say of themselves.
    pub reporter: Arc<dyn Reporter>,
}

/// The call that a task is running: a task with `bind` gets it as its first parameter. Cheap to clone.
///
/// ```
/// use celeriac_app::{Context, TaskResult};
///
/// fn resize(task: &Context, pages: u32) -> TaskResult {
///     for page in 0..pages {
///         task.cancellation().check()?;
///         task.update_state("PROGRESS", (page, pages))?;
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct Context(Arc<Inner>);

struct Inner {
    id: TaskId,
    task: Arc<TaskDefinition>,
    delivery: Arc<Delivery>,
    cancellation: CancellationToken,
    trail: Arc<Trail>,
    place: Arc<Workplace>,
    span: Option<SpanContext>,
}

impl Context {
    /// The context of one run, for the worker.
    pub fn new(
        id: TaskId,
        task: Arc<TaskDefinition>,
        delivery: Arc<Delivery>,
        cancellation: CancellationToken,
        trail: Arc<Trail>,
        place: Arc<Workplace>,
        span: Option<SpanContext>,
    ) -> Self {
        Self(Arc::new(Inner { id, task, delivery, cancellation, trail, place, span }))
    }

    /// The id of the call.
    pub fn id(&self) -> &TaskId {
        &self.0.id
    }

    /// The name of the task.
    pub fn name(&self) -> &TaskName {
        &self.0.task.name
    }

    /// The task itself.
    pub fn task(&self) -> &Arc<TaskDefinition> {
        &self.0.task
    }

    /// The message headers of the call.
    pub fn headers(&self) -> &Headers {
        &self.0.delivery.message.headers
    }

    /// The delivery that brought the call.
    pub fn delivery(&self) -> &Arc<Delivery> {
        &self.0.delivery
    }

    /// The queue it came from.
    pub fn queue(&self) -> &QueueName {
        &self.0.delivery.queue
    }

    /// How often it has been retried before: 0 in the first run.
    pub fn retries(&self) -> u32 {
        self.headers().retries
    }

    /// How often this message has been delivered: more than 1 after a crash.
    pub fn deliveries(&self) -> u32 {
        self.0.delivery.deliveries
    }

    /// The first task of the workflow: this one, if no other sent it.
    pub fn root_id(&self) -> &TaskId {
        self.headers().root_id.as_ref().unwrap_or(&self.0.id)
    }

    /// The task that sent this one.
    pub fn parent_id(&self) -> Option<&TaskId> {
        self.headers().parent_id.as_ref()
    }

    /// The program, to send more tasks with.
    pub fn app(&self) -> &App {
        &self.0.place.app
    }

    /// The process the task runs in.
    pub fn process(&self) -> &Process {
        &self.0.place.process
    }

    /// Tells the task when it should stop: time limit, revocation, shutdown.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.0.cancellation
    }

    /// What the task leaves behind besides its outcome.
    pub fn trail(&self) -> &Trail {
        &self.0.trail
    }

    /// The span of this run, if it is traced.
    pub fn span(&self) -> Option<SpanContext> {
        self.0.span
    }

    /// Stores a state of the application's own, such as `PROGRESS`, with whatever describes it.
    ///
    /// Never blocks. It is stored before the outcome of the task.
    ///
    /// # Errors
    /// A failure, if `meta` cannot be encoded, or is nested too deep to be read.
    pub fn update_state(&self, state: impl Into<State>, meta: impl Serialize) -> Result<(), TaskError> {
        let meta = Value::from_serialize(&meta)?;
        if meta.is_deeper_than(MAX_RESULT_DEPTH) {
            let text =
                format!("what describes a state may be nested {MAX_RESULT_DEPTH} levels deep, not more");
            return Err(TaskError::failure("EncodeError", text).permanent());
        }
        self.0.place.reporter.report(self.id(), state.into(), meta);
        Ok(())
    }

    /// An error that makes the worker run the task again, as [`TaskError::retry`], because of `cause`.
    ///
    /// ```
    /// # use celeriac_app::{Context, TaskResult};
    /// # use std::time::Duration;
    /// fn load(task: &Context) -> TaskResult<String> {
    ///     std::fs::read_to_string("/run/answer")
    ///         .map_err(|error| task.retry(error).countdown(Duration::from_secs(10)))
    /// }
    /// ```
    pub fn retry(&self, cause: impl Into<TaskError>) -> TaskError {
        TaskError::retry().because(cause)
    }

    /// An error that makes another call take the place of this task: under its id, in its group and chord, with what was
    /// to follow it. What the other returns is the result of this one.
    ///
    /// A group may take its place too, or a chain that ends with one: its result is the list of theirs. The call is
    /// sent in the step in which this task ends, so that it is sent once, whatever crashes.
    ///
    /// ```
    /// # use celeriac_app::{Context, Signature, TaskResult, args, kwargs};
    /// fn fetch(task: &Context, url: String) -> TaskResult<i64> {
    ///     Err(task.replace(Signature::<i64>::named("pages.fetch_from_mirror", args![url], kwargs! {})))
    /// }
    ///
    /// # use celeriac_app::canvas::group;
    /// fn fetch_all(task: &Context, urls: Vec<String>) -> TaskResult<Vec<i64>> {
    ///     let fetch = |url| Signature::<i64>::named("pages.fetch", args![url], kwargs! {});
    ///     Err(task.replace(group(urls.into_iter().map(fetch))))
    /// }
    /// ```
    pub fn replace(&self, call: impl Into<Composed>) -> TaskError {
        match self.wire_form(call.into()) {
            Ok(call) => TaskError::replace(call),
            Err(error) => error,
        }
    }

    /// A composition as it goes into a message.
    fn wire_form(&self, composed: Composed) -> Result<protocol::Signature, TaskError> {
        composed.for_broker(self.app()).map_err(|error| TaskError::from(error).permanent())
    }

    /// Adds a call to the chord that this task is a member of: the body waits for it, too.
    ///
    /// It is sent in the step in which this task succeeds. (Celery sends it at once, and a task that then fails or dies may
    /// leave it behind in a chord that is over, or a chord that waits for nobody.)
    ///
    /// # Errors
    /// A failure, if this task is no member of a chord, or an argument of the call cannot be encoded.
    pub fn add_to_chord(&self, call: impl Into<Composed>) -> Result<(), TaskError> {
        let is_member =
            || body::decode(&self.0.delivery.message).is_ok_and(|body| body.embed.chord.is_some());
        if self.headers().group.is_none() || !is_member() {
            return Err(TaskError::failure("ValueError", "this task is no member of a chord").permanent());
        }
        self.0.trail.added(self.wire_form(call.into())?);
        Ok(())
    }

    /// The shared resource of this type.
    ///
    /// # Errors
    /// A failure that names the type, if it is not there. It is, if the task asked for it.
    pub fn shared<T: Send + Sync + 'static>(&self) -> Result<Shared<T>, TaskError> {
        self.0.place.shared.get().ok_or_else(|| missing::<T>("shared"))
    }

    /// The local resource of this type, from those of this thread.
    ///
    /// # Errors
    /// A failure that names the type, if it is not there or lent already.
    pub fn local<T: 'static>(&self, locals: &LocalSet) -> Result<Local<T>, TaskError> {
        locals.get().ok_or_else(|| missing::<T>("local"))
    }
}

fn missing<T>(kind: &str) -> TaskError {
    let name = std::any::type_name::<T>();
    TaskError::failure(
        "ResourceMissing",
        format!("{kind} resource {name} is not built, not registered, or used twice by one task"),
    )
    .permanent()
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({}[{}])", self.name(), self.id())
    }
}
