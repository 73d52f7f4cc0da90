//! A store in the memory of one process, for tests: `memory://NAME`.
//!
//! It keeps every promise of the traits by the simplest means: one lock around all state, and everybody who waits looks
//! again whenever something changed. Time comes from its [`Clock`], so tests may pause it.

mod broadcasts;
mod broker;
mod control_state;
mod expiring;
mod failed;
mod groups;
mod presence;
mod queues;
mod results;
mod revocations;
mod schedule;
mod search;
mod state;

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use celeriac_protocol::{QueueName, Timestamp};
use tokio::sync::watch;

use self::state::State;
use crate::clock::Clock;

/// The stores of this process by name, as long as somebody holds one.
static OPEN: LazyLock<Mutex<HashMap<String, Weak<Shared>>>> = LazyLock::new(Mutex::default);

/// A handle on one memory store. It plays every role; clones share the same data.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

/// What the handles share.
#[derive(Debug)]
struct Shared {
    url: String,
    clock: Clock,
    largest: usize,
    state: Mutex<State>,
    /// How often somebody had asked the workers when one of this process heard of it last.
    heard: AtomicU64,
    /// Told after every change.
    changed: watch::Sender<()>,
}

/// What one look at the state of the store found.
enum Look<T> {
    /// What was waited for.
    Found(T),
    /// Nothing yet. Look again when something has changed, or at this time.
    Nothing(Option<Timestamp>),
}

impl MemoryStore {
    /// The store of this name, made if this process has none.
    ///
    /// It lives as long as somebody holds a handle on it; the clock and the limit, in bytes for one body or result,
    /// are those of whoever opened it first.
    pub fn open(name: &str, clock: Clock, largest: usize) -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = open.get(name).and_then(Weak::upgrade) {
            return Self { shared };
        }
        let shared = Arc::new(Shared {
            url: format!("memory://{name}"),
            clock,
            largest,
            state: Mutex::default(),
            heard: AtomicU64::default(),
            changed: watch::Sender::new(()),
        });
        open.retain(|_, other| other.strong_count() > 0);
        open.insert(name.to_owned(), Arc::downgrade(&shared));
        Self { shared }
    }

    /// What identifies the store.
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Puts bytes into a queue that no fetch will be able to decode.
    pub fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        self.change(|state, _| state.queues.publish_undecodable(queue, bytes.to_vec()));
    }

    /// Reads or changes the state as it is now, and tells those who wait.
    fn change<T>(&self, change: impl FnOnce(&mut State, Timestamp) -> T) -> T {
        let done = {
            let (mut state, now) = self.lock();
            change(&mut state, now)
        };
        self.shared.changed.send_replace(());
        done
    }

    /// Reads the state as it is now.
    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        let (state, _) = self.lock();
        read(&state)
    }

    /// Looks until something is found. Cancel safe, if `look` takes only what it returns as found.
    async fn look_for<T>(&self, mut look: impl FnMut(&mut State, Timestamp) -> Look<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        loop {
            let found = {
                let (mut state, now) = self.lock();
                look(&mut state, now)
            };
            let until = match found {
                Look::Found(found) => return found,
                Look::Nothing(until) => until,
            };
            let at_its_time = async {
                match until {
                    Some(until) => self.shared.clock.sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = at_its_time => {}
                // It cannot fail: the sender lives in what `self` holds.
                _ = changed.changed() => {}
            }
        }
    }

    /// The state, with everything done that time has brought.
    fn lock(&self) -> (MutexGuard<'_, State>, Timestamp) {
        // Every change of the state is complete before anything in it can panic.
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.shared.clock.now();
        if state.pass_time(now) {
            self.shared.changed.send_replace(());
        }
        (state, now)
    }
}

#[cfg(test)]
mod tests;
