//! Finding the messages of tasks.

use std::collections::HashMap;

use celeriac_protocol::{QueueName, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use super::SqliteStore;
use super::key::TaskKey;
use super::reader::statement;
use super::results::keys;
use crate::{Location, Result};

/// Where the messages of a task are.
pub(super) const OF_TASK: &str = concat!(include_str!("sql/locate.sql"), "WHERE message.task_id = ?1");

/// Where one message is.
pub(super) const OF_MESSAGE: &str = concat!(include_str!("sql/locate.sql"), "WHERE message.id = ?1");

impl SqliteStore {
    pub(super) async fn find_messages(&self, ids: &[TaskId]) -> Result<Vec<Option<Location>>> {
        let (keys, now) = (keys(ids), self.shared.options.clock.now().as_micros());
        let find = move |connection: &Connection| {
            // One look, or a message might move from where it was to where it was looked for before.
            let look = connection.unchecked_transaction()?;
            let mut places = Places::new(&look, now);
            keys.iter().map(|task| places.of_task(task)).collect()
        };
        self.shared.reader.call("find messages", find).await
    }
}

/// Where messages are, in one look.
pub(super) struct Places<'look> {
    connection: &'look Connection,
    now: i64,
    /// The workers that have messages, by the numbers of these; read when it is first needed.
    lent: Option<HashMap<i64, String>>,
}

impl<'look> Places<'look> {
    pub(super) fn new(connection: &'look Connection, now: i64) -> Self {
        Self { connection, now, lent: None }
    }

    /// The place of the message of a task that is nearest to its end.
    fn of_task(&mut self, task: &TaskKey) -> rusqlite::Result<Option<Location>> {
        let mut messages = statement(self.connection, OF_TASK)?;
        let mut rows = messages.query([task])?;
        let mut found: Option<Location> = None;
        while let Some(row) = rows.next()? {
            let place = self.at(row)?;
            if found.as_ref().is_none_or(|found| place.nearness() > found.nearness()) {
                found = Some(place);
            }
        }
        if found.is_some() {
            return Ok(found);
        }
        let mut failed = statement(self.connection, include_str!("sql/locate_failed.sql"))?;
        let queue: Option<String> = failed.query_one([task], |row| row.get(0)).optional()?;
        Ok(queue.map(|queue| Location::Failed { queue: queue.into() }))
    }

    /// The place of one message.
    pub(super) fn of_message(&mut self, message: i64) -> rusqlite::Result<Location> {
        let mut one = statement(self.connection, OF_MESSAGE)?;
        one.query_one([message], |row| self.at(row))
    }

    fn at(&mut self, row: &Row<'_>) -> rusqlite::Result<Location> {
        let (message, queue) = (row.get(0)?, QueueName::from(row.get::<_, String>(1)?));
        let (is_ready, due): (bool, Option<i64>) = (row.get(2)?, row.get(3)?);
        Ok(match due {
            _ if is_ready => Location::Ready { queue },
            Some(due) if due <= self.now => Location::Ready { queue },
            Some(due) => Location::Scheduled { queue, due: Timestamp::from_micros(due) },
            None => Location::Lent { queue, worker: self.worker_of(message)? },
        })
    }

    fn worker_of(&mut self, message: i64) -> rusqlite::Result<String> {
        if self.lent.is_none() {
            let mut all = statement(self.connection, include_str!("sql/locate_lent.sql"))?;
            let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            self.lent = Some(rows.collect::<rusqlite::Result<_>>()?);
        }
        Ok(self.lent.as_ref().and_then(|lent| lent.get(&message)).cloned().unwrap_or_default())
    }
}
