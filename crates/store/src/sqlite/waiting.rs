//! Waiting for results: one reader of what is new, shared by all who wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, params};
use tokio::sync::Notify;

use super::key::TaskKey;
use super::lock;
use super::reader::{Reader, statement};
use super::wake::ResultsHook;

/// New results read in one go.
const FEED_STEP: i64 = 1000;

/// Those who wait for results in this process.
///
/// When results were stored, the reader looks once through what is new (results are numbered in the order of
/// commits) and tells whoever waits for one of them. So a commit costs one query, however many wait.
#[derive(Default)]
pub(super) struct Waiters {
    by_task: Mutex<HashMap<TaskKey, Vec<Arc<Bell>>>>,
    /// The number up to which results have been looked through; `None` before anybody waits.
    /// Only the reader's thread changes it.
    read_until: Mutex<Option<i64>>,
    /// Whether the last one who waited has left since: what was stored meanwhile is of no interest.
    deserted: AtomicBool,
    /// Whether the reader has been asked to look.
    asked: AtomicBool,
}

/// How one waiter is told.
#[derive(Default)]
struct Bell {
    stored: Mutex<Vec<TaskKey>>,
    ring: Notify,
}

/// One who waits; leaving is dropping it.
pub(super) struct Waiter {
    waiters: Arc<Waiters>,
    keys: Vec<TaskKey>,
    bell: Arc<Bell>,
}

impl Waiters {
    /// What to call whenever results were stored.
    pub(super) fn feeder(self: &Arc<Self>, reader: &Reader) -> ResultsHook {
        let (waiters, reader) = (Arc::clone(self), reader.clone());
        Box::new(move || {
            if !lock(&waiters.by_task).is_empty() && !waiters.asked.swap(true, Ordering::AcqRel) {
                let waiters = Arc::clone(&waiters);
                reader.submit(move |connection| waiters.feed(connection));
            }
        })
    }

    /// Adds one who waits for these. To be called before looking for them.
    pub(super) fn register(self: &Arc<Self>, keys: Vec<TaskKey>) -> Waiter {
        let bell = Arc::new(Bell::default());
        let mut by_task = lock(&self.by_task);
        for key in &keys {
            by_task.entry(key.clone()).or_default().push(Arc::clone(&bell));
        }
        drop(by_task);
        Waiter { waiters: Arc::clone(self), keys, bell }
    }

    /// In the reader's thread, before the first look of a waiter: notes where what is new begins.
    pub(super) fn start_feed(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut read_until = lock(&self.read_until);
        self.forget_if_deserted(&mut read_until);
        if read_until.is_none() {
            let last: Option<i64> = statement(connection, include_str!("sql/result_last.sql"))?
                .query_one([], |row| row.get(0))?;
            *read_until = Some(last.unwrap_or(0));
        }
        Ok(())
    }

    /// In the reader's thread: looks through what is new and rings for it.
    fn feed(&self, connection: &Connection) {
        // First, so that what is stored from now on asks again.
        self.asked.store(false, Ordering::Release);
        let mut read_until = lock(&self.read_until);
        self.forget_if_deserted(&mut read_until);
        while let Some(after) = *read_until {
            match new_results(connection, after) {
                Ok(found) => {
                    self.ring(&found);
                    match found.last() {
                        Some((number, _)) => *read_until = Some(*number),
                        None => return,
                    }
                }
                // The next commit asks again, and the feed goes on where it stopped.
                Err(error) => return tracing::warn!(%error, "new results could not be read"),
            }
        }
    }

    /// Forgets where the feed was. Whoever waits by now has not looked yet, and notes where to begin before.
    fn forget_if_deserted(&self, read_until: &mut Option<i64>) {
        if self.deserted.swap(false, Ordering::AcqRel) {
            *read_until = None;
        }
    }

    fn ring(&self, found: &[(i64, TaskKey)]) {
        let by_task = lock(&self.by_task);
        for (_, key) in found {
            for bell in by_task.get(key).into_iter().flatten() {
                lock(&bell.stored).push(key.clone());
                bell.ring.notify_one();
            }
        }
    }
}

fn new_results(connection: &Connection, after: i64) -> rusqlite::Result<Vec<(i64, TaskKey)>> {
    let mut feed = statement(connection, include_str!("sql/result_feed.sql"))?;
    feed.query_map(params![after, FEED_STEP], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

impl Waiter {
    /// Waits until some of the tasks have a new final result, and says which.
    pub(super) async fn stored(&self) -> Vec<TaskKey> {
        loop {
            let stored = std::mem::take(&mut *lock(&self.bell.stored));
            if !stored.is_empty() {
                return stored;
            }
            self.bell.ring.notified().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut by_task = lock(&self.waiters.by_task);
        for key in &self.keys {
            if let Some(bells) = by_task.get_mut(key) {
                bells.retain(|bell| !Arc::ptr_eq(bell, &self.bell));
                if bells.is_empty() {
                    by_task.remove(key);
                }
            }
        }
        // Before the next one can register.
        if by_task.is_empty() {
            self.waiters.deserted.store(true, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use celeriac_protocol::TaskId;

    use super::*;

    fn key(id: &str) -> TaskKey {
        TaskKey::of(&TaskId::new(id))
    }

    fn store(connection: &Connection, id: &str, number: i64) {
        let sql =
            "INSERT INTO result (number, task_id, final, expires_at, record) VALUES (?1, ?2, 1, 0, x'')";
        connection.execute(sql, params![number, key(id)]).unwrap();
    }

    #[tokio::test]
    async fn what_was_stored_while_nobody_waited_is_not_looked_through() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("sql/schema_1.sql")).unwrap();
        let waiters = Arc::new(Waiters::default());
        let first = waiters.register(vec![key("first")]);
        waiters.start_feed(&connection).unwrap();
        drop(first);
        store(&connection, "unwatched", 1000);

        let second = waiters.register(vec![key("second")]);
        waiters.start_feed(&connection).unwrap();
        assert_eq!(*lock(&waiters.read_until), Some(1000));
        store(&connection, "second", 1001);
        waiters.feed(&connection);
        assert!(second.stored().await == [key("second")]);
    }
}
