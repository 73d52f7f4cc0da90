//! Connections to the file, and how they wait for each other.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::lock;
use crate::Durability;

/// Cached pages of the connection that writes, in KiB; taken as they are needed.
const WRITER_CACHE_KIB: i64 = 8192;
/// Cached pages of the other connections, in KiB.
const SMALL_CACHE_KIB: i64 = 512;
/// What remains of a log file after it was written back, in bytes.
const LOG_SIZE_LIMIT: i64 = 64 << 20;
/// Prepared statements kept per connection: all there are.
const STATEMENTS: usize = 128;

/// The moment until which a connection waits for locks of other processes.
#[derive(Clone, Default)]
pub(super) struct LockDeadline(Arc<Mutex<Option<Instant>>>);

impl LockDeadline {
    /// From now on, wait until `moment`.
    pub(super) fn set(&self, moment: Instant) {
        *lock(&self.0) = Some(moment);
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
fn pause(time: Duration) {
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
