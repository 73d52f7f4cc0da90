//! Results: stored, read, waited for, forgotten.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{ResultRecord, State, TaskId};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::SqliteStore;
use super::key::TaskKey;
use super::reader::statement;
use super::sweep;
use super::transaction::Tx;
use super::wake::Topic;
use crate::{Error, Result, ResultBackend, StoreResult};

/// A result as it is stored. Made in the task that stores it, so the writer only copies bytes.
pub(super) struct NewResult {
    task: TaskKey,
    finality: Finality,
    expires_after: i64,
    record: Bytes,
}

/// How firmly a record stands against one that comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finality {
    /// Any record replaces it.
    Open = 0,
    /// Another final record replaces it.
    Final = 1,
    /// Nothing replaces it.
    Success = 2,
}

impl Finality {
    fn of(state: &State) -> Self {
        match state {
            State::Success => Self::Success,
            state if state.is_ready() => Self::Final,
            _ => Self::Open,
        }
    }
}

impl NewResult {
    /// Encodes what is to be stored.
    pub(super) fn of(result: &StoreResult, limit: usize) -> Result<Self> {
        Ok(Self {
            task: TaskKey::of(&result.record.task_id),
            finality: Finality::of(&result.record.state),
            expires_after: i64::try_from(result.expires_after.as_micros()).unwrap_or(i64::MAX),
            record: result.to_bytes(limit)?,
        })
    }
}

/// Stores the results of one operation.
pub(super) struct ResultInserts<'open> {
    insert: CachedStatement<'open>,
    /// Per minute of expiry, the first and the last number stored.
    minutes: Vec<(i64, i64, i64)>,
    added: i64,
    any_final: bool,
}

impl<'open> ResultInserts<'open> {
    pub(super) fn begin(tx: &Tx<'open>) -> rusqlite::Result<Self> {
        let insert = tx.statement(include_str!("sql/result_store.sql"))?;
        Ok(Self { insert, minutes: Vec::new(), added: 0, any_final: false })
    }

    pub(super) fn add(&mut self, tx: &mut Tx<'_>, result: &NewResult) -> rusqlite::Result<()> {
        let number = tx.number()?;
        let expires_at = tx.now.saturating_add(result.expires_after);
        self.insert.execute(params![
            number,
            result.task,
            result.finality as i64,
            expires_at,
            &result.record[..],
            tx.now
        ])?;
        self.added += 1;
        self.any_final |= result.finality != Finality::Open;
        let minute = sweep::minute(expires_at);
        match self.minutes.iter_mut().find(|(known, ..)| *known == minute) {
            Some((_, _, last)) => *last = number,
            None => self.minutes.push((minute, number, number)),
        }
        Ok(())
    }

    pub(super) fn end(self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        if self.minutes.is_empty() {
            return Ok(());
        }
        for range in &self.minutes {
            tx.execute(include_str!("sql/result_expiry.sql"), *range)?;
        }
        if self.any_final {
            tx.touch(Topic::Results);
        }
        sweep::results(tx, self.added)
    }
}

#[async_trait]
impl ResultBackend for SqliteStore {
    async fn store(&self, results: Vec<StoreResult>) -> Result<()> {
        let limit = self.shared.options.message_limit;
        let results: Vec<NewResult> =
            results.into_iter().map(|result| NewResult::of(&result, limit)).collect::<Result<_>>()?;
        if results.is_empty() {
            return Ok(());
        }
        let store = move |tx: &mut Tx<'_>| {
            let mut inserts = ResultInserts::begin(tx)?;
            results.iter().try_for_each(|result| inserts.add(tx, result))?;
            inserts.end(tx)
        };
        self.shared.writer.call("store results", store).await
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<ResultRecord>>> {
        let (keys, now) = (keys(ids), self.shared.options.clock.now().as_micros());
        let found = self.shared.reader.call("read results", move |connection| {
            let mut get = statement(connection, include_str!("sql/result_get.sql"))?;
            let read = |key| get.query_one(params![key, now], |row| row.get(0)).optional();
            keys.iter().map(read).collect::<rusqlite::Result<Vec<Option<Vec<u8>>>>>()
        });
        found
            .await?
            .into_iter()
            .map(|found| found.map(|bytes| self.decode_record(&bytes)).transpose())
            .collect()
    }

    async fn wait(&self, ids: &[TaskId]) -> Result<Vec<ResultRecord>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // The pipe and the waiter come first, then the look: what is stored after the look rings.
        self.shared.wake.listen(Topic::Results);
        let waiter = self.shared.waiters.register(keys(ids));
        let mut look_for = keys(ids);
        loop {
            let now = self.shared.options.clock.now().as_micros();
            let waiters = Arc::clone(&self.shared.waiters);
            let found = self.shared.reader.call("read results", move |connection| {
                waiters.start_feed(connection)?;
                final_records(connection, &look_for, now)
            });
            let found = found.await?;
            if !found.is_empty() {
                return found.iter().map(|bytes| self.decode_record(bytes)).collect();
            }
            look_for = waiter.stored().await;
        }
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let keys = keys(ids);
        let forget = move |tx: &mut Tx<'_>| {
            let mut forget = tx.statement(include_str!("sql/result_forget.sql"))?;
            keys.iter().try_for_each(|key| forget.execute([key]).map(drop))
        };
        self.shared.writer.call("forget results", forget).await
    }
}

impl SqliteStore {
    /// One record that cannot be read is no reason to give up the file.
    fn decode_record(&self, bytes: &[u8]) -> Result<ResultRecord> {
        ResultRecord::decode(bytes).map_err(|error| Error::Failed {
            url: self.shared.place.url.to_string(),
            reason: format!("a stored result cannot be read ({error}): forget it, or run its task again"),
        })
    }
}

pub(super) fn keys(ids: &[TaskId]) -> Vec<TaskKey> {
    ids.iter().map(TaskKey::of).collect()
}

fn final_records(connection: &Connection, keys: &[TaskKey], now: i64) -> rusqlite::Result<Vec<Vec<u8>>> {
    let mut get = statement(connection, include_str!("sql/result_get_final.sql"))?;
    let mut read = |key| get.query_one(params![key, now], |row| row.get(0)).optional();
    keys.iter().filter_map(|key| read(key).transpose()).collect()
}
