//! A call of a task as data: which task, with what, and how to send it.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use celeriac_protocol::{
    self as wire, Arguments, EncodeError, QueueName, TaskId, TaskName, Timestamp, Value,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AsyncResult;
use crate::producer::{SendError, Sender};
use crate::task::{Task, TaskOptions};

/// A call that returns a `T`, ready to be sent: what `task.s(...)` makes, and what calls are [composed](crate::canvas) to.
///
/// ```
/// use std::time::Duration;
/// use celeriac_app::{Signature, args, kwargs};
///
/// let call: Signature<i64> = Signature::named("proj.add", args![1, 2], kwargs! {})
///     .queue("slow")
///     .countdown(Duration::from_secs(5));
/// assert_eq!(call.task().as_str(), "proj.add");
/// ```
#[must_use = "a signature does nothing until it is sent"]
pub struct Signature<T = Value> {
    pub(crate) task: TaskName,
    /// The options of the task itself, where the call comes from the task.
    pub(crate) defaults: Option<&'static TaskOptions>,
    pub(crate) arguments: Arguments,
    /// The first argument that could not be encoded; sending reports it.
    pub(crate) error: Option<EncodeError>,
    /// What it is composed of, unless it calls one task.
    pub(crate) composed: Option<Box<wire::Signature>>,
    /// Most calls have none, so that a call stays small.
    pub(crate) options: Option<Box<SendOptions>>,
    result: PhantomData<fn() -> T>,
}

/// How one call is sent, where it differs from its task.
#[derive(Clone, Debug, Default)]
pub(crate) struct SendOptions {
    pub(crate) task_id: Option<TaskId>,
    pub(crate) queue: Option<QueueName>,
    pub(crate) priority: Option<u8>,
    pub(crate) countdown: Option<Duration>,
    pub(crate) eta: Option<Timestamp>,
    pub(crate) expires: Option<Duration>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) serializer: Option<Box<str>>,
    pub(crate) compression: Option<Box<str>>,
    pub(crate) ignore_result: Option<bool>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) soft_time_limit: Option<Duration>,
    pub(crate) shadow: Option<Box<str>>,
    pub(crate) headers: Vec<(Box<str>, Value)>,
    /// The name that routes look at, where it is not the task's own.
    pub(crate) route_name: Option<Box<str>>,
    pub(crate) stamps: Vec<(Box<str>, Value)>,
    pub(crate) link: Vec<wire::Signature>,
    pub(crate) link_error: Vec<wire::Signature>,
}

/// The options of a call, for everything that can be sent: methods that go through `with`.
macro_rules! send_options {
    () => {
        /// Gives the call an id of the caller's own.
        pub fn task_id(self, id: impl Into<::celeriac_protocol::TaskId>) -> Self {
            self.with(|options| options.task_id = Some(id.into()))
        }

        /// The queue it goes to, before what the task and the routes say.
        pub fn queue(self, queue: impl Into<::celeriac_protocol::QueueName>) -> Self {
            self.with(|options| options.queue = Some(queue.into()))
        }

        /// Its priority: 0 (lowest) to 9 (highest).
        pub fn priority(self, priority: u8) -> Self {
            self.with(|options| options.priority = Some(priority))
        }

        /// It may start this long after it is sent.
        pub fn countdown(self, countdown: ::std::time::Duration) -> Self {
            self.with(|options| options.countdown = Some(countdown))
        }

        /// It may start at this time. Goes before a countdown.
        pub fn eta(self, eta: ::celeriac_protocol::Timestamp) -> Self {
            self.with(|options| options.eta = Some(eta))
        }

        /// It may not start later than this long after it is sent.
        pub fn expires(self, expires: ::std::time::Duration) -> Self {
            self.with(|options| options.expires = Some(expires))
        }

        /// It may not start after this time.
        pub fn expires_at(self, expires: ::celeriac_protocol::Timestamp) -> Self {
            self.with(|options| options.expires_at = Some(expires))
        }

        /// How its arguments are written: `json` or `msgpack`.
        pub fn serializer(self, serializer: impl Into<Box<str>>) -> Self {
            self.with(|options| options.serializer = Some(serializer.into()))
        }

        /// How its body is compressed: `gzip`, `bzip2` or `zstd`.
        pub fn compression(self, compression: impl Into<Box<str>>) -> Self {
            self.with(|options| options.compression = Some(compression.into()))
        }

        /// Whether its result is not stored.
        pub fn ignore_result(self, ignore: bool) -> Self {
            self.with(|options| options.ignore_result = Some(ignore))
        }

        /// It is stopped after this time.
        pub fn time_limit(self, limit: ::std::time::Duration) -> Self {
            self.with(|options| options.time_limit = Some(limit))
        }

        /// It is asked to stop after this time.
        pub fn soft_time_limit(self, limit: ::std::time::Duration) -> Self {
            self.with(|options| options.soft_time_limit = Some(limit))
        }

        /// The name to show for it, in place of the task's.
        pub fn shadow(self, name: impl Into<Box<str>>) -> Self {
            self.with(|options| options.shadow = Some(name.into()))
        }

        /// A header of the program's own, which the task sees.
        pub fn header(self, name: impl Into<Box<str>>, value: impl Into<::celeriac_protocol::Value>) -> Self {
            self.with(|options| options.headers.push((name.into(), value.into())))
        }
    };
}

