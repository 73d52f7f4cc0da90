//! The embedded store: one file that several processes of one host share.
//!
//! All writing of a process goes through one thread ([`writer`]), which commits everything that is pending as one
//! transaction; reading has a thread and a connection of its own ([`reader`]). Encoding and decoding happen in the task
//! that asks, and not in these threads; only a revocation, and a search for people, have to look there at what waits. Other processes are woken
//! through named pipes ([`wake`]) and not by polling.
//! Where a message is in its life is a row in one of three small tables; see `sql/schema_1.sql`. What one operation does
//! to chords is gathered ([`chords`]), so that each is read once and written once.

mod bindings;
mod broadcasts;
mod checkpoint;
mod chords;
mod closing;
mod connection;
mod control_state;
mod failed;
mod failure;
mod fetch;
mod finish;
mod groups;
mod key;
mod lease;
mod lending;
mod listener;
mod locate;
mod presence;
mod publish;
mod queues;
mod reader;
mod results;
mod revocations;
mod schedule;
mod schema;
mod search;
mod sweep;
mod transaction;
mod waiting;
mod wake;
mod workflow;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub(crate) use self::closing::wait_until_closed;
use self::failure::Place;
use self::reader::Reader;
use self::waiting::Waiters;
use self::wake::Wake;
use self::writer::Writer;
use crate::{ConnectOptions, Result, Store};

/// The files this process has open, so that each has one writer thread.
static OPEN: Mutex<Vec<(PathBuf, Weak<Shared>)>> = Mutex::new(Vec::new());

/// A store in an SQLite file. It plays every role; clones share its threads and connections.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    place: Arc<Place>,
    options: ConnectOptions,
    writer: Writer,
    reader: Reader,
    wake: Arc<Wake>,
    waiters: Arc<Waiters>,
    /// How often the workers had been asked when one of this process heard of it last.
    asked: AtomicU64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The thread that writes rings for others until it ends, and does not hear them.
        self.wake.close();
    }
}

/// Opens the file at `path`, which is created if it is not there, as a [`Store`] named `url`.
///
/// # Errors
/// What is wrong with the file or its folder.
pub async fn connect(url: &str, path: &Path, options: &ConnectOptions) -> Result<Store> {
    let shared = match find_open(path, options) {
        Some(shared) => shared,
        None => {
            let opened = SqliteStore::open(url, path, options).await?.shared;
            let mut open = lock(&OPEN);
            open.retain(|(_, shared)| shared.strong_count() > 0);
            open.push((canonical(path), Arc::downgrade(&opened)));
            opened
        }
    };
    Ok(Store::of(url, &Arc::new(SqliteStore { shared })))
}

/// What this process has open already, if it is to behave the same.
fn find_open(path: &Path, options: &ConnectOptions) -> Option<Arc<Shared>> {
    let path = canonical(path);
    let open = lock(&OPEN);
    let same = open.iter().filter(|(known, _)| *known == path).filter_map(|(_, shared)| shared.upgrade());
    same.into_iter().find(|shared| shared.options == *options)
}

/// One name for each file, however it was reached.
fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

impl SqliteStore {
    /// Opens the file with threads and connections of its own, as another process would have them.
    ///
    /// # Errors
    /// What is wrong with the file or its folder.
    pub async fn open(url: &str, path: &Path, options: &ConnectOptions) -> Result<Self> {
        let place = Arc::new(Place::new(url, path));
        let waiters = Arc::new(Waiters::default());
        let reader = Reader::start(Arc::clone(&place), options.deadline)?;
        let wake = Arc::new(Wake::new(path, waiters.feeder(&reader)));
        let writer = Writer::start(Arc::clone(&place), options, Arc::clone(&wake)).await?;
        place.note_file();
        let options = options.clone();
        Ok(Self {
            shared: Arc::new(Shared {
                place,
                options,
                writer,
                reader,
                wake,
                waiters,
                asked: AtomicU64::default(),
            }),
        })
    }
}

/// A lock whose data stays valid when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
