//! A task as the worker knows it.

use std::fmt;
use std::sync::Arc;

use celeriac_protocol::{Arguments, TaskName, Value};
use futures_util::future::BoxFuture;

use crate::Context;
use crate::resource::{LocalSet, ResourceRequest};
use crate::task::{PythonRules, TaskError, TaskOptions};

/// What the function of a task gives back, once its result is a value of the wire.
pub type Returned = Result<Value, TaskError>;

/// A task: what `#[task]` makes of a function, and what a worker runs.
#[derive(Clone, Debug)]
pub struct TaskDefinition {
    /// The name producers call it by.
    pub name: TaskName,
    /// How it is sent, run and retried.
    pub options: TaskOptions,
    /// Its function.
    pub body: TaskBody,
    /// The resources it asks for.
    pub resources: Vec<ResourceRequest>,
    /// The names of its parameters, in order, injected ones left out.
    pub parameters: &'static [&'static str],
    /// Says of arguments, without running the task, whether its function takes them. A worker asks before it acknowledges
    /// a message early; where there is nothing to ask, wrong arguments show when the task runs.
    pub check: Option<ArgumentCheck>,
}

/// Whether a task takes these arguments: the error is what the task itself would fail with.
pub type ArgumentCheck = fn(&TaskName, Arguments) -> Result<(), TaskError>;

impl TaskDefinition {
    /// A task with default options that asks for no resource.
    pub fn new(name: impl Into<TaskName>, body: TaskBody) -> Self {
        Self {
            name: name.into(),
            options: TaskOptions::default(),
            body,
            resources: Vec::new(),
            parameters: &[],
            check: None,
        }
    }

    /// The same task with these options.
    pub fn with_options(mut self, options: TaskOptions) -> Self {
        self.options = options;
        self
    }
}

/// What `#[task]` implements for the value that it puts in place of a function.
pub trait Task: Copy + Into<TaskDefinition> {
    /// What the task returns.
    type Output;

    /// The name producers call it by.
    fn name(&self) -> &'static TaskName;

    /// How it is sent, run and retried.
    fn options(&self) -> &'static TaskOptions;
}

/// The function of an asynchronous task.
pub type AsyncBody = dyn Fn(Context, Arguments) -> BoxFuture<'static, Returned> + Send + Sync;

/// The function of a blocking task. It runs on one executor thread, whose resources it is handed.
pub type BlockingBody = dyn Fn(&Context, &LocalSet, Arguments) -> Returned + Send + Sync;

/// The function of a task.
#[derive(Clone)]
pub enum TaskBody {
    /// `async fn`: runs on the async pool.
    Async(Arc<AsyncBody>),
    /// `fn`: runs on a thread, or in a process of its own with [`crate::task::Isolation::Process`].
    Blocking(Arc<BlockingBody>),
    /// A task of a Celery application: runs in a Python child of the worker.
    Python(Arc<PythonRules>),
}

impl TaskBody {
    /// The body of an asynchronous task.
    ///
    /// ```
    /// use celeriac_app::{TaskBody, TaskDefinition};
    ///
    /// let body = TaskBody::asynchronous(|_context, arguments| async move {
    ///     Ok(arguments.args.into_iter().next().unwrap_or_default())
    /// });
    /// let echo = TaskDefinition::new("echo", body);
    /// assert!(echo.body.is_async());
    /// ```
    pub fn asynchronous<F, Fut>(body: F) -> Self
    where
        F: Fn(Context, Arguments) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Returned> + Send + 'static,
    {
        Self::Async(Arc::new(move |context, arguments| Box::pin(body(context, arguments))))
    }

    /// The body of a blocking task.
    pub fn blocking<F>(body: F) -> Self
    where
        F: Fn(&Context, &LocalSet, Arguments) -> Returned + Send + Sync + 'static,
    {
        Self::Blocking(Arc::new(body))
    }

    /// What its application says of ends that it does not decide itself, if it is a task of a Celery application.
    pub fn python(&self) -> Option<&PythonRules> {
        if let Self::Python(rules) = self { Some(rules) } else { None }
    }

    /// Whether it runs on the async pool.
    pub fn is_async(&self) -> bool {
        matches!(self, Self::Async(_))
    }
}

impl fmt::Debug for TaskBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Async(_) => "Async",
            Self::Blocking(_) => "Blocking",
            Self::Python(_) => "Python",
        })
    }
}
