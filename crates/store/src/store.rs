//! The roles of one URL as one value.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::TaskId;

use crate::clock::Clock;
use crate::elsewhere::Servers;
use crate::memory::MemoryStore;
use crate::{
    Broadcasts, Broker, ControlState, Error, FailedTasks, Finish, Groups, Presence, Publication,
    RedisOptions, Result, ResultBackend, Revocations, Schedule, Settled, Settler, without_password,
};

/// One server (or file) in all the roles it plays. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    url: Arc<str>,
    broker: Arc<dyn Broker>,
    results: Arc<dyn ResultBackend>,
    groups: Arc<dyn Groups>,
    schedule: Arc<dyn Schedule>,
    revocations: Arc<dyn Revocations>,
    control_state: Arc<dyn ControlState>,
    failed: Arc<dyn FailedTasks>,
    presence: Arc<dyn Presence>,
    broadcasts: Arc<dyn Broadcasts>,
    /// Whether results, and with them groups, live on another server than messages.
    results_elsewhere: bool,
}

/// How to reach and use a store.
#[derive(Clone, Debug, PartialEq)]
pub struct ConnectOptions {
    /// What a commit survives. Default: [`Durability::Normal`].
    pub durability: Durability,
    /// How long one operation may take, waiting for other processes included. Default: 5 seconds.
    pub deadline: Duration,
    /// The largest message or result taken, in bytes, headers included. Default: 64 MiB.
    pub message_limit: usize,
    /// How a Redis server is used.
    pub redis: RedisOptions,
    /// Where the store reads the time.
    pub clock: Clock,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Normal,
            deadline: Duration::from_secs(5),
            message_limit: 64 << 20,
            redis: RedisOptions::default(),
            clock: Clock::system(),
        }
    }
}

impl ConnectOptions {
    /// Whether the store at `url` can keep the results of the store at `results` too, because they are one: the same URL,
    /// or two databases of one Redis server. If so, it does when it is opened with these options.
    pub fn keep_results_of(&mut self, results: &str, url: &str) -> bool {
        if results == url {
            return true;
        }
        #[cfg(feature = "redis")]
        if let Some(database) = crate::redis::shared_database(url, results, &self.redis) {
            self.redis.result_database = Some(database);
            return true;
        }
        false
    }
}

/// What a commit survives. The death of a process, it always survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// When the machine loses power, the commits of the last moments may be undone; the store stays consistent.
    #[default]
    Normal,
    /// On the disk before anybody hears of it. Each group of commits waits for the disk.
    Full,
}

/// Opens the store that `url` names.
///
/// `memory://NAME` is shared by all who name it in this process. `sqlite:///relative.db` and
/// `sqlite:////absolute/path.db` are a file that several processes of one host share.
///
/// # Errors
/// [`Error::Misconfigured`] for a URL that means nothing here; else what the store found when it was opened.
pub async fn connect(url: &str, options: &ConnectOptions) -> Result<Store> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err(no_url(url)) };
    match scheme {
        "memory" if rest.is_empty() => Err(misconfigured(url, "give it a name: memory://NAME")),
        "memory" => {
            let ConnectOptions { clock, message_limit, .. } = options;
            Ok(Store::of(url, &Arc::new(MemoryStore::open(rest, clock.clone(), *message_limit))))
        }
        #[cfg(feature = "sqlite")]
        "sqlite" => crate::sqlite::connect(url, sqlite_path(url, rest)?, options).await,
        #[cfg(not(feature = "sqlite"))]
        "sqlite" => Err(misconfigured(url, "this program was built without the cargo feature `sqlite`")),
        #[cfg(feature = "redis")]
        "redis" | "rediss" | "redis+socket" | "sentinel" => crate::redis::connect(url, options).await,
        #[cfg(not(feature = "redis"))]
        "redis" | "rediss" | "redis+socket" | "sentinel" => {
            Err(misconfigured(url, "this program was built without the cargo feature `redis`"))
        }
        _ => Err(misconfigured(url, no_such_kind(scheme))),
    }
}

