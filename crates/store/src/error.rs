//! Why a store could not do what was asked.

use std::path::PathBuf;
use std::time::Duration;

/// Why an operation of a store failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server is not there, or the connection is gone. Trying again may help.
    #[error("store {url} is unreachable: {reason}")]
    Unreachable {
        /// The store, without its password.
        url: String,
        /// What the system said.
        reason: String,
    },

    /// The operation did not finish within its deadline; whether it took effect is not known.
    #[error("{operation} on {url} did not finish within {after:?}")]
    Timeout {
        /// What was asked.
        operation: &'static str,
        /// The store, without its password.
        url: String,
        /// The deadline.
        after: Duration,
    },

    /// The disk or the server's memory is full. Nothing was changed; free some space and try again.
    #[error("no space left for {url}: free some space, nothing was changed")]
    Full {
        /// The store.
        url: String,
    },

    /// The file or its folder cannot be written.
    #[error("{path} cannot be written by this user: change its permissions or choose another file")]
    ReadOnly {
        /// The file or folder.
        path: PathBuf,
    },

    /// The file is not a database, or is damaged.
    #[error("{path} is not a usable database ({reason}): move it away, or restore it from a backup")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The data was written by a newer version of this program.
    #[error("{url} has schema version {found}, this program knows up to {known}: use a newer celeriac")]
    NewerVersion {
        /// The store.
        url: String,
        /// The version found.
        found: u32,
        /// The newest version this program can read.
        known: u32,
    },

    /// A message or result is larger than the store takes.
    #[error(
        "{what} of {size} bytes is larger than the limit of {limit}: store the data elsewhere and send a reference"
    )]
    TooLarge {
        /// What was too large, with its task id.
        what: String,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },

    /// The URL or an option of the store is wrong.
    #[error("store URL {url}: {reason}")]
    Misconfigured {
        /// The URL, without its password.
        url: String,
        /// What is wrong, and what would be right.
        reason: String,
    },

    /// The consumer or store was closed before the operation.
    #[error("store is closed")]
    Closed,

    /// Any other failure of the server, with its own words.
    #[error("store {url} failed: {reason}")]
    Failed {
        /// The store.
        url: String,
        /// What the server said.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Full { .. })
    }
}
