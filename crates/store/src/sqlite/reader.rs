//! The thread that reads.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rusqlite::{CachedStatement, Connection};
use tokio::sync::oneshot;

use super::closing::Opening;
use super::connection::{self, LockDeadline};
use super::failure::Place;
use crate::{Error, Result};

/// Something to be read. It answers by itself, also if the connection could not be opened.
type Job = Box<dyn FnOnce(std::result::Result<&Connection, &rusqlite::Error>) + Send>;

/// Hands jobs to the thread. The thread ends when the last handle is gone.
#[derive(Clone)]
pub(super) struct Reader {
    jobs: mpsc::Sender<Job>,
    place: Arc<Place>,
    deadline: Duration,
}

impl Reader {
    /// Starts the thread; it opens its connection when it is first asked.
    pub(super) fn start(place: Arc<Place>, deadline: Duration) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel();
        let here = Arc::clone(&place);
        let thread = std::thread::Builder::new().name("sqlite-reader".into());
        let opening = Opening::new();
        let serving = move || {
            let _opening = opening;
            serve(&here, deadline, &inbox);
        };
        match thread.spawn(serving) {
            Ok(_) => Ok(Self { jobs, place, deadline }),
            Err(error) => Err(Error::Failed { url: place.url.to_string(), reason: error.to_string() }),
        }
    }

    /// Runs `look` on a connection that sees everything committed before this call.
    pub(super) async fn call<T, F>(&self, name: &'static str, look: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.ask(name, look).take().await
    }

    /// As [`Reader::call`], for a caller that may stop waiting and come back for the answer.
    pub(super) fn ask<T, F>(&self, name: &'static str, look: F) -> Answer<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        // If the thread has ended, the answer says so.
        let _ = self.jobs.send(Box::new(move |connection| {
            let outcome = match connection {
                Ok(connection) => look(connection),
                Err(error) => Err(copy(error)),
            };
            // A caller that stopped waiting has no use for it.
            let _ = reply.send(outcome);
        }));
        Answer { name, answer, place: Arc::clone(&self.place), deadline: self.deadline }
    }

    /// Runs `look` without waiting for it; if there is no connection, it is not run.
    pub(super) fn submit(&self, look: impl FnOnce(&Connection) + Send + 'static) {
        // It fails only if the thread has ended, and then nobody waits.
        let _ = self.jobs.send(Box::new(move |connection| connection.map(look).unwrap_or_default()));
    }
}

/// What was asked and is not answered yet.
pub(super) struct Answer<T> {
    name: &'static str,
    answer: oneshot::Receiver<rusqlite::Result<T>>,
    place: Arc<Place>,
    deadline: Duration,
}

impl<T> Answer<T> {
    /// Waits for the answer, once. Cancel safe.
    pub(super) async fn take(&mut self) -> Result<T> {
        match (&mut self.answer).await {
            Ok(outcome) => outcome.map_err(|error| self.place.explain(self.name, self.deadline, &error)),
            Err(_) => Err(Error::Closed),
        }
    }
}

fn serve(place: &Place, deadline: Duration, jobs: &mpsc::Receiver<Job>) {
    let lock_deadline = LockDeadline::default();
    let mut connection = None;
    while let Ok(job) = jobs.recv() {
        lock_deadline.set(Instant::now(), deadline);
        let opened = match connection.take() {
            Some(connection) => Ok(connection),
            None => connection::open_reader(&place.path, &lock_deadline),
        };
        job(opened.as_ref());
        connection = opened.ok();
    }
    if let Some(connection) = connection {
        connection::close(connection, place);
    }
}

/// The error again, as far as callers tell errors apart.
fn copy(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, text) => rusqlite::Error::SqliteFailure(*code, text.clone()),
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}

/// A prepared statement.
pub(super) fn statement<'open>(
    connection: &'open Connection,
    sql: &'static str,
) -> rusqlite::Result<CachedStatement<'open>> {
    connection.prepare_cached(sql)
}
