//! The one thread of this process that writes, and how it groups commits.
//!
//! Whoever wants to write hands over an [`Operation`] and waits. The thread takes everything that is pending into
//! one transaction: while one group commits, the next one gathers, so load makes groups larger and commits no more
//! frequent. An operation that fails does not fail its neighbours: the group is taken back and each runs alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::Checkpointer;
use super::closing::Opening;
use super::connection::{self, LockDeadline};
use super::failure::{self, Place};
use super::schema::{self, Trouble};
use super::transaction::{QueueIds, Tx};
use super::wake::{Topics, Wake};
use crate::clock::Clock;
use crate::{ConnectOptions, Error, Result};

/// Operations that may wait for the thread before callers wait to hand theirs over.
const PENDING: usize = 1024;
/// Operations in one transaction, so that the write lock goes round among processes.
const GROUP: usize = 64;

/// Something to be done in a write transaction.
pub(super) trait Operation: Send {
    /// Whether a transaction is worth it. Asked outside of one, if nothing else is pending.
    fn wants_to_write(&mut self, _look: &Connection, _now: i64) -> rusqlite::Result<bool> {
        Ok(true)
    }

    /// Does it. May be called again after [`Operation::undo`].
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// The transaction was taken back: restores what `run` changed outside of the database.
    fn undo(&mut self) {}

    /// Tells the caller, after the commit or the final failure.
    fn answer(self: Box<Self>, outcome: Result<()>);
}

/// An operation on its way.
struct Pending {
    name: &'static str,
    since: Instant,
    operation: Box<dyn Operation>,
}

/// Hands operations to the thread. The thread ends when the last handle is gone.
#[derive(Clone)]
pub(super) struct Writer {
    pending: mpsc::Sender<Pending>,
}

impl Writer {
    /// Opens the file and starts the thread.
    pub(super) async fn start(place: Arc<Place>, options: &ConnectOptions, wake: Arc<Wake>) -> Result<Self> {
        let (pending, inbox) = mpsc::channel(PENDING);
        let (opened, started) = oneshot::channel();
        let (options, here) = (options.clone(), Arc::clone(&place));
        let thread = std::thread::Builder::new().name("sqlite-writer".into());
        let opening = Opening::new();
        let spawned = thread.spawn(move || {
            let _opening = opening;
            match WriterThread::open(place, &options, wake) {
                Ok(thread) => {
                    if opened.send(Ok(())).is_ok() {
                        thread.serve(inbox);
                    }
                }
                // If nobody waits for the answer, nobody wants to know.
                Err(error) => drop(opened.send(Err(error))),
            }
        });
        if let Err(error) = spawned {
            return Err(Error::Failed { url: here.url.to_string(), reason: error.to_string() });
        }
        started.await.unwrap_or(Err(Error::Closed))?;
        Ok(Self { pending })
    }

    /// Hands over an operation, which answers by itself.
    pub(super) async fn submit(&self, name: &'static str, operation: Box<dyn Operation>) -> Result<()> {
        let pending = Pending { name, since: Instant::now(), operation };
        self.pending.send(pending).await.map_err(|_| Error::Closed)
    }

