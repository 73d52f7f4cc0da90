//! Revocations: kept, checked, watched.

use std::collections::HashSet;

use async_trait::async_trait;
use celeriac_protocol::body::has_embed;
use celeriac_protocol::{Message, TaskId, Timestamp};
use rusqlite::{Row, params};
use tokio::sync::watch;

use super::SqliteStore;
use super::key::TaskKey;
use super::reader::{Answer, statement};
use super::results::keys;
use super::transaction::Tx;
use super::wake::Topic;
use crate::{Error, Result, Revocation, RevocationWatch, Revocations};

/// Revocations read in one go.
const WATCH_STEP: i64 = 1000;

/// A revocation as it is stored.
struct NewRevocation {
    task: TaskKey,
    terminate: bool,
    expires_after: i64,
}

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(&self, revocations: Vec<Revocation>) -> Result<Vec<TaskId>> {
        if revocations.is_empty() {
            return Ok(Vec::new());
        }
        let marks: Vec<_> = revocations
            .iter()
            .map(|revocation| NewRevocation {
                task: TaskKey::of(&revocation.task_id),
                terminate: revocation.terminate,
                expires_after: i64::try_from(revocation.expires_after.as_micros()).unwrap_or(i64::MAX),
            })
            .collect();
        let removed = self.shared.writer.call("revoke", move |tx| revoke(tx, &marks)).await?;
        Ok(removed.iter().map(TaskKey::id).collect())
    }

    async fn revoked(&self, ids: &[TaskId]) -> Result<Vec<TaskId>> {
        let (keys, now) = (keys(ids), self.shared.options.clock.now().as_micros());
        let found = self.shared.reader.call("read revocations", move |connection| {
            let mut is_revoked = statement(connection, include_str!("sql/revoked_is.sql"))?;
            let found: rusqlite::Result<Vec<bool>> =
                keys.iter().map(|key| is_revoked.exists(params![key, now])).collect();
            found
        });
        let found = found.await?;
        Ok(ids.iter().zip(found).filter(|(_, is_revoked)| *is_revoked).map(|(id, _)| id.clone()).collect())
    }

    async fn list(&self, limit: usize) -> Result<Vec<TaskId>> {
        let now = self.shared.options.clock.now().as_micros();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.shared.reader.call("list revocations", move |connection| {
            let mut list = statement(connection, include_str!("sql/revoked_list.sql"))?;
            let rows = list.query_map(params![now, limit], |row| row.get::<_, TaskKey>(0))?;
            rows.map(|key| Ok(key?.id())).collect::<rusqlite::Result<Vec<TaskId>>>()
        });
        found.await
    }

    async fn watch(&self) -> Result<Box<dyn RevocationWatch>> {
        let changed = self.shared.wake.listen(Topic::Revoked);
        let last = self.shared.reader.call("read revocations", |connection| {
            statement(connection, include_str!("sql/revoked_last.sql"))?.query_one([], |row| row.get(0))
        });
        let last: Option<i64> = last.await?;
        Ok(Box::new(Watch { store: self.clone(), changed, last: last.unwrap_or(0), asked: None }))
    }
}

/// What came after `last`.
struct Watch {
    store: SqliteStore,
    changed: watch::Receiver<u64>,
    last: i64,
    /// A read that is under way; it outlives a dropped call.
    asked: Option<Answer<Vec<(i64, Revocation)>>>,
}

#[async_trait]
impl RevocationWatch for Watch {
    async fn next(&mut self) -> Result<Vec<Revocation>> {
        loop {
            let asked = match self.asked.take() {
                Some(asked) => asked,
                None => self.ask(),
            };
            let found = self.asked.insert(asked).take().await;
            self.asked = None;
            let found = found?;
            if let Some((last, _)) = found.last() {
                self.last = *last;
                return Ok(found.into_iter().map(|(_, revocation)| revocation).collect());
            }
            // It fails only if the store is gone.
            self.changed.changed().await.map_err(|_| Error::Closed)?;
        }
    }
}

