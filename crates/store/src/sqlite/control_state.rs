//! What was changed of workers.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value, json};
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;
use super::reader::statement;
use super::sweep;
use super::transaction::Tx;
use crate::{ControlChange, ControlState, Result, Whose};

#[async_trait]
impl ControlState for SqliteStore {
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()> {
        let (node, expires_after) = (node(whose).to_owned(), micros(expires_after));
        let changes: Vec<Row> = changes.into_iter().map(Row::of).collect();
        let keep = move |tx: &mut Tx<'_>| {
            sweep::changes(tx)?;
            let mut more = 0;
            for change in &changes {
                more += change.write(tx, &node, None)?.unwrap_or(0);
            }
            extend(tx, &node, more, expires_after)
        };
        self.shared.writer.call("keep changes of workers", keep).await
    }

    async fn keep_if_room(
        &self,
        whose: &Whose,
        change: ControlChange,
        most: usize,
        expires_after: Duration,
    ) -> Result<bool> {
        let (node, expires_after) = (node(whose).to_owned(), micros(expires_after));
        let (change, most) = (Row::of(change), i64::try_from(most).unwrap_or(i64::MAX));
        let keep = move |tx: &mut Tx<'_>| {
            sweep::changes(tx)?;
            let Some(more) = change.write(tx, &node, Some(most))? else { return Ok(false) };
            extend(tx, &node, more, expires_after)?;
            Ok(true)
        };
        self.shared.writer.call("keep a change of workers", keep).await
    }

    async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>> {
        let (node, now) = (node(whose).to_owned(), self.shared.options.clock.now().as_micros());
        let kept = self.shared.reader.call("read changes of workers", move |connection| {
            let mut list = statement(connection, include_str!("sql/change_list.sql"))?;
            let rows = list.query_map(params![node, now], |row| {
                let (name, value): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
                let value = json::parse(&value).unwrap_or(Value::Null);
                Ok(ControlChange { name: name.into(), value, at: Timestamp::from_micros(row.get(2)?) })
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        kept.await
    }
}

/// The node as it is stored; no node name is empty.
fn node(whose: &Whose) -> &str {
    match whose {
        Whose::All => "",
        Whose::Node(node) => node,
    }
}

fn micros(expires_after: Duration) -> i64 {
    i64::try_from(expires_after.as_micros()).unwrap_or(i64::MAX)
}

/// A change as it is stored; one to nothing has no value.
struct Row {
    name: Box<str>,
    value: Option<Vec<u8>>,
    at: i64,
}

impl Row {
    fn of(change: ControlChange) -> Self {
        let ControlChange { name, value, at } = change;
        let value = (!value.is_null()).then(|| json::to_bytes(&value));
        Self { name, value, at: at.as_micros() }
    }

    /// Says how many more are there after it: none where there is no room for it.
    fn write(&self, tx: &Tx<'_>, node: &str, most: Option<i64>) -> rusqlite::Result<Option<i64>> {
        let Self { name, value: Some(value), at } = self else {
            let forgotten = tx.execute(include_str!("sql/change_forget.sql"), params![node, self.name])?;
            return Ok(Some(-(forgotten as i64)));
        };
        let change = params![node, name, value, at];
        if tx.execute(include_str!("sql/change_replace.sql"), change)? > 0 {
            return Ok(Some(0));
        }
        if let Some(most) = most {
            let mut count = tx.statement(include_str!("sql/change_count.sql"))?;
            let count: Option<i64> = count.query_one([node], |row| row.get(0)).optional()?;
            if count.unwrap_or(0) >= most {
                return Ok(None);
            }
        }
        tx.execute(include_str!("sql/change_keep.sql"), change)?;
        Ok(Some(1))
    }
}

/// So many more are kept of a node, and all of them anew.
fn extend(tx: &Tx<'_>, node: &str, more: i64, expires_after: i64) -> rusqlite::Result<()> {
    let expires_at = tx.now.saturating_add(expires_after);
    tx.execute(include_str!("sql/change_extend.sql"), params![node, more, expires_at])?;
    Ok(())
}