    /// Runs `work` in a write transaction without waiting for it, unless so much waits that there is no room.
    pub(super) fn call_unheard<F>(&self, name: &'static str, work: F)
    where
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<()> + Send + 'static,
    {
        let (reply, _) = oneshot::channel();
        let operation = Box::new(Call { work, done: None, reply });
        // It fails also if the thread has ended.
        let _ = self.pending.try_send(Pending { name, since: Instant::now(), operation });
    }

    /// Runs `work` in a write transaction and returns what it returned, once that is committed.
    pub(super) async fn call<T, F>(&self, name: &'static str, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(name, Box::new(Call { work, done: None, reply })).await?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// A closure as an operation.
struct Call<T, F> {
    work: F,
    done: Option<T>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T, F> Operation for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Tx<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.done = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        let Self { done, reply, .. } = *self;
        let answer = outcome.and_then(|()| done.ok_or(Error::Closed));
        // A caller that stopped waiting has no use for it; what is committed stays.
        let _ = reply.send(answer);
    }
}

/// What the thread owns.
struct WriterThread {
    connection: Connection,
    lock_deadline: LockDeadline,
    deadline: Duration,
    clock: Clock,
    place: Arc<Place>,
    wake: Arc<Wake>,
    queues: QueueIds,
    checkpointer: Checkpointer,
    /// Pages in the log after the last commit that wrote something, until that was considered.
    logged: Arc<AtomicI32>,
}

impl WriterThread {
    fn open(place: Arc<Place>, options: &ConnectOptions, wake: Arc<Wake>) -> Result<Self> {
        let lock_deadline = LockDeadline::default();
        lock_deadline.set(Instant::now(), options.deadline);
        let explain = |error| place.explain("open", options.deadline, &error);
        let mut connection =
            connection::open_writer(&place.path, options.durability, &lock_deadline).map_err(explain)?;
        schema::migrate(&mut connection, &place).map_err(|trouble| match trouble {
            Trouble::Sqlite(error) => explain(error),
            Trouble::Content(error) => error,
        })?;
        let checkpointer = Checkpointer::start(Arc::clone(&place));
        let (deadline, clock, queues) = (options.deadline, options.clock.clone(), QueueIds::default());
        let logged = Arc::new(AtomicI32::new(0));
        connection
            .wal_hook(Some({
                let logged = Arc::clone(&logged);
                move |_: &mut _, pages| {
                    logged.store(pages, Ordering::Relaxed);
                    Ok(())
                }
            }))
            .map_err(explain)?;
        Ok(Self { connection, lock_deadline, deadline, clock, place, wake, queues, checkpointer, logged })
    }

    fn serve(mut self, mut inbox: mpsc::Receiver<Pending>) {
        let mut group = Vec::with_capacity(GROUP);
        while let Some(first) = inbox.blocking_recv() {
            group.push(first);
            while group.len() < GROUP {
                match inbox.try_recv() {
                    Ok(next) => group.push(next),
                    Err(_) => break,
                }
            }
            self.settle_group(&mut group);
        }
        connection::close(self.connection, &self.place);
    }

    /// Runs the group and answers each of it.
    fn settle_group(&mut self, group: &mut Vec<Pending>) {
        if let [alone] = &mut group[..] {
            let now = self.clock.now().as_micros();
            if matches!(alone.operation.wants_to_write(&self.connection, now), Ok(false)) {
                return group.drain(..).for_each(|pending| pending.operation.answer(Ok(())));
            }
        }
        match self.commit(group) {
            Ok(()) => group.drain(..).for_each(|pending| pending.operation.answer(Ok(()))),
            Err(error) if failure::is_busy(&error) => {
                self.fail_expired(group, &error);
                if !group.is_empty() {
                    self.settle_group(group);
                }
            }
            Err(error) if group.len() == 1 => {
                group.drain(..).for_each(|pending| self.fail(pending, &error));
            }
            Err(_) => {
                for pending in std::mem::take(group) {
                    self.settle_group(&mut vec![pending]);
                }
            }
        }
    }

    /// Others held the write lock until the deadline of the operation that waited longest. Those that came later may
    /// still get it.
    fn fail_expired(&self, group: &mut Vec<Pending>, error: &rusqlite::Error) {
        let longest = group.iter().map(|pending| pending.since).min();
        let is_expired =
            |pending: &Pending| Some(pending.since) == longest || pending.since.elapsed() >= self.deadline;
        let (expired, left) = group.drain(..).partition(is_expired);
        *group = left;
        expired.into_iter().for_each(|pending: Pending| self.fail(pending, error));
    }

    fn fail(&self, pending: Pending, error: &rusqlite::Error) {
        let error = self.place.explain(pending.name, self.deadline, error);
        pending.operation.answer(Err(error));
    }

    /// One transaction with the whole group in it, or nothing.
    fn commit(&mut self, group: &mut [Pending]) -> rusqlite::Result<()> {
        let longest_waiting = group.iter().map(|pending| pending.since).min().unwrap_or_else(Instant::now);
        self.lock_deadline.set(longest_waiting, self.deadline);
        match self.try_commit(group) {
            Ok(touched) => {
                self.queues.keep();
                self.wake.announce(touched);
                self.checkpointer.consider(&self.connection, self.logged.swap(0, Ordering::Relaxed));
                Ok(())
            }
            Err(error) => {
                // Some errors have rolled back by themselves.
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(path = %self.place.path.display(), %error, "a transaction could not be taken back");
                }
                self.queues.forget();
                group.iter_mut().rev().for_each(|pending| pending.operation.undo());
                Err(error)
            }
        }
    }

    fn try_commit(&mut self, group: &mut [Pending]) -> rusqlite::Result<Topics> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut tx = Tx::new(&self.connection, self.clock.now(), &mut self.queues);
        for pending in &mut *group {
            pending.operation.run(&mut tx)?;
        }
        tx.seal()?;
        let touched = tx.touched;
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(touched)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::sqlite::reader::Reader;
    use crate::sqlite::waiting::Waiters;

    /// Does nothing, and calls this with its answer.
    struct Probe<F>(F);

    impl<F: FnOnce(Result<()>) + Send> Operation for Probe<F> {
        fn run(&mut self, _tx: &mut Tx<'_>) -> rusqlite::Result<()> {
            Ok(())
        }

        fn answer(self: Box<Self>, outcome: Result<()>) {
            (self.0)(outcome);
        }
    }

    fn open(path: &Path, options: &ConnectOptions) -> WriterThread {
        let place = Arc::new(Place::new("sqlite:///tasks.db", path));
        let reader = Reader::start(Arc::clone(&place), options.deadline).unwrap();
        let wake = Arc::new(Wake::new(path, Arc::new(Waiters::default()).feeder(&reader)));
        WriterThread::open(place, options, wake).map_err(|error| error.to_string()).unwrap()
    }

    #[test]
    fn a_busy_file_fails_only_what_has_waited_until_its_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.db");
        let options = ConnectOptions::default();
        let mut thread = open(&path, &options);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let (answers, answered) = std::sync::mpsc::channel();
        let told = answers.clone();
        let now = Instant::now();
        // The other process leaves the lock once the first has given up.
        let first = Probe(move |outcome: Result<()>| {
            other.execute_batch("COMMIT").unwrap();
            told.send(("first", outcome.is_ok())).unwrap();
        });
        let second = Probe(move |outcome: Result<()>| answers.send(("second", outcome.is_ok())).unwrap());
        let mut group = vec![
            Pending { name: "first", since: now - options.deadline, operation: Box::new(first) },
            Pending { name: "second", since: now, operation: Box::new(second) },
        ];
        thread.settle_group(&mut group);
        drop(thread);
        assert_eq!(answered.iter().collect::<Vec<_>>(), [("first", false), ("second", true)]);
    }
}