const LOOKS: &str = "a store URL looks like redis://host:6379/0, sqlite:///tasks.db or memory://NAME";

/// What is wrong with a scheme that names no store.
fn no_such_kind(scheme: &str) -> &'static str {
    let meant = scheme.trim().to_ascii_lowercase();
    match ["memory", "sqlite", "redis", "rediss", "redis+socket", "sentinel"].contains(&meant.as_str()) {
        true => "a store URL begins with its kind in small letters, and with no spaces",
        false => {
            "no such kind of store here: use redis://host:6379/0 (or rediss, redis+socket, sentinel), \
             sqlite:///tasks.db or memory://NAME"
        }
    }
}

/// What is wrong with something that is no URL, which may be the path of a file.
fn no_url(text: &str) -> Error {
    if text.trim().is_empty() {
        return misconfigured("(empty)", LOOKS);
    }
    let is_path = text.starts_with(['/', '.']) || text.ends_with(".db") || text.ends_with(".sqlite");
    match is_path {
        true => {
            misconfigured(text, &format!("the store in this file is sqlite:///{}", without_password(text)))
        }
        false => misconfigured(text, LOOKS),
    }
}

/// The path in what follows `sqlite://`: one slash is the URL's own, a second one begins an absolute path.
#[cfg(feature = "sqlite")]
fn sqlite_path<'url>(url: &str, rest: &'url str) -> Result<&'url std::path::Path> {
    match rest.strip_prefix('/') {
        Some(path) if path.contains('?') => {
            Err(misconfigured(url, "options go into the settings, not into the URL"))
        }
        Some(path) if !path.is_empty() => Ok(std::path::Path::new(path)),
        _ => Err(misconfigured(
            url,
            "name a file: sqlite:///relative.db or sqlite:////absolute/path.db; memory://NAME keeps nothing",
        )),
    }
}

fn misconfigured(url: &str, reason: &str) -> Error {
    Error::Misconfigured { url: without_password(url), reason: reason.to_owned() }
}

/// Waits until this process has closed the files of its stores, at most this long, and says whether it has.
///
/// To be called at the end of a process, when the last handle of each [`Store`] has been dropped: the threads of an
/// embedded store end by themselves, and what exits meanwhile leaves its files as a crash does. Blocks the thread.
pub fn wait_until_closed(within: Duration) -> bool {
    #[cfg(feature = "sqlite")]
    return crate::sqlite::wait_until_closed(within);
    #[cfg(not(feature = "sqlite"))]
    {
        let _ = within;
        true
    }
}

impl Store {
    /// The store at `url`, of a server that plays every role.
    pub fn of<S>(url: &str, server: &Arc<S>) -> Self
    where
        S: Broker
            + ResultBackend
            + Groups
            + Schedule
            + Revocations
            + ControlState
            + FailedTasks
            + Presence
            + Broadcasts
            + 'static,
    {
        Self {
            url: without_password(url).into(),
            broker: Arc::clone(server) as _,
            results: Arc::clone(server) as _,
            groups: Arc::clone(server) as _,
            schedule: Arc::clone(server) as _,
            revocations: Arc::clone(server) as _,
            control_state: Arc::clone(server) as _,
            failed: Arc::clone(server) as _,
            presence: Arc::clone(server) as _,
            broadcasts: Arc::clone(server) as _,
            results_elsewhere: false,
        }
    }

    /// The same store with its results, groups and chords kept in another.
    #[must_use]
    pub fn with_results(self, other: &Store) -> Self {
        // Not by their URLs, which differ in less than the servers once the passwords are out of them.
        let elsewhere = !Arc::ptr_eq(&self.results, &other.results);
        let (results, groups) = (Arc::clone(&other.results), Arc::clone(&other.groups));
        Self { results, groups, results_elsewhere: elsewhere, ..self }
    }

    /// Where it is, without the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes messages and lends them.
    pub fn broker(&self) -> &Arc<dyn Broker> {
        &self.broker
    }

    /// Keeps results.
    pub fn results(&self) -> &Arc<dyn ResultBackend> {
        &self.results
    }

