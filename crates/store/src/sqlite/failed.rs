//! Tasks that failed for good.

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{Message, QueueName, TaskId, Timestamp, Value, json};
use rusqlite::{Row, params};

use super::SqliteStore;
use super::key::TaskKey;
use super::publish::AGE_MASK;
use super::reader::statement;
use super::results::keys;
use super::transaction::Tx;
use super::wake::Topic;
use crate::{FailedTask, FailedTasks, FailureReason, Result};

/// A failed task as it is stored.
struct StoredFailure {
    task: TaskKey,
    queue: String,
    failed_at: i64,
    deliveries: u32,
    code: String,
    reason: String,
    evidence: Vec<u8>,
    head: Vec<u8>,
    /// Empty in a list.
    body: Vec<u8>,
    body_size: u32,
}

impl StoredFailure {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            task: row.get(0)?,
            queue: row.get(1)?,
            failed_at: row.get(2)?,
            deliveries: row.get(3)?,
            code: row.get(4)?,
            reason: row.get(5)?,
            evidence: row.get(6)?,
            head: row.get(7)?,
            body: row.get(8)?,
            body_size: row.get(9)?,
        })
    }

    fn decode(self) -> FailedTask {
        let body = Bytes::from(self.body);
        let (message, undecodable) = match Message::decode(&self.head, body.clone()) {
            Ok(message) => (Some(message), None),
            Err(_) => (None, Some([&self.head[..], &body].concat())),
        };
        let head_size = if message.is_some() { 0 } else { self.head.len() };
        FailedTask {
            task_id: self.task.id(),
            queue: QueueName::from(self.queue),
            failed_at: Timestamp::from_micros(self.failed_at),
            deliveries: self.deliveries,
            reason: FailureReason {
                code: self.code.into(),
                text: self.reason.into(),
                // Facts that cannot be read must not hide the task.
                evidence: json::parse(&self.evidence).unwrap_or(Value::Null),
            },
            message,
            undecodable,
            size: head_size + self.body_size as usize,
        }
    }
}

#[async_trait]
impl FailedTasks for SqliteStore {
    async fn list(&self, limit: usize) -> Result<Vec<FailedTask>> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.shared.reader.call("read failed tasks", move |connection| {
            let mut list = statement(connection, include_str!("sql/failed_list.sql"))?;
            list.query_map([limit], StoredFailure::of)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        Ok(found.await?.into_iter().map(|stored| stored.decode().without_bytes()).collect())
    }

    async fn get(&self, id: &TaskId) -> Result<Option<FailedTask>> {
        let key = TaskKey::of(id);
        let found = self.shared.reader.call("read failed tasks", move |connection| {
            let mut get = statement(connection, include_str!("sql/failed_get.sql"))?;
            get.query_map([key], StoredFailure::of)?.next().transpose()
        });
        Ok(found.await?.map(StoredFailure::decode))
    }

    async fn requeue(&self, ids: &[TaskId]) -> Result<u64> {
        let keys = keys(ids);
        let found = self.shared.reader.call("read failed tasks", move |connection| {
            let mut find = statement(connection, include_str!("sql/failed_heads.sql"))?;
            let mut found = Vec::new();
            for key in keys {
                let rows =
                    find.query_map([&key], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
                for row in rows {
                    let (number, head) = row?;
                    found.push((number, key.clone(), head));
                }
            }
            Ok(found)
        });
        let mut messages = found.await?;
        messages.retain(|(_, _, head)| Message::decode(head, Bytes::new()).is_ok());
        self.shared.writer.call("requeue failed tasks", move |tx| requeue(tx, &messages)).await
    }

    async fn drop_failed(&self, ids: &[TaskId]) -> Result<u64> {
        let keys = keys(ids);
        let drop_failed = move |tx: &mut Tx<'_>| {
            let mut drop_failed = tx.statement(include_str!("sql/failed_drop.sql"))?;
            keys.iter().map(|key| drop_failed.execute([key]).map(|count| count as u64)).sum()
        };
        self.shared.writer.call("drop failed tasks", drop_failed).await
    }
}

/// Publishes those that are still there.
fn requeue(tx: &mut Tx<'_>, failed: &[(i64, TaskKey, Vec<u8>)]) -> rusqlite::Result<u64> {
    let mut requeued = 0;
    for (number, task, _) in failed {
        let id = tx.number()?;
        if tx.execute(include_str!("sql/failed_to_message.sql"), params![number, id, AGE_MASK])? == 0 {
            continue;
        }
        tx.execute(include_str!("sql/failed_to_ready.sql"), [id])?;
        tx.execute(include_str!("sql/failed_remove.sql"), [number])?;
        tx.execute(include_str!("sql/result_forget.sql"), [task])?;
        requeued += 1;
    }
    tx.touch(Topic::Ready);
    Ok(requeued)
}
