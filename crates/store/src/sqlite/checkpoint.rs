//! Writing the log back into the file, off the thread that others wait for.

use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::closing::Opening;
use super::connection::{self, LockDeadline};
use super::failure::Place;

/// Pages in the log from which on the checkpoint thread writes it back (4 MiB).
const WORTHWHILE: i32 = 1000;
/// Pages from which on the writer does it itself: under steady load the thread never catches up, because the log starts
/// from its beginning only when all of it has been written back (32 MiB).
const URGENT: i32 = 8000;
/// A checkpoint waits for nobody for longer.
const PATIENCE: Duration = Duration::from_millis(100);
/// The stack of the thread.
const STACK: usize = 256 << 10;

/// Writes the log back when it has grown.
pub(super) struct Checkpointer {
    /// At most one request waits; more would mean the same.
    requests: Option<SyncSender<()>>,
}

impl Checkpointer {
    /// Starts the thread; it opens its connection when it is first asked.
    pub(super) fn start(place: Arc<Place>) -> Self {
        let (requests, inbox) = mpsc::sync_channel::<()>(1);
        let thread = std::thread::Builder::new().name("sqlite-log".into()).stack_size(STACK);
        let opening = Opening::new();
        let spawned = thread.spawn(move || {
            let _opening = opening;
            let deadline = LockDeadline::default();
            let mut connection = None;
            while inbox.recv().is_ok() {
                deadline.set(Instant::now(), PATIENCE);
                let opened = match connection.take() {
                    Some(connection) => Ok(connection),
                    None => connection::open_checkpointer(&place.path, &deadline),
                };
                match opened.and_then(|opened| checkpoint(&opened).map(|()| opened)) {
                    Ok(opened) => connection = Some(opened),
                    Err(error) => tracing::debug!(%error, "the log was not written back this time"),
                }
            }
            if let Some(connection) = connection {
                connection::close(connection, &place);
            }
        });
        // Without the thread, the writer does all of it.
        Self { requests: spawned.is_ok().then_some(requests) }
    }

    /// Called after a commit with the number of pages in the log.
    pub(super) fn consider(&self, writer: &Connection, pages: i32) {
        if pages >= URGENT {
            if let Err(error) = checkpoint(writer) {
                tracing::debug!(%error, "the log was not written back this time");
            }
        } else if pages >= WORTHWHILE
            && let Some(requests) = &self.requests
        {
            // If a request is waiting already, it stands for this one too.
            let _ = requests.try_send(());
        }
    }
}

/// Writes back what can be written without waiting for readers and writers.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
