//! Redis: the engine on a server, its queues and results byte for byte where kombu and Celery keep them.
//!
//! Whatever must happen as one step is one Lua script (`lua/`), which [`script`] calls. [`link`] is a connection that
//! comes back by itself, [`pushes`] the one on which the server tells what changed, so that nobody polls. All of them
//! are driven by a thread of their own ([`io`]), which the program's tasks cannot hold up. [`keys`] names the keys.
//!
//! Source of the layout: `kombu/transport/redis.py`, kombu 5.7.0, and `celery/backends/redis.py`, Celery 5.7.0.

mod bindings;
mod broadcasts;
mod claim;
mod consequences;
mod consumer;
mod control_state;
mod databases;
mod dial;
mod door;
mod failed;
mod failure;
mod groups;
mod io;
mod keys;
mod lease;
mod lending;
mod link;
mod presence;
mod publish;
mod pulse;
mod pushes;
mod query;
mod queues;
mod replies;
mod restore;
mod results;
mod revocations;
mod schedule;
mod script;
mod search;
mod sentinel;
mod settle;
mod target;
#[cfg(test)]
mod tests;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::{QueueName, Timestamp};

use self::databases::Databases;
pub(crate) use self::databases::shared_database;
use self::door::Door;
use self::io::Io;
use self::keys::Keys;
use self::link::Link;
use self::pushes::Pushes;
use self::restore::Restoring;
use self::target::Target;
use crate::{Binding, ConnectOptions, Result, Store};

/// A store on a Redis server. It plays every role; clones share its connections.
#[derive(Clone)]
pub struct RedisStore {
    shared: Arc<Shared>,
}

/// What the clones share: three connections at most.
struct Shared {
    keys: Keys,
    /// The database of messages.
    database: i64,
    /// Where results are, if not in the database of messages.
    databases: Option<Databases>,
    options: ConnectOptions,
    /// For everything that is asked and answered.
    link: Link,
    /// For leases alone, so that no large message holds up their renewal.
    renewals: Link,
    /// For broadcasts alone, so that events hold up nothing that is about tasks.
    broadcasts: Link,
    /// For what the server says unasked.
    pushes: Pushes,
    /// Queues that this process has declared.
    declared: Mutex<HashSet<QueueName>>,
    /// What it has bound.
    bound: Mutex<BTreeSet<Binding>>,
    /// How often the workers had been asked when this process heard of it last.
    asked: AtomicU64,
    restoring: Restoring,
    io: Io,
    /// The way of all connections.
    door: Arc<Door>,
}

/// Opens the server that `url` names as a [`Store`].
///
/// # Errors
/// [`crate::Error::Misconfigured`] for a URL or a password that is wrong, [`crate::Error::Unreachable`] if nobody answers.
pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Store> {
    Ok(RedisStore::open(url, options).await?.into_store(url))
}

impl RedisStore {
    /// Opens the server with connections of its own.
    ///
    /// # Errors
    /// Those of [`connect`].
    pub async fn open(url: &str, options: &ConnectOptions) -> Result<Self> {
        let target = Arc::new(Target::parse(url, &options.redis)?);
        let io = Io::start(target.url())?;
        let door = Arc::<Door>::default();
        let link = |purpose| Link::new(&target, &io, options.deadline, purpose, &door);
        let (renewals, broadcasts) = (link("leases"), link("broadcasts"));
        let (link, pushes) = (link("commands"), Pushes::start(link("pushes"), &io));
        let (keys, databases) = (Keys::new(&options.redis), Databases::of(&target, &options.redis));
        let database = target.login().db();
        let options = options.clone();
        let (declared, bound, asked) = (Mutex::default(), Mutex::default(), AtomicU64::default());
        let restoring = Restoring::default();
        let shared = Shared {
            keys,
            database,
            databases,
            options,
            link,
            renewals,
            broadcasts,
            pushes,
            declared,
            bound,
            asked,
            restoring,
            io,
            door,
        };
        // This finds out whether the server is there and lets us in.
        shared.link.connect_first().await?;
        shared.check_databases().await?;
        shared.asked.store(shared.times_asked().await?, Ordering::Relaxed);
        Ok(Self { shared: Arc::new(shared) })
    }

    /// This server in all its roles, as the [`Store`] at `url`.
    pub fn into_store(self, url: &str) -> Store {
        Store::of(url, &Arc::new(self))
    }
}

impl Shared {
    /// The time as scripts take it: nothing, for the server's own clock, unless a test has set another.
    fn now(&self) -> Option<Timestamp> {
        self.options.clock.set_by_test()
    }

    /// The time when the server answered this to `TIME`.
    fn time_at(&self, (seconds, micros): (i64, i64)) -> Timestamp {
        self.now().unwrap_or_else(|| Timestamp::from_micros(seconds * 1_000_000 + micros))
    }
}

/// A lock whose data stays valid when a holder panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
