//! The arguments of a call, out of the body of its message.

use celeriac_app::task::Ending;
use celeriac_app::{Arguments, TaskDefinition, TaskError};
use celeriac_protocol::{DecodeError, Message, body};

use crate::outcome::{Failure, FailureCode};
use crate::panic::catch;
use crate::retry::as_data;

/// Decodes what a message calls its task with, or says why nobody could and what to do.
///
/// `limit` bounds the body in bytes, before and after decompression.
pub(crate) fn arguments(message: &Message, limit: usize) -> Result<Arguments, Failure> {
    decode(message, limit)
}

/// Why this task cannot be called with this message, as far as that shows without running it.
pub(crate) fn check(task: &TaskDefinition, message: &Message, limit: usize) -> Result<(), Failure> {
    let decoded = decode(message, limit)?;
    let Some(check) = task.check else { return Ok(()) };
    match catch(|| check(&task.name, decoded)).unwrap_or_else(Err).map_err(TaskError::into_ending) {
        Err(Ending::Failure(failure)) => Err(as_data(&failure)),
        _ => Ok(()),
    }
}

fn decode(message: &Message, limit: usize) -> Result<Arguments, Failure> {
    if message.body.len() > limit {
        return Err(too_large(message.body.len(), limit));
    }
    match body::decode_call(message, limit) {
        Ok(decoded) => Ok(decoded),
        Err(error @ DecodeError::TooLarge { .. }) => {
            let text = format!("{error}: {REMEDY}");
            Err(Failure::new("DecodeError", KOMBU, text).with_code(FailureCode::TooLarge))
        }
        Err(error) => {
            let text = format!(
                "the body of {size} bytes cannot be decoded as {kind}: {error}; correct the producer and send the task again",
                size = message.body.len(),
                kind = message.content_type,
            );
            Err(Failure::new("DecodeError", KOMBU, text).with_code(FailureCode::UndecodableBody))
        }
    }
}

/// The limit is four times that setting, and 256 MiB at least.
const REMEDY: &str =
    "store the data elsewhere and send a reference, or raise store_message_limit of the worker";

const KOMBU: Option<&str> = Some("kombu.exceptions");

fn too_large(size: usize, limit: usize) -> Failure {
    let text = format!("the body of {size} bytes is larger than the limit of {limit}: {REMEDY}");
    Failure::new("DecodeError", KOMBU, text).with_code(FailureCode::TooLarge)
}