impl Watch {
    fn ask(&mut self) -> Answer<Vec<(i64, Revocation)>> {
        self.changed.borrow_and_update();
        let shared = &self.store.shared;
        let (last, now) = (self.last, shared.options.clock.now());
        shared.reader.ask("read revocations", move |connection| {
            let mut feed = statement(connection, include_str!("sql/revoked_feed.sql"))?;
            let rows = feed.query_map(params![last, WATCH_STEP], |row| {
                let number: i64 = row.get(0)?;
                let task: TaskKey = row.get(1)?;
                let expires_after = Timestamp::from_micros(row.get(3)?).saturating_since(now);
                Ok((number, Revocation { task_id: task.id(), terminate: row.get(2)?, expires_after }))
            })?;
            rows.collect()
        })
    }
}

/// Marks these, and removes what waits of them or lets it hurry. Answers the tasks of which nothing is left, removed now or before.
fn revoke(tx: &mut Tx<'_>, revocations: &[NewRevocation]) -> rusqlite::Result<Vec<TaskKey>> {
    let mut gone = HashSet::new();
    for NewRevocation { task, terminate, expires_after } in revocations {
        let found = messages_of(tx, task)?;
        let mut removed = 0;
        for message in &found {
            match message.is_awaited(tx)? {
                true => message.hurry(tx)?,
                false => removed += usize::from(message.remove(tx)?),
            }
        }
        let is_gone = match found.len() {
            0 => tx.statement(include_str!("sql/revoked_removed.sql"))?.exists(params![task, tx.now])?,
            all => removed == all,
        };
        let (number, expires_at) = (tx.number()?, tx.now.saturating_add(*expires_after));
        let mark = params![number, task, terminate, expires_at, is_gone];
        tx.execute(include_str!("sql/revoke_mark.sql"), mark)?;
        if is_gone {
            gone.insert(task.clone());
        }
    }
    tx.touch(Topic::Revoked);
    Ok(gone.into_iter().collect())
}

/// Where a message is, or would be.
pub(super) struct Whereabouts {
    id: i64,
    queue: i64,
    rank: i64,
    due: Option<i64>,
}

/// The messages of a task: usually one.
pub(super) fn messages_of(tx: &Tx<'_>, task: &TaskKey) -> rusqlite::Result<Vec<Whereabouts>> {
    let mut find = tx.statement(include_str!("sql/task_messages.sql"))?;
    let rows = find.query_map([task], |row| {
        Ok(Whereabouts { id: row.get(0)?, queue: row.get(1)?, rank: row.get(2)?, due: row.get(3)? })
    })?;
    rows.collect()
}

impl Whereabouts {
    /// Whether others wait for its task.
    fn is_awaited(&self, tx: &Tx<'_>) -> rusqlite::Result<bool> {
        let read = |row: &Row<'_>| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?));
        let (head, body) = tx.statement(include_str!("sql/revoke_read.sql"))?.query_one([self.id], read)?;
        // What is no message is found out by the fetch.
        Ok(Message::decode(&head, body.into()).is_ok_and(|message| has_embed(&message)))
    }

    /// Makes it ready at the head of its queue, if it waits or is scheduled.
    fn hurry(&self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let mut moved =
            tx.execute(include_str!("sql/revoke_ready.sql"), params![self.queue, self.rank, self.id])?;
        if let (0, Some(due)) = (moved, self.due) {
            moved = tx.execute(include_str!("sql/task_undelay.sql"), params![due, self.id])?;
            if moved > 0 {
                tx.execute(include_str!("sql/revoke_due.sql"), params![self.queue, self.id])?;
            }
        }
        if moved > 0 {
            tx.execute(include_str!("sql/revoke_move.sql"), [self.id])?;
            tx.touch(Topic::Ready);
        }
        Ok(())
    }

    /// Removes it from its queue or the schedule; says whether it was there.
    fn remove(&self, tx: &Tx<'_>) -> rusqlite::Result<bool> {
        let from_queue =
            tx.execute(include_str!("sql/task_unready.sql"), params![self.queue, self.rank, self.id])?;
        if from_queue > 0 {
            tx.execute(include_str!("sql/message_remove.sql"), [self.id])?;
            return Ok(true);
        }
        self.unschedule(tx)
    }

    /// Removes it from the schedule; says whether it was there.
    pub(super) fn unschedule(&self, tx: &Tx<'_>) -> rusqlite::Result<bool> {
        let Some(due) = self.due else { return Ok(false) };
        let removed = tx.execute(include_str!("sql/task_undelay.sql"), params![due, self.id])?;
        if removed > 0 {
            tx.execute(include_str!("sql/message_remove.sql"), [self.id])?;
        }
        Ok(removed > 0)
    }
}