pub(crate) use send_options;

/// An argument on its way into a call.
pub type EncodedArgument = Result<Value, EncodeError>;

impl<T> Signature<T> {
    /// A call of a task by its name; `args!` and `kwargs!` make the arguments.
    pub fn named(
        task: impl Into<TaskName>,
        args: Vec<EncodedArgument>,
        kwargs: Vec<(Box<str>, EncodedArgument)>,
    ) -> Self {
        let mut signature = Self::new(task.into(), None, args.len());
        for value in args {
            let value = signature.keep_error(value);
            signature.arguments.args.push(value);
        }
        for (name, value) in kwargs {
            let value = signature.keep_error(value);
            signature.arguments.kwargs.push((name, value));
        }
        signature
    }

    /// A call of this task without arguments yet, with room for `arity` of them.
    pub fn of<K: Task<Output = T>>(task: &K, arity: usize) -> Self {
        Self::new(task.name().clone(), Some(task.options()), arity)
    }

    fn new(task: TaskName, defaults: Option<&'static TaskOptions>, arity: usize) -> Self {
        Self {
            task,
            defaults,
            arguments: Arguments::positional(Vec::with_capacity(arity)),
            error: None,
            composed: None,
            options: None,
            result: PhantomData,
        }
    }

    /// Adds a positional argument.
    pub fn arg<A: Serialize + ?Sized>(mut self, value: &A) -> Self {
        let value = self.keep_error(Value::from_serialize(value));
        self.arguments.args.push(value);
        self
    }

    /// Adds a keyword argument.
    pub fn kwarg<A: Serialize + ?Sized>(mut self, name: impl Into<Box<str>>, value: &A) -> Self {
        let value = self.keep_error(Value::from_serialize(value));
        self.arguments.kwargs.push((name.into(), value));
        self
    }

    fn keep_error(&mut self, value: EncodedArgument) -> Value {
        value.unwrap_or_else(|error| {
            self.error.get_or_insert(error);
            Value::Null
        })
    }

    /// The task it calls.
    pub fn task(&self) -> &TaskName {
        &self.task
    }

    /// Its arguments.
    pub fn arguments(&self) -> &Arguments {
        &self.arguments
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut SendOptions)) -> Self {
        change(self.options.get_or_insert_default());
        self
    }

    send_options! {}
}

impl<T: DeserializeOwned> Signature<T> {
    /// Sends it, from a program (`&App`) or from a running task (`&Context`).
    ///
    /// Once this returns, the store has the task.
    ///
    /// # Errors
    /// What could not be encoded, or why the store did not take it within `task_publish_timeout`.
    pub async fn apply_async(self, from: &impl Sender) -> Result<AsyncResult<T>, SendError> {
        from.app().send_from(from.parent(), self).await
    }

    /// As [`Signature::apply_async`], for programs and tasks without a runtime.
    ///
    /// # Errors
    /// As [`Signature::apply_async`].
    pub fn apply_blocking(self, from: &impl Sender) -> Result<AsyncResult<T>, SendError> {
        from.app().send_blocking_from(from.parent(), self)
    }
}

impl<T> Clone for Signature<T> {
    fn clone(&self) -> Self {
        Self {
            task: self.task.clone(),
            defaults: self.defaults,
            arguments: self.arguments.clone(),
            error: self.error.clone(),
            composed: self.composed.clone(),
            options: self.options.clone(),
            result: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Signature<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signature")
            .field("task", &self.task)
            .field("arguments", &self.arguments)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
