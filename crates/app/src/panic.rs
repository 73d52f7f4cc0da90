//! Code of the user that panics, as an error.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;

use crate::resource::BoxError;

/// Runs `work`; a panic in it is an error.
pub(crate) fn contained<T>(work: impl FnOnce() -> Result<T, BoxError>) -> Result<T, BoxError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(as_error(panic.as_ref())))
}

/// As [`contained`], for a future.
pub(crate) async fn contained_async<T>(
    work: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|panic| Err(as_error(panic.as_ref())))
}

fn as_error(panic: &(dyn Any + Send)) -> BoxError {
    format!("panicked: {}", message(panic)).into()
}

/// What a panic said.
fn message(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(text), _) => text,
        (None, Some(text)) => text,
        (None, None) => "no message",
    }
}
