//! How a task ends when it does not return a value.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use celeriac_protocol::{Signature, Timestamp};

use crate::{Cancelled, Reason};

/// What a task function returns.
pub type TaskResult<T = ()> = Result<T, TaskError>;

/// Why a task did not return a value: a failure, or something it asks the worker to do instead.
///
/// Any error becomes one with `?`:
///
/// ```
/// use celeriac_app::{TaskError, TaskResult};
///
/// fn parse(text: &str) -> TaskResult<i64> {
///     if text == "?" {
///         return Err(TaskError::failure("UnknownAnswer", "the answer is not known yet").permanent());
///     }
///     Ok(text.parse()?)
/// }
/// # assert!(parse("?").is_err() && parse("x").is_err() && parse("42").is_ok());
/// ```
pub struct TaskError(Box<Ending>);

/// The ways in which a task can end without a value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// It failed. Whether it is tried again is decided by its [`crate::task::RetryPolicy`].
    Failure(Failure),
    /// It asks to be tried again: Celery's `Retry`.
    Retry(RetryRequest),
    /// Its message is refused: Celery's `Reject`.
    Reject {
        /// Whether the message goes back to its queue.
        requeue: bool,
        /// Why, for the log.
        reason: String,
    },
    /// Nothing is stored: Celery's `Ignore`.
    Ignore,
    /// This call takes its place: Celery's `Task.replace`.
    Replace(Box<Signature>),
    /// It stopped because it was asked to.
    Cancelled(Reason),
}

/// A task that failed, as data that a result record can carry.
pub struct Failure {
    /// The name of the error type, as Python's class name.
    pub exc_type: Box<str>,
    /// Where that type lives, with dots.
    pub exc_module: Option<Box<str>>,
    /// What went wrong.
    pub message: String,
    /// The chain of causes, or a backtrace, as text.
    pub traceback: Option<String>,
    permanent: bool,
    bad_arguments: bool,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// The error that was returned, if there was one in this process.
    pub fn source_error(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|error| error as &(dyn Error + 'static))
    }

    /// Whether the call had arguments that the task cannot take, so that the task never ran.
    pub fn is_bad_arguments(&self) -> bool {
        self.bad_arguments
    }

    /// Whether no policy may retry it.
    pub fn is_permanent(&self) -> bool {
        self.permanent
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exc_type, self.message)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A task's wish to be tried again.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RetryRequest {
    /// After how long; `None` is what the task's policy says.
    pub countdown: Option<Duration>,
    /// At this time; goes before `countdown`.
    pub eta: Option<Timestamp>,
    /// How often in all; `None` is what the task's policy says.
    pub max_retries: Option<u32>,
    /// Why. It is the failure of the task when no retry is left.
    pub cause: Option<Failure>,
}

impl TaskError {
    /// A failure that is named without an error type of its own.
    pub fn failure(exc_type: impl Into<Box<str>>, message: impl Into<String>) -> Self {
        Self(Box::new(Ending::Failure(Failure {
            exc_type: exc_type.into(),
            exc_module: None,
            message: message.into(),
            traceback: None,
            permanent: false,
            bad_arguments: false,
            source: None,
        })))
    }

    /// A failure of a call whose arguments the task cannot take: Python's `TypeError`. No policy retries it.
    pub fn bad_arguments(message: impl Into<String>) -> Self {
        let mut error = Self::failure("TypeError", message).permanent();
        if let Ending::Failure(failure) = &mut *error.0 {
            failure.bad_arguments = true;
        }
        error
    }

    /// Tries the task again, after the delay that its policy says.
    pub fn retry() -> Self {
        Self(Box::new(Ending::Retry(RetryRequest::default())))
    }

    /// Refuses the message. With `requeue` it goes back to its queue, else to the failed tasks.
    pub fn reject(requeue: bool, reason: impl Into<String>) -> Self {
        Self(Box::new(Ending::Reject { requeue, reason: reason.into() }))
    }

    /// Ends the task without storing anything, and without anything that would follow it: a chord that it is a member
    /// of waits for whoever stores its result in its place.
    pub fn ignore() -> Self {
        Self(Box::new(Ending::Ignore))
    }

    /// Ends the task with another in its place; see [`crate::Context::replace`].
    pub fn replace(call: Signature) -> Self {
        Self(Box::new(Ending::Replace(Box::new(call))))
    }

    /// The same failure, which no policy may retry. Other endings stay as they are.
    pub fn permanent(mut self) -> Self {
        if let Ending::Failure(failure) = &mut *self.0 {
            failure.permanent = true;
        }
        self
    }

