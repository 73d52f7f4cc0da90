//! What the code of `#[task]` and of the other macros refers to. No part of the interface.

pub use std::sync::{Arc, OnceLock};
pub use std::time::Duration;

pub use celeriac_protocol::{Arguments, EncodeError, TaskName, Value};
use serde::Serialize;

pub use crate::canvas::Step;
pub use crate::resource::{LocalSet, ResourceRequest};
pub use crate::task::{
    Acks, Isolation, RateLimit, RetryFor, Returned, Task, TaskBody, TaskDefinition, TaskError, TaskOptions,
};
pub use crate::{App, ArgumentReader, AsyncResult, Context, SendError, Sender, Signature};

/// One argument of `args!` or `kwargs!`.
///
/// # Errors
/// What cannot be encoded.
pub fn encode_argument<A: Serialize + ?Sized>(value: &A) -> Result<Value, EncodeError> {
    Value::from_serialize(value)
}

/// What a task function that returns a `Result` returned.
///
/// # Errors
/// The task's own error, or that its result cannot be encoded.
pub fn encode_fallible<T: Serialize, E: Into<TaskError>>(returned: Result<T, E>) -> Returned {
    match returned {
        Ok(value) => encode_result(&value),
        Err(error) => Err(error.into()),
    }
}

/// What a task function that cannot fail returned.
///
/// # Errors
/// That its result cannot be encoded.
pub fn encode_result<T: Serialize>(value: &T) -> Returned {
    Value::from_serialize(value).map_err(|error| TaskError::from(error).permanent())
}

/// The value type of a function that returns a `Result`.
pub trait Fallible {
    /// What it returns if nothing fails.
    type Value;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
}
