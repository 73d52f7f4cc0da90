//! Connections to the file, and how they wait for each other.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::Place;
use super::lock;
use crate::Durability;

/// Cached pages of the connection that writes, in KiB; taken as they are needed.
const WRITER_CACHE_KIB: i64 = 8192;
/// Cached pages of the other connections, in KiB.
const SMALL_CACHE_KIB: i64 = 512;
/// What remains of a log file after it was written back, in bytes.
const LOG_SIZE_LIMIT: i64 = 64 << 20;
/// Prepared statements kept per connection: all there are.
const STATEMENTS: usize = 160;

/// The moment until which a connection waits for locks of other processes.
#[derive(Clone, Default)]
pub(super) struct LockDeadline(Arc<Mutex<Option<Instant>>>);

impl LockDeadline {
    /// From now on, wait until `time` after `from`; a time beyond the clock's range is a century.
    pub(super) fn set(&self, from: Instant, time: Duration) {
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        *lock(&self.0) = Some(from + time.min(CENTURY));
    }

    /// Sleeps a little and says whether to try again; `attempt` counts from 0.
    ///
    /// SQLite has no queue of those who wait for a lock, so they have to try. The first naps are shorter than a
    /// commit; jitter keeps two waiters from missing the same gaps.
    fn nap(&self, attempt: i32) -> bool {
        const SHORTEST: Duration = Duration::from_micros(50);
        const LONGEST: Duration = Duration::from_millis(2);
        let left = match *lock(&self.0) {
            Some(moment) => moment.saturating_duration_since(Instant::now()),
            None => Duration::ZERO,
        };
        let nap = SHORTEST
            .saturating_mul(1 << (attempt / 8).clamp(0, 8))
            .min(LONGEST)
            .mul_f64(0.5 + fastrand::f64());
        pause(nap.min(left));
        !left.is_zero()
    }
}

#[expect(clippy::disallowed_methods, reason = "a lock of another process gives no event to wait for")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Opens the connection that writes, and the file with it.
pub(super) fn open_writer(
    path: &Path,
    durability: Durability,
    deadline: &LockDeadline,
) -> rusqlite::Result<Connection> {
    let connection = open(path, deadline, OpenFlags::SQLITE_OPEN_CREATE, WRITER_CACHE_KIB)?;
    let synchronous = match durability {
        Durability::Normal => "NORMAL",
        Durability::Full => "FULL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "journal_size_limit", LOG_SIZE_LIMIT)?;
    Ok(connection)
}

/// Opens a connection that only reads. The file must have been opened by a writer.
pub(super) fn open_reader(path: &Path, deadline: &LockDeadline) -> rusqlite::Result<Connection> {
    let connection = open(path, deadline, OpenFlags::empty(), SMALL_CACHE_KIB)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// Opens a connection that writes the log back into the file. The file must have been opened by a writer.
pub(super) fn open_checkpointer(path: &Path, deadline: &LockDeadline) -> rusqlite::Result<Connection> {
    open(path, deadline, OpenFlags::empty(), SMALL_CACHE_KIB)
}

/// Closes a connection. If the file was removed or replaced, the files beside its path are left alone.
///
/// SQLite removes the log when the last connection to a file is closed, and finds it by its name: were that now the log
/// of another file at the same path, whoever writes there would lose what it holds.
pub(super) fn close(connection: Connection, place: &Place) {
    if place.check_file().is_err()
        && let Err(error) = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
    {
        tracing::error!(path = %place.path.display(), %error, "a log file may be removed that belongs to another file");
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(path = %place.path.display(), %error, "the store was not closed in order");
    }
}

fn open(
    path: &Path,
    deadline: &LockDeadline,
    flags: OpenFlags,
    cache_kib: i64,
) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some({
        let deadline = deadline.clone();
        move |attempt| deadline.nap(attempt)
    }))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection with something in its log.
    fn written(path: &Path) -> Connection {
        let connection = open_writer(path, Durability::Normal, &LockDeadline::default()).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
        connection
    }

    #[test]
    fn closing_a_file_that_was_replaced_leaves_the_log_of_the_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.db");
        let log = folder.path().join("tasks.db-wal");
        let place = Place::new("sqlite:///tasks.db", &path);
        let old = written(&path);
        place.note_file();
        for name in ["tasks.db", "tasks.db-wal", "tasks.db-shm"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let new = written(&path);
        close(old, &place);
        assert!(log.exists(), "others would write another log");

        let place = Place::new("sqlite:///tasks.db", &path);
        place.note_file();
        close(new, &place);
        assert!(!log.exists(), "closed in order");
    }
}
