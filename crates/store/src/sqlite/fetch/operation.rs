//! One fetch in the thread that writes.

use std::sync::Arc;

use celeriac_protocol::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::mpsc;

use super::claim::{self, Batch};
use crate::Result;
use crate::sqlite::lending::{self, Held, Lending};
use crate::sqlite::transaction::Tx;
use crate::sqlite::wake::Topic;
use crate::sqlite::writer::Operation;

/// Messages that are moved from delayed to ready in one transaction. More of them follow in the next.
const DUE_STEP: i64 = 2000;

/// What a fetch came to.
pub(super) enum Found {
    /// Deliveries, at least one.
    Taken(Batch),
    /// Nothing. The earliest moment at which that may change by itself.
    Nothing(Option<Timestamp>),
}

/// Takes up to `limit` messages for a consumer.
pub(super) struct Fetch {
    lending: Arc<Lending>,
    limit: usize,
    reply: mpsc::UnboundedSender<Result<Found>>,
    found: Found,
    /// What the consumer held before this transaction.
    before: Option<Held>,
}

impl Fetch {
    pub(super) fn new(
        lending: Arc<Lending>,
        limit: usize,
        reply: mpsc::UnboundedSender<Result<Found>>,
    ) -> Self {
        Self { lending, limit, reply, found: Found::Nothing(None), before: None }
    }

    /// The consumer's state for this transaction; under a new row if its lease was lost.
    fn hold(&self, tx: &Tx<'_>, held: Held) -> rusqlite::Result<Held> {
        if exists(tx.connection, held.consumer)? {
            return Ok(held);
        }
        let lending = &self.lending;
        let consumer = lending::register(
            tx,
            &lending.worker,
            &lending.queues().taken_from,
            lending::lease_until(tx.now, lending.lease),
        )?;
        Ok(Held { consumer, unsettled: 0 })
    }
}

impl Operation for Fetch {
    /// A consumer that was woken for another one's work must not take the write lock from it.
    fn wants_to_write(&mut self, look: &Connection, now: i64) -> rusqlite::Result<bool> {
        let consumer = self.lending.held().consumer;
        let next = next_change(look, consumer)?;
        if next.is_some_and(|next| next <= now) || !exists(look, consumer)? {
            return Ok(true);
        }
        let mut any = look.prepare_cached(include_str!("../sql/ready_any.sql"))?;
        for queue in &self.lending.queues().taken_from {
            if any.exists([queue])? {
                return Ok(true);
            }
        }
        self.found = Found::Nothing(next.map(Timestamp::from_micros));
        Ok(false)
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let held = self.lending.held();
        self.before = Some(held);
        self.found = Found::Nothing(None);
        if self.lending.is_closed() {
            return Ok(());
        }
        let mut held = self.hold(tx, held)?;
        lending::reap(tx, held.consumer)?;
        make_due_ready(tx)?;
        let room = self.limit.min(self.lending.prefetch.saturating_sub(held.unsettled));
        let batch = claim::take(tx, held.consumer, &self.lending.queues().taken_from, room)?;
        if batch.rows.is_empty() {
            self.found =
                Found::Nothing(next_change(tx.connection, held.consumer)?.map(Timestamp::from_micros));
        } else {
            // What is handed out now is ours for a whole lease.
            let until = lending::lease_until(tx.now, self.lending.lease);
            tx.execute(include_str!("../sql/consumer_extend.sql"), params![held.consumer, until])?;
            held.unsettled += batch.rows.len();
            self.found = Found::Taken(batch);
        }
        self.lending.set_held(held);
        Ok(())
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.lending.set_held(before);
        }
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        // If the consumer is gone, its lease runs out.
        let Self { reply, found, .. } = *self;
        let _ = reply.send(outcome.map(|()| found));
    }
}

fn exists(connection: &Connection, consumer: i64) -> rusqlite::Result<bool> {
    connection.prepare_cached(include_str!("../sql/consumer_exists.sql"))?.exists([consumer])
}

/// When something changes without anybody doing anything: a message is due, or another consumer's lease runs out.
fn next_change(connection: &Connection, me: i64) -> rusqlite::Result<Option<i64>> {
    let due: Option<i64> = connection
        .prepare_cached(include_str!("../sql/due_first.sql"))?
        .query_one([], |row| row.get(0))
        .optional()?;
    let expiry: Option<i64> = connection
        .prepare_cached(include_str!("../sql/consumer_next_expiry.sql"))?
        .query_one([me], |row| row.get(0))?;
    Ok(due.into_iter().chain(expiry).min())
}

/// Moves what is due to its queue, for everybody.
fn make_due_ready(tx: &mut Tx<'_>) -> rusqlite::Result<()> {
    let first: Option<i64> =
        tx.statement(include_str!("../sql/due_first.sql"))?.query_one([], |row| row.get(0)).optional()?;
    if first.is_none_or(|due| due > tx.now) {
        return Ok(());
    }
    let moved = tx.execute(include_str!("../sql/due_to_ready.sql"), params![tx.now, DUE_STEP])?;
    let last: (i64, i64) = tx
        .statement(include_str!("../sql/due_last.sql"))?
        .query_one(params![tx.now, moved as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    tx.execute(include_str!("../sql/due_remove.sql"), last)?;
    tx.touch(Topic::Ready);
    Ok(())
}
