//! One write transaction, seen from the operations in it.

use std::collections::HashMap;

use celeriac_protocol::{QueueName, Timestamp};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::wake::{Topic, Topics};

/// The ids of queues that are known to be committed. Queues are never removed.
#[derive(Default)]
pub(super) struct QueueIds {
    known: HashMap<QueueName, i64>,
    /// Found or made by the open transaction; known once it has committed.
    fresh: HashMap<QueueName, i64>,
}

impl QueueIds {
    /// The transaction has committed.
    pub(super) fn keep(&mut self) {
        self.known.extend(self.fresh.drain());
    }

    /// The transaction was taken back.
    pub(super) fn forget(&mut self) {
        self.fresh.clear();
    }
}

/// An open write transaction: what the operations of one group have in common.
pub(super) struct Tx<'open> {
    pub connection: &'open Connection,
    /// The moment of this transaction, in microseconds since the Unix epoch.
    pub now: i64,
    queues: &'open mut QueueIds,
    numbers: Numbers,
    /// Whom to wake after the commit.
    pub touched: Topics,
}

/// The last number given out, once it is needed.
#[derive(Clone, Copy, PartialEq)]
enum Numbers {
    Untouched,
    Last { stored: i64, last: i64 },
}

impl<'open> Tx<'open> {
    pub(super) fn new(connection: &'open Connection, now: Timestamp, queues: &'open mut QueueIds) -> Self {
        let (numbers, touched) = (Numbers::Untouched, Topics::default());
        Self { connection, now: now.as_micros(), queues, numbers, touched }
    }

    /// A prepared statement.
    pub(super) fn statement(&self, sql: &'static str) -> rusqlite::Result<CachedStatement<'open>> {
        self.connection.prepare_cached(sql)
    }

    /// Runs a statement once and says how many rows it changed.
    pub(super) fn execute(
        &self,
        sql: &'static str,
        params: impl rusqlite::Params,
    ) -> rusqlite::Result<usize> {
        self.statement(sql)?.execute(params)
    }

    /// A number that was never given out before, higher than all before it and not below the clock's microseconds.
    pub(super) fn number(&mut self) -> rusqlite::Result<i64> {
        let (stored, last) = match self.numbers {
            Numbers::Last { stored, last } => (stored, last),
            Numbers::Untouched => {
                let stored: i64 =
                    self.statement(include_str!("sql/number_read.sql"))?.query_one([], |row| row.get(0))?;
                // One below the clock: a message published now is not younger than one that is due now.
                (stored, stored.max(self.now - 1))
            }
        };
        self.numbers = Numbers::Last { stored, last: last + 1 };
        Ok(last + 1)
    }

    /// The id of a queue, which is made if it is not there.
    pub(super) fn queue(&mut self, name: &QueueName) -> rusqlite::Result<i64> {
        if let Some(id) = self.queues.known.get(name).or_else(|| self.queues.fresh.get(name)) {
            return Ok(*id);
        }
        let id = match self.find_queue(name)? {
            Some(id) => id,
            None => self.statement(include_str!("sql/queue_create.sql"))?.insert([name.as_str()])?,
        };
        self.queues.fresh.insert(name.clone(), id);
        Ok(id)
    }

    /// The id of a queue, if it is there.
    pub(super) fn find_queue(&self, name: &QueueName) -> rusqlite::Result<Option<i64>> {
        self.statement(include_str!("sql/queue_find.sql"))?
            .query_one([name.as_str()], |row| row.get(0))
            .optional()
    }

    /// Wake those who wait for this.
    pub(super) fn touch(&mut self, topic: Topic) {
        self.touched.add(topic);
    }

    /// The last thing before the commit.
    pub(super) fn seal(&self) -> rusqlite::Result<()> {
        if let Numbers::Last { stored, last } = self.numbers
            && last != stored
        {
            self.execute(include_str!("sql/number_write.sql"), params![last])?;
        }
        Ok(())
    }
}
