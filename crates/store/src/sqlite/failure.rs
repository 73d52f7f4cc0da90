//! What SQLite's errors mean to callers.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use rusqlite::ErrorCode;
use rusqlite::ffi;

use crate::Error;

/// Where the store is, for errors.
pub(super) struct Place {
    pub url: Box<str>,
    pub path: PathBuf,
    /// Device and number of the file that was opened.
    opened: OnceLock<(u64, u64)>,
}

impl Place {
    pub(super) fn new(url: &str, path: &Path) -> Self {
        Self { url: url.into(), path: path.to_owned(), opened: OnceLock::new() }
    }

    /// Notes which file lies at the path, once it is open.
    pub(super) fn note_file(&self) {
        if let Some(file) = self.file() {
            self.opened.get_or_init(|| file);
        }
    }

    /// Fails if the file that was opened lies no longer at the path: whoever opens the path sees another file, or none,
    /// and what this process writes is gone when it ends. SQLite itself does not notice.
    pub(super) fn check_file(&self) -> Result<(), Error> {
        match self.opened.get() {
            Some(opened) if self.file() != Some(*opened) => Err(Error::Failed {
                url: self.url.to_string(),
                reason: "the file was removed or replaced while it was open; restart this process".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    fn file(&self) -> Option<(u64, u64)> {
        std::fs::metadata(&self.path).ok().map(|found| (found.dev(), found.ino()))
    }

    /// What `error` means for an operation that had `deadline`.
    pub(super) fn explain(
        &self,
        operation: &'static str,
        deadline: Duration,
        error: &rusqlite::Error,
    ) -> Error {
        let url = self.url.to_string();
        let reason = error.to_string();
        let Some(code) = error.sqlite_error() else { return Error::Failed { url, reason } };
        // Growing the shared index beside the file failed: that too needs space.
        if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE {
            return Error::Full { url };
        }
        match code.code {
            ErrorCode::DiskFull => Error::Full { url },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
                Error::Timeout { operation, url, after: deadline }
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => self.corrupt(reason),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::ReadOnly { path: self.path.clone() },
            ErrorCode::CannotOpen => self.cannot_open(),
            _ => Error::Failed { url, reason },
        }
    }

    /// The file is there and is not ours to read.
    pub(super) fn corrupt(&self, reason: String) -> Error {
        Error::Corrupt { path: self.path.clone(), reason }
    }

    fn cannot_open(&self) -> Error {
        let url = self.url.to_string();
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if self.path.is_dir() {
            let reason = format!("{} is a folder: name a file in it", self.path.display());
            Error::Misconfigured { url, reason }
        } else if !folder.is_dir() {
            let reason = format!("the folder {} does not exist: create it", folder.display());
            Error::Misconfigured { url, reason }
        } else {
            Error::ReadOnly { path: self.path.clone() }
        }
    }
}

/// Whether somebody else held the write lock for the whole deadline.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}
