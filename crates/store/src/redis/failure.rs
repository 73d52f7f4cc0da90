//! What an error of the server means to the caller.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::target::Target;
use crate::Error;

/// The server is there and cannot do it for now: it is not the primary, has no replica or no disk, reads its data, or is
/// held up by a script.
const PASSING: [&str; 7] =
    ["READONLY", "NOREPLICAS", "MISCONF", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY Redis is busy"];

/// The error for the caller.
pub(super) fn translate(error: &RedisError, target: &Target) -> Error {
    let url = target.url().to_owned();
    let reason = error.to_string();
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::Misconfigured { url, reason },
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly,
        ) => Error::Unreachable { url, reason },
        _ if error.is_io_error() || error.is_unrecoverable_error() => Error::Unreachable { url, reason },
        _ if is_forbidden(&reason) => Error::Misconfigured {
            url,
            reason: format!("its user may not do all that is needed: {reason}; {PERMIT}"),
        },
        _ => by_code(error.code(), url, reason),
    }
}

/// What a user of an ACL needs. Redis 7 gives new users no channels.
const PERMIT: &str = "an ACL that is enough is ~* &* +@all -@admin -@dangerous";

/// Whether an ACL forbids it, as the server says it of a command, of several, and of one in a script.
fn is_forbidden(reason: &str) -> bool {
    ["NoPerm", "NOPERM", "The user executing the script"].iter().any(|word| reason.contains(word))
}

/// Errors that the client library has no kind for.
fn by_code(code: Option<&str>, url: String, reason: String) -> Error {
    match code {
        Some("OOM") => Error::Full { url },
        Some("NOAUTH" | "WRONGPASS") => Error::Misconfigured { url, reason },
        // Scripts and transactions tell of these in words of their own.
        _ if reason.contains("command not allowed when used memory") => Error::Full { url },
        _ if PASSING.iter().any(|word| reason.contains(word)) => Error::Unreachable { url, reason },
        _ => Error::Failed { url, reason },
    }
}

/// Whether the connection is of no use after this error.
pub(super) fn ends_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            // It was the primary and is not any more.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
        )
        || error.to_string().contains("READONLY")
}
