//! Looking for messages by what they hold.

use bytes::Bytes;
use celeriac_protocol::Message;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::key::TaskKey;
use super::locate::Places;
use super::reader::statement;
use super::results::keys;
use crate::search::Needle;
use crate::{Location, Result, Search, Sighting, Sightings, Sought};

/// How many messages one statement reads.
const PORTION: usize = 500;

/// What is looked for, where the connection is.
enum Wanted {
    Tasks(Vec<TaskKey>),
    Mention(Needle),
}

impl SqliteStore {
    pub(super) async fn search_messages(&self, search: Search<'_>) -> Result<Sightings> {
        let Search { sought, limit, effort } = search;
        let wanted = match sought {
            Sought::Tasks(ids) => Wanted::Tasks(keys(ids)),
            Sought::Mention(text) => Wanted::Mention(Needle::new(text)),
        };
        let now = self.shared.options.clock.now().as_micros();
        let look = move |connection: &Connection| {
            let look = connection.unchecked_transaction()?;
            let found = match &wanted {
                Wanted::Tasks(tasks) => of_tasks(&look, tasks)?,
                Wanted::Mention(needle) => mentions(&look, needle, limit, effort)?,
            };
            sightings(&look, found, limit, now)
        };
        self.shared.reader.call("search messages", look).await
    }
}

/// Messages by their numbers, and whether these are all.
type Found = (Vec<(i64, Message)>, bool);

fn of_tasks(connection: &Connection, tasks: &[TaskKey]) -> rusqlite::Result<Found> {
    let mut of_task = statement(connection, include_str!("sql/search_task.sql"))?;
    let mut found = Vec::new();
    for task in tasks {
        let mut rows = of_task.query([task])?;
        while let Some(row) = rows.next()? {
            found.extend(message(row)?);
        }
    }
    Ok((found, true))
}

fn mentions(
    connection: &Connection,
    needle: &Needle,
    limit: usize,
    effort: usize,
) -> rusqlite::Result<Found> {
    let mut read = statement(connection, include_str!("sql/search_read.sql"))?;
    let (mut found, mut last, mut left) = (Vec::new(), i64::MIN, effort);
    while found.len() <= limit && left > 0 {
        let portion = left.min(PORTION);
        let mut rows = read.query(params![last, portion as i64])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            (last, count) = (row.get(0)?, count + 1);
            found.extend(message(row)?.filter(|(_, message)| needle.is_in(message)));
        }
        if count < portion {
            return Ok((found, true));
        }
        left -= count;
    }
    Ok((found, false))
}

/// A message; nothing for stored bytes that are none.
fn message(row: &Row<'_>) -> rusqlite::Result<Option<(i64, Message)>> {
    let body = Bytes::from(row.get::<_, Vec<u8>>(2)?);
    let number = row.get(0)?;
    let decoded = Message::decode(row.get_ref(1)?.as_blob()?, body);
    Ok(decoded.ok().map(|message| (number, message)))
}

fn sightings(
    connection: &Connection,
    (mut found, is_complete): Found,
    limit: usize,
    now: i64,
) -> rusqlite::Result<Sightings> {
    let is_complete = is_complete && found.len() <= limit;
    found.truncate(limit);
    let mut places = Places::new(connection, now);
    let mut ahead = statement(connection, include_str!("sql/search_ahead.sql"))?;
    let mut seen = Vec::with_capacity(found.len());
    for (number, message) in found {
        let place = places.of_message(number)?;
        let ahead = match place {
            Location::Ready { .. } => {
                Some(ahead.query_one([number], |row| row.get::<_, i64>(0))?.unsigned_abs())
            }
            _ => None,
        };
        seen.push(Sighting { place, ahead, message });
    }
    Ok(Sightings { found: seen, is_complete })
}
