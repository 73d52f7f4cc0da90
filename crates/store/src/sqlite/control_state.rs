//! What was changed of workers.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value, json};
use rusqlite::params;

use super::SqliteStore;
use super::reader::statement;
use super::transaction::Tx;
use crate::{ControlChange, ControlState, Result, Whose};

#[async_trait]
impl ControlState for SqliteStore {
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()> {
        let node = node(whose).to_owned();
        let expires_after = i64::try_from(expires_after.as_micros()).unwrap_or(i64::MAX);
        let changes: Vec<(Box<str>, Option<Vec<u8>>, i64)> = changes
            .into_iter()
            .map(|ControlChange { name, value, at }| {
                let value = (!value.is_null()).then(|| json::to_bytes(&value));
                (name, value, at.as_micros())
            })
            .collect();
        let keep = move |tx: &mut Tx<'_>| {
            // What has expired must not come back with the rest.
            tx.execute(include_str!("sql/sweep_changes.sql"), [tx.now])?;
            let expires_at = tx.now.saturating_add(expires_after);
            for (name, value, at) in &changes {
                match value {
                    None => tx.execute(include_str!("sql/change_forget.sql"), params![node, name])?,
                    Some(value) => tx.execute(
                        include_str!("sql/change_keep.sql"),
                        params![node, name, value, at, expires_at],
                    )?,
                };
            }
            tx.execute(include_str!("sql/change_extend.sql"), params![node, expires_at])?;
            Ok(())
        };
        self.shared.writer.call("keep changes of workers", keep).await
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