    /// The same retry after this time. Other endings stay as they are.
    pub fn countdown(mut self, countdown: Duration) -> Self {
        if let Ending::Retry(retry) = &mut *self.0 {
            retry.countdown = Some(countdown);
        }
        self
    }

    /// The same retry at this time. Other endings stay as they are.
    pub fn eta(mut self, eta: Timestamp) -> Self {
        if let Ending::Retry(retry) = &mut *self.0 {
            retry.eta = Some(eta);
        }
        self
    }

    /// The same retry, at most this often in all. Other endings stay as they are.
    pub fn max_retries(mut self, max_retries: u32) -> Self {
        if let Ending::Retry(retry) = &mut *self.0 {
            retry.max_retries = Some(max_retries);
        }
        self
    }

    /// The same retry because of this error, which is the failure of the task when no retry is left.
    pub fn because(mut self, error: impl Into<Self>) -> Self {
        if let Ending::Retry(retry) = &mut *self.0 {
            retry.cause = match error.into().into_ending() {
                Ending::Failure(failure) => Some(failure),
                Ending::Retry(inner) => inner.cause,
                _ => None,
            };
        }
        self
    }

    /// How the task ended.
    pub fn ending(&self) -> &Ending {
        &self.0
    }

    /// How the task ended, taken out.
    pub fn into_ending(self) -> Ending {
        *self.0
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let any: &dyn std::any::Any = &error;
        if let Some(Cancelled(reason)) = any.downcast_ref() {
            return Self(Box::new(Ending::Cancelled(*reason)));
        }
        let (module, name) = split_type_name(std::any::type_name::<E>());
        Self(Box::new(Ending::Failure(Failure {
            exc_type: name.into(),
            exc_module: module,
            message: error.to_string(),
            traceback: causes(&error),
            permanent: false,
            bad_arguments: false,
            source: Some(Box::new(error)),
        })))
    }
}

impl From<Failure> for TaskError {
    fn from(failure: Failure) -> Self {
        Self(Box::new(Ending::Failure(failure)))
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ending() {
            Ending::Failure(failure) => write!(f, "{failure}"),
            Ending::Retry(RetryRequest { cause: Some(cause), .. }) => write!(f, "retry: {cause}"),
            Ending::Retry(_) => f.write_str("retry"),
            Ending::Reject { requeue: true, reason } => write!(f, "rejected and requeued: {reason}"),
            Ending::Reject { requeue: false, reason } => write!(f, "rejected: {reason}"),
            Ending::Ignore => f.write_str("ignored"),
            Ending::Replace(call) => write!(f, "replaced with {}", call.task),
            Ending::Cancelled(reason) => write!(f, "{}", Cancelled(*reason)),
        }
    }
}

/// Splits `std::io::error::Error` into `std.io.error` and `Error`; type parameters are left out.
fn split_type_name(full: &str) -> (Option<Box<str>>, &str) {
    let plain = full.split('<').next().unwrap_or(full);
    match plain.rsplit_once("::") {
        Some((module, name)) => (Some(module.replace("::", ".").into()), name),
        None => (None, plain),
    }
}

/// The causes of an error, one on each line, or `None` if it has none.
fn causes(error: &dyn Error) -> Option<String> {
    let mut cause = error.source()?;
    let mut text = format!("{error}");
    loop {
        text.push_str("\n  caused by: ");
        text.push_str(&cause.to_string());
        match cause.source() {
            Some(next) => cause = next,
            None => return Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not load the page")]
    struct LoadError(#[source] io::Error);

    #[test]
    fn an_error_keeps_its_type_its_causes_and_itself() {
        let Ending::Failure(failure) = TaskError::from(LoadError(io::Error::other("no route"))).into_ending()
        else {
            panic!("an error is a failure");
        };
        assert_eq!(&*failure.exc_type, "LoadError");
        assert_eq!(failure.exc_module.as_deref(), Some("celeriac_app.task.error.tests"));
        assert_eq!(failure.traceback.as_deref(), Some("could not load the page\n  caused by: no route"));
        assert!(failure.source_error().unwrap().is::<LoadError>());
    }

    #[test]
    fn a_cancellation_is_not_a_failure() {
        let error = TaskError::from(Cancelled(Reason::Revoked));
        assert!(matches!(error.ending(), Ending::Cancelled(Reason::Revoked)));
    }

    #[test]
    fn a_retry_keeps_its_cause_for_the_end() {
        let error = TaskError::retry().countdown(Duration::from_secs(2)).because(io::Error::other("busy"));
        let Ending::Retry(retry) = error.into_ending() else { panic!("a retry") };
        assert_eq!(retry.countdown, Some(Duration::from_secs(2)));
        assert_eq!(retry.cause.unwrap().message, "busy");
    }
}
