//! Which workers are alive.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value, json};
use rusqlite::{Connection, params};
use tokio::sync::watch;

use super::SqliteStore;
use super::reader::statement;
use super::wake::Topic;
use crate::{ConsumerId, Error, Presence, Result, WorkerRecord};

/// An announcement and its number, which is new each time.
struct Announcement {
    number: i64,
    record: WorkerRecord,
}

#[async_trait]
impl Presence for SqliteStore {
    /// Every worker does this every few seconds, so it also finds out what nobody else tells: that somebody removed the
    /// file, or the pipes beside it.
    async fn announce(&self, record: WorkerRecord) -> Result<()> {
        let (place, wake) = (Arc::clone(&self.shared.place), Arc::clone(&self.shared.wake));
        // Not here, because files may be slow.
        let look = move |_: &Connection| Ok(place.check_file().map(|()| wake.repair()));
        self.shared.reader.call("announce", look).await??;
        let facts = json::to_bytes(&record.facts);
        let valid_until = record.announced_at.saturating_add(record.valid_for).as_micros();
        let announce = move |tx: &mut super::transaction::Tx<'_>| {
            let number = tx.number()?;
            let announced_at = record.announced_at.as_micros();
            tx.execute(
                include_str!("sql/worker_announce.sql"),
                params![record.id.0, number, record.name, announced_at, valid_until, facts],
            )?;
            tx.touch(Topic::Announced);
            Ok(())
        };
        self.shared.writer.call("announce", announce).await
    }

    async fn withdraw(&self, worker: &ConsumerId) -> Result<()> {
        let worker = worker.0.clone();
        let withdraw = move |tx: &mut super::transaction::Tx<'_>| {
            tx.execute(include_str!("sql/worker_withdraw.sql"), [&worker])?;
            tx.touch(Topic::Announced);
            Ok(())
        };
        self.shared.writer.call("withdraw", withdraw).await
    }

    async fn workers(&self, patience: Duration) -> Result<Vec<WorkerRecord>> {
        let mut announced = self.hear(Topic::Announced).await?;
        let before: HashMap<ConsumerId, i64> =
            self.announcements().await?.into_iter().map(|found| (found.record.id, found.number)).collect();
        announced.borrow_and_update();
        let wake = Arc::clone(&self.shared.wake);
        self.shared.reader.submit(move |_| wake.announce(Topic::Asked.into()));
        let out_of_patience = tokio::time::sleep(patience);
        tokio::pin!(out_of_patience);
        loop {
            let found = self.announcements().await?;
            let is_old = |found: &Announcement| before.get(&found.record.id) == Some(&found.number);
            if out_of_patience.is_elapsed() || !found.iter().any(is_old) {
                return Ok(found.into_iter().map(|found| found.record).collect());
            }
            tokio::select! {
                () = &mut out_of_patience => {}
                // It fails only if the store is gone, and then the next read says so.
                _ = announced.changed() => {}
            }
        }
    }

    async fn asked(&self) -> Result<()> {
        let before = self.shared.asked.load(Ordering::Relaxed);
        let mut asked = self.hear(Topic::Asked).await?;
        let count = *asked.wait_for(|count| *count != before).await.map_err(|_| Error::Closed)?;
        self.shared.asked.fetch_max(count, Ordering::Relaxed);
        Ok(())
    }
}

impl SqliteStore {
    /// Listens from now on, and makes the pipe for it in the thread that may wait for files.
    pub(super) async fn hear(&self, topic: Topic) -> Result<watch::Receiver<u64>> {
        let wake = Arc::clone(&self.shared.wake);
        let changed = wake.hear_ourselves(topic);
        let open = move |_: &Connection| {
            wake.hear_others(topic);
            Ok(())
        };
        self.shared.reader.call("listen", open).await?;
        Ok(changed)
    }

    /// What every live worker said last.
    async fn announcements(&self) -> Result<Vec<Announcement>> {
        let now = self.shared.options.clock.now().as_micros();
        let found = self.shared.reader.call("read workers", move |connection| {
            let mut list = statement(connection, include_str!("sql/worker_list.sql"))?;
            let rows = list.query_map([now], |row| {
                let (announced_at, valid_until) = (row.get(3)?, row.get(4)?);
                let announced_at = Timestamp::from_micros(announced_at);
                let valid_for = Timestamp::from_micros(valid_until).saturating_since(announced_at);
                let facts: Vec<u8> = row.get(5)?;
                let (id, name) = (ConsumerId(row.get(0)?), row.get(2)?);
                // Facts that cannot be read must not hide the worker.
                let facts = json::parse(&facts).unwrap_or(Value::Null);
                Ok(Announcement {
                    number: row.get(1)?,
                    record: WorkerRecord { id, name, announced_at, valid_for, facts },
                })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        found.await
    }
}