    /// Keeps what groups are made of, and counts chords.
    pub fn groups(&self) -> &Arc<dyn Groups> {
        &self.groups
    }

    /// Holds messages for later.
    pub fn schedule(&self) -> &Arc<dyn Schedule> {
        &self.schedule
    }

    /// Remembers what must not run.
    pub fn revocations(&self) -> &Arc<dyn Revocations> {
        &self.revocations
    }

    /// Keeps what was changed of workers.
    pub fn control_state(&self) -> &Arc<dyn ControlState> {
        &self.control_state
    }

    /// Keeps what nobody could run.
    pub fn failed(&self) -> &Arc<dyn FailedTasks> {
        &self.failed
    }

    /// Knows the live workers.
    pub fn presence(&self) -> &Arc<dyn Presence> {
        &self.presence
    }

    /// Carries broadcasts.
    pub fn broadcasts(&self) -> &Arc<dyn Broadcasts> {
        &self.broadcasts
    }

    /// Publishes messages, with the chords and groups that they belong to: as one step where these are on the same server
    /// and it can, else chords and groups come first.
    ///
    /// # Errors
    /// Those of [`Broker::publish`].
    pub async fn publish(&self, publication: Publication) -> Result<()> {
        match self.results_elsewhere {
            true => self.servers().publish(publication).await,
            false => self.broker.publish(publication).await,
        }
    }

    /// Makes outcomes durable: as one step where messages and results are on one server that can, else first what is
    /// kept with results, then messages, then the closing of chords, then the settlements.
    ///
    /// The answers are those of [`Settler::finish`]. With results on another server, a delivery that turns out to be lost
    /// has taken effect already but for its settlement. Where the last members of a chord end at the same moment, the
    /// result of one that is answered [`Settled::Completes`] may be stored already; where several fail at the same moment,
    /// what that closes with may be published by each of them.
    ///
    /// # Errors
    /// Those of the servers. What was done before the error stays done; the same call may be repeated.
    pub async fn finish(&self, settler: &dyn Settler, finishes: Vec<Finish>) -> Result<Vec<Settled>> {
        match self.results_elsewhere {
            true => self.servers().finish(settler, finishes).await,
            false => settler.finish(finishes).await,
        }
    }

    fn servers(&self) -> Servers<'_> {
        Servers { broker: &*self.broker, results: &*self.results, groups: &*self.groups }
    }

    /// Requeues failed tasks as [`FailedTasks::requeue`] does, and forgets their results wherever those are kept.
    ///
    /// # Errors
    /// Those of the servers. The results may be forgotten then and the tasks still failed.
    pub async fn requeue_failed(&self, ids: &[TaskId]) -> Result<u64> {
        if self.results_elsewhere {
            let mut failed = Vec::new();
            for id in ids {
                failed.extend(self.failed.get(id).await?.map(|task| task.task_id));
            }
            // Before the tasks can run again, or it might be their new results that are forgotten.
            self.results.forget(&failed).await?;
        }
        self.failed.requeue(ids).await
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_url_is_told_from_what_names_no_store() {
        let cases = [
            ("", "store URL (empty): a store URL looks like "),
            ("sqlite", "store URL sqlite: a store URL looks like "),
            ("/var/tasks.db", "store URL /var/tasks.db: the store in this file is sqlite:////var/tasks.db"),
            ("memory://", "store URL memory://: give it a name: memory://NAME"),
            ("SQLite:///a.db", "store URL SQLite:///a.db: a store URL begins with its kind in small letters"),
            (
                " sqlite:///a.db",
                "store URL  sqlite:///a.db: a store URL begins with its kind in small letters",
            ),
        ];
        for (url, said) in cases {
            let error = connect(url, &ConnectOptions::default()).await.unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[tokio::test]
    async fn a_url_that_means_nothing_says_what_would() {
        for url in ["tasks.db", "sqlite://", "sqlite:///", "mongodb://host/db", "sqlite:///tasks.db?mode=ro"]
        {
            let error = connect(url, &ConnectOptions::default()).await.unwrap_err();
            assert!(matches!(error, Error::Misconfigured { .. }), "{url}: {error}");
        }
    }
}
