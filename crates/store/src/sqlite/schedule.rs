//! What is held for later.

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{Message, QueueName, TaskId, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::reader::statement;
use super::results::keys;
use super::revocations::messages_of;
use super::transaction::Tx;
use crate::{Result, Schedule, Scheduled};

#[async_trait]
impl Schedule for SqliteStore {
    async fn next_due(&self) -> Result<Option<Timestamp>> {
        let now = self.shared.options.clock.now().as_micros();
        let next = self.shared.reader.call("read the schedule", move |connection| {
            let mut next = statement(connection, include_str!("sql/schedule_next.sql"))?;
            next.query_one([now], |row| row.get(0)).optional()
        });
        Ok(next.await?.map(Timestamp::from_micros))
    }

    async fn scheduled(&self, limit: usize) -> Result<Vec<Scheduled>> {
        let now = self.shared.options.clock.now().as_micros();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.shared.reader.call("read the schedule", move |connection| {
            let mut list = statement(connection, include_str!("sql/schedule_list.sql"))?;
            let rows = list.query_map(params![now, limit], |row| {
                let bytes: (Vec<u8>, Vec<u8>) = (row.get(2)?, row.get(3)?);
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, bytes))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let decoded = found.await?.into_iter().filter_map(|(due, queue, (head, body))| {
            // What is not a message goes to the failed tasks when it is due; nothing can be shown of it here.
            let message = Message::decode(&head, Bytes::from(body)).ok()?;
            Some(Scheduled { due: Timestamp::from_micros(due), queue: QueueName::from(queue), message })
        });
        Ok(decoded.collect())
    }

    async fn cancel(&self, ids: &[TaskId]) -> Result<u64> {
        let keys = keys(ids);
        let cancel = move |tx: &mut Tx<'_>| {
            let mut cancelled = 0;
            for key in &keys {
                for message in messages_of(tx, key)? {
                    cancelled += u64::from(message.unschedule(tx)?);
                }
            }
            Ok(cancelled)
        };
        self.shared.writer.call("cancel", cancel).await
    }
}
