//! Looking at queues and emptying them.

use std::collections::HashMap;

use bytes::Bytes;
use celeriac_protocol::{Headers, Message, QueueName};
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;
use super::publish::AGE_MASK;
use super::reader::statement;
use super::transaction::Tx;
use crate::{QueueStats, Result};

/// Messages removed in one transaction, so that a purge keeps nobody waiting for long.
const PURGE_STEP: i64 = 2000;

impl SqliteStore {
    pub(super) async fn queue_stats(&self, names: &[QueueName]) -> Result<Vec<QueueStats>> {
        let now = self.shared.options.clock.now().as_micros();
        let found = self.shared.reader.call("queues", move |connection| stats(connection, now)).await?;
        if names.is_empty() {
            return Ok(found);
        }
        let found: HashMap<_, _> = found.into_iter().map(|stats| (stats.queue.clone(), stats)).collect();
        Ok(names
            .iter()
            .map(|name| found.get(name).cloned().unwrap_or_else(|| nothing(name.clone())))
            .collect())
    }

    pub(super) async fn look_at_queues(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>> {
        let names: Vec<QueueName> = names.to_vec();
        let look = move |connection: &Connection| {
            let snapshot = connection.unchecked_transaction()?;
            names.iter().map(|queue| first_waiting(&snapshot, queue)).collect()
        };
        self.shared.reader.call("look at queues", look).await
    }

    pub(super) async fn purge_queue(&self, name: &QueueName) -> Result<u64> {
        let writer = &self.shared.writer;
        let queue = name.clone();
        // Only what is there now, or a busy producer would keep the purge going.
        let (queue, newest) =
            writer.call("purge", move |tx| Ok((tx.find_queue(&queue)?, tx.number()?))).await?;
        let Some(queue) = queue else { return Ok(0) };
        let mut removed = 0;
        // What is delayed goes first: what becomes due meanwhile is found among what is ready.
        let mut after = Some((i64::MIN, 0));
        while let Some(from) = after {
            let (step, last) = writer.call("purge", move |tx| purge_delayed(tx, queue, newest, from)).await?;
            removed += step;
            after = last;
        }
        loop {
            let step = writer.call("purge", move |tx| purge_ready(tx, queue, newest)).await?;
            removed += step;
            if step < PURGE_STEP as u64 {
                return Ok(removed);
            }
        }
    }
}

fn nothing(queue: QueueName) -> QueueStats {
    QueueStats { queue, ready: 0, scheduled: Some(0), lent: Some(0), consumers: 0 }
}

/// The headers of the first message of each priority in a queue.
fn first_waiting(connection: &Connection, queue: &QueueName) -> rusqlite::Result<Vec<Headers>> {
    let mut next = statement(connection, include_str!("sql/first_waiting.sql"))?;
    let (mut found, mut last) = (Vec::new(), i64::MIN);
    loop {
        let row = next.query_row(params![queue.as_str(), last], |row| {
            let head = Message::decode(row.get_ref(1)?.as_blob()?, Bytes::new());
            Ok((row.get::<_, i64>(0)?, head.ok().map(|message| message.headers)))
        });
        let Some((rank, headers)) = row.optional()? else { return Ok(found) };
        last = rank | AGE_MASK;
        found.extend(headers);
    }
}

/// Every known queue by name, in one snapshot.
fn stats(connection: &Connection, now: i64) -> rusqlite::Result<Vec<QueueStats>> {
    let snapshot = connection.unchecked_transaction()?;
    let delayed = counts(&snapshot, include_str!("sql/stats_delayed.sql"), now)?;
    let lent = counts(&snapshot, include_str!("sql/stats_lent.sql"), now)?;
    let consumers = counts(&snapshot, include_str!("sql/stats_consumers.sql"), now)?;
    let mut count_ready = statement(&snapshot, include_str!("sql/stats_ready.sql"))?;
    let mut list = statement(&snapshot, include_str!("sql/stats_queues.sql"))?;
    let rows = list.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (id, name) = row?;
        let ready: i64 = count_ready.query_one([id], |row| row.get(0))?;
        // What is due is ready, though nobody has moved it yet; what a dead consumer held is, too.
        let (delayed, due) = delayed.get(&id).copied().unwrap_or_default();
        let (lent, lost) = lent.get(&id).copied().unwrap_or_default();
        let (consumers, _) = consumers.get(&id).copied().unwrap_or_default();
        Ok(QueueStats {
            queue: QueueName::from(name),
            ready: (ready + due + lost) as u64,
            scheduled: Some((delayed - due) as u64),
            lent: Some((lent - lost) as u64),
            consumers: consumers as u64,
        })
    })
    .collect()
}

/// Per queue a count and, if the statement has a third column, how many of these are past `now`.
fn counts(
    connection: &Connection,
    sql: &'static str,
    now: i64,
) -> rusqlite::Result<HashMap<i64, (i64, i64)>> {
    let mut statement = statement(connection, sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([now], |row| {
        Ok((row.get(0)?, (row.get(1)?, if columns > 2 { row.get(2)? } else { 0 })))
    })?;
    rows.collect()
}

fn purge_ready(tx: &mut Tx<'_>, queue: i64, newest: i64) -> rusqlite::Result<u64> {
    let mut list = tx.statement(include_str!("sql/purge_ready_list.sql"))?;
    let rows = list.query_map(params![queue, newest, PURGE_STEP], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    let mut unready = tx.statement(include_str!("sql/task_unready.sql"))?;
    let mut remove = tx.statement(include_str!("sql/message_remove.sql"))?;
    for (rank, message) in &found {
        unready.execute(params![queue, rank, message])?;
        remove.execute([message])?;
    }
    Ok(found.len() as u64)
}

/// Removes a step of what is delayed; says how many and where to go on.
fn purge_delayed(
    tx: &mut Tx<'_>,
    queue: i64,
    newest: i64,
    (due, message): (i64, i64),
) -> rusqlite::Result<(u64, Option<(i64, i64)>)> {
    let mut list = tx.statement(include_str!("sql/purge_delayed_list.sql"))?;
    let rows = list
        .query_map(params![due, message, queue, newest, PURGE_STEP], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(i64, i64)> = rows.collect::<rusqlite::Result<_>>()?;
    let mut undelay = tx.statement(include_str!("sql/task_undelay.sql"))?;
    let mut remove = tx.statement(include_str!("sql/message_remove.sql"))?;
    for (due, message) in &found {
        undelay.execute(params![due, message])?;
        remove.execute([message])?;
    }
    let goes_on = found.len() == PURGE_STEP as usize;
    Ok((found.len() as u64, found.last().copied().filter(|_| goes_on)))
}
