//! Broadcasts: rows that everybody who listens reads, and nobody takes away.
//!
//! Those who listen are rows with a lease, which goes on for as long as they are asked for what is next. What is sent
//! while nobody listens is not written: that is one look at a small table, and no transaction if nothing else is to be
//! written. What is written is kept for a moment only, and for an exchange only so much: see [`KEPT_FOR`] and [`KEPT_BYTES`].

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::Message;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use super::listener::{Keys, Mailbox, hear};
use super::reader::statement;
use super::transaction::Tx;
use super::wake::Topic;
use super::writer::Operation;
use super::{SqliteStore, sweep};
use crate::broadcasts::not_too_large;
use crate::{
    Broadcasts, Error, LARGEST_BROADCAST, Listener, Replies, Result, WAITING_BROADCAST_BYTES,
    WAITING_BROADCASTS,
};

/// How long a broadcast is kept for those who listen.
const KEPT_FOR: Duration = Duration::from_secs(30);
/// How much of one exchange is kept, in bytes.
const KEPT_BYTES: i64 = WAITING_BROADCAST_BYTES as i64;
/// What a broadcast counts for at the least, so that no more are kept than may wait.
const LEAST_WEIGHT: i64 = KEPT_BYTES / WAITING_BROADCASTS as i64;
/// How many are removed at most to make room for one: as many as the largest may take the place of, twice.
const TRIM_STEP: i64 = 2 * LARGEST_BROADCAST as i64 / LEAST_WEIGHT;

/// What a broadcast of this size counts for.
pub(super) fn weight(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX).max(LEAST_WEIGHT)
}

#[async_trait]
impl Broadcasts for SqliteStore {
    async fn listen(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        Ok(Box::new(hear(self, exchange, Keys::None, None).await?))
    }

    async fn listen_to_keys(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        Ok(Box::new(hear(self, exchange, Keys::Any, None).await?))
    }

    async fn broadcast_all(&self, exchange: &str, routing_key: &str, messages: Vec<Message>) -> Result<bool> {
        let broadcasts = messages.into_iter().map(|message| {
            let broadcast = NewBroadcast::of(exchange, routing_key, message, KEPT_FOR);
            not_too_large(exchange, broadcast.size()).map(|()| broadcast)
        });
        let broadcasts: Vec<NewBroadcast> = broadcasts.collect::<Result<_>>()?;
        self.say("broadcast", broadcasts).await
    }

    async fn reply(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
        expires: Duration,
    ) -> Result<bool> {
        let reply = NewBroadcast::of(exchange, routing_key, message, expires);
        let (size, limit) = (reply.size(), self.shared.options.message_limit);
        if size > limit {
            return Err(Error::TooLarge { what: format!("reply to {exchange}"), size, limit });
        }
        self.say("reply", vec![reply]).await
    }

    async fn await_replies(&self, exchange: &str, open_for: Duration) -> Result<Box<dyn Replies>> {
        Ok(Box::new(Mailbox::open(self, exchange, open_for).await?))
    }
}

impl SqliteStore {
    /// Tells whoever listens to where all of these go, and says whether somebody does.
    async fn say(&self, name: &'static str, broadcasts: Vec<NewBroadcast>) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        let say = Say { broadcasts, is_heard: false, reply };
        self.shared.writer.submit(name, Box::new(say)).await?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// A broadcast as it is stored. Made in the task that sends it.
struct NewBroadcast {
    exchange: String,
    routing_key: String,
    head: Vec<u8>,
    body: Bytes,
    /// For how long it is kept, in microseconds.
    kept_for: i64,
}

impl NewBroadcast {
    fn of(exchange: &str, routing_key: &str, message: Message, kept_for: Duration) -> Self {
        Self {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            head: message.encode_head(),
            body: message.body,
            kept_for: i64::try_from(kept_for.as_micros()).unwrap_or(i64::MAX),
        }
    }

    fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Whether somebody listens to it at this moment.
    fn is_heard(&self, connection: &Connection, now: i64) -> rusqlite::Result<bool> {
        let mut any = statement(connection, include_str!("sql/listener_any.sql"))?;
        any.exists(params![self.exchange, self.routing_key, now])
    }

    /// Makes its row, and removes others that are too old, or too many.
    fn insert(&self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let last = ends(tx, include_str!("sql/broadcast_last.sql"), &self.exchange)?;
        let ends_here = last.unwrap_or(0).saturating_add(weight(self.size()));
        let (number, expires_at) = (tx.number()?, tx.now.saturating_add(self.kept_for));
        tx.execute(
            include_str!("sql/broadcast_add.sql"),
            params![
                number,
                self.exchange,
                self.routing_key,
                expires_at,
                ends_here,
                self.head,
                &self.body[..]
            ],
        )?;
        let kept_from = ends_here.saturating_sub(KEPT_BYTES);
        let first = ends(tx, include_str!("sql/broadcast_first.sql"), &self.exchange)?;
        if first.is_some_and(|first| first <= kept_from) {
            let trim = params![self.exchange, kept_from, TRIM_STEP];
            tx.execute(include_str!("sql/broadcast_trim.sql"), trim)?;
        }
        sweep::broadcasts(tx, 1)?;
        tx.touch(if self.routing_key.is_empty() { Topic::Broadcast } else { Topic::Keyed });
        Ok(())
    }
}

/// Where the first or the last broadcast of an exchange ends.
pub(super) fn ends(tx: &Tx<'_>, sql: &'static str, exchange: &str) -> rusqlite::Result<Option<i64>> {
    tx.statement(sql)?.query_one([exchange], |row| row.get(0)).optional()
}

/// Tells whoever listens, of all of these or of none. They have the same exchange and routing key.
struct Say {
    broadcasts: Vec<NewBroadcast>,
    is_heard: bool,
    reply: oneshot::Sender<Result<bool>>,
}

impl Say {
    fn is_heard(&self, connection: &Connection, now: i64) -> rusqlite::Result<bool> {
        self.broadcasts.first().map_or(Ok(false), |broadcast| broadcast.is_heard(connection, now))
    }
}

impl Operation for Say {
    fn wants_to_write(&mut self, look: &Connection, now: i64) -> rusqlite::Result<bool> {
        self.is_heard(look, now)
    }

    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        self.is_heard = self.is_heard(tx.connection, tx.now)?;
        if self.is_heard {
            self.broadcasts.iter().try_for_each(|broadcast| broadcast.insert(tx))
        } else {
            Ok(())
        }
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        // Who stopped waiting has no use for it.
        let _ = self.reply.send(outcome.map(|()| self.is_heard));
    }
}
