//! Finding the messages of tasks.

use std::collections::HashMap;

use celeriac_protocol::{QueueName, TaskId, Timestamp};
use rusqlite::{Connection, OptionalExtension};

use super::SqliteStore;
use super::key::TaskKey;
use super::reader::statement;
use super::results::keys;
use crate::{Location, Result};

impl SqliteStore {
    pub(super) async fn find_messages(&self, ids: &[TaskId]) -> Result<Vec<Option<Location>>> {
        let (keys, now) = (keys(ids), self.shared.options.clock.now().as_micros());
        let find = move |connection: &Connection| {
            // One look, or a message might move from where it was to where it was looked for before.
            let look = connection.unchecked_transaction()?;
            let mut lent = None;
            keys.iter().map(|task| find(&look, task, &mut lent, now)).collect()
        };
        self.shared.reader.call("find messages", find).await
    }
}

/// The workers that have messages, by the numbers of these.
type Lent = HashMap<i64, String>;

fn find(
    connection: &Connection,
    task: &TaskKey,
    lent: &mut Option<Lent>,
    now: i64,
) -> rusqlite::Result<Option<Location>> {
    let mut messages = statement(connection, include_str!("sql/locate_messages.sql"))?;
    let mut rows = messages.query([task])?;
    let mut found: Option<Location> = None;
    while let Some(row) = rows.next()? {
        let (message, queue) = (row.get(0)?, QueueName::from(row.get::<_, String>(1)?));
        let (is_ready, due): (bool, Option<i64>) = (row.get(2)?, row.get(3)?);
        let place = match due {
            _ if is_ready => Location::Ready { queue },
            Some(due) if due <= now => Location::Ready { queue },
            Some(due) => Location::Scheduled { queue, due: Timestamp::from_micros(due) },
            None => Location::Lent { queue, worker: worker_of(connection, message, lent)? },
        };
        if found.as_ref().is_none_or(|found| nearness(&place) > nearness(found)) {
            found = Some(place);
        }
    }
    if found.is_some() {
        return Ok(found);
    }
    let mut failed = statement(connection, include_str!("sql/locate_failed.sql"))?;
    let queue: Option<String> = failed.query_one([task], |row| row.get(0)).optional()?;
    Ok(queue.map(|queue| Location::Failed { queue: queue.into() }))
}

fn worker_of(connection: &Connection, message: i64, lent: &mut Option<Lent>) -> rusqlite::Result<String> {
    if lent.is_none() {
        let mut all = statement(connection, include_str!("sql/locate_lent.sql"))?;
        let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        *lent = Some(rows.collect::<rusqlite::Result<Lent>>()?);
    }
    Ok(lent.as_ref().and_then(|lent| lent.get(&message)).cloned().unwrap_or_default())
}

/// How near to its end a message is there.
fn nearness(place: &Location) -> u8 {
    match place {
        Location::Failed { .. } => 0,
        Location::Scheduled { .. } => 1,
        Location::Ready { .. } => 2,
        Location::Lent { .. } => 3,
    }
}
