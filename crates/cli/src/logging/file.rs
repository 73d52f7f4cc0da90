//! A log file that others may rotate.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether the file was moved away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Appends lines to a file. When the file was renamed or removed (as `logrotate` does), a new one is made under
/// the old name, as Python's `WatchedFileHandler` in Celery does.
pub(crate) struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    identity: Identity,
    looked: Instant,
}

/// Device and inode.
type Identity = (u64, u64);

impl LogFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), open: Mutex::new(Open::at(path)?) })
    }

    /// Appends one line. A file that cannot be opened anew or written loses it.
    pub(crate) fn write(&self, line: &[u8]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.looked.elapsed() >= LOOK_EVERY {
            open.follow(&self.path);
        }
        let _ = open.file.write_all(line);
    }
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let identity = identity(&file.metadata()?);
        Ok(Self { file, identity, looked: Instant::now() })
    }

    /// Opens the file anew if another one, or none, has its name.
    fn follow(&mut self, path: &Path) {
        self.looked = Instant::now();
        let moved = !std::fs::metadata(path).is_ok_and(|metadata| identity(&metadata) == self.identity);
        if moved && let Ok(anew) = Self::at(path) {
            *self = anew;
        }
    }
}

fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_its_name_when_the_file_is_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("worker.log");
        let log = LogFile::open(&path).unwrap();
        log.write(b"one\n");
        std::fs::rename(&path, folder.path().join("worker.log.1")).unwrap();
        log.open.lock().unwrap().follow(&path);
        log.write(b"two\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        assert_eq!(std::fs::read_to_string(folder.path().join("worker.log.1")).unwrap(), "one\n");
    }
}
