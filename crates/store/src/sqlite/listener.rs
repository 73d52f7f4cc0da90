//! Listening to broadcasts.

use std::collections::VecDeque;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::Message;
use rusqlite::params;
use tokio::sync::watch;
use tokio::time::Instant;

use super::broadcasts::{ends, weight};
use super::reader::{Answer, statement};
use super::transaction::Tx;
use super::wake::Topic;
use super::{SqliteStore, sweep};
use crate::{Error, LARGEST_BROADCAST, Listener, Replies, Result};

/// For how long a listener that is not asked for what is next still counts as one.
const LEASE: Duration = Duration::from_secs(30);
/// How often that is renewed meanwhile.
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// Broadcasts read in one go, unless they are large.
const FEED_STEP: i64 = 100;

/// Which routing keys are listened to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Keys {
    /// What has none.
    None,
    /// What has one.
    Any,
    /// What has this one, of letters and digits.
    One(String),
}

impl Keys {
    /// By which those who listen are woken.
    fn topic(&self) -> Topic {
        match self {
            Self::None => Topic::Broadcast,
            Self::Any | Self::One(_) => Topic::Keyed,
        }
    }

    /// What matches them, for GLOB.
    fn pattern(&self) -> &str {
        match self {
            Self::None => "",
            Self::Any => "?*",
            Self::One(key) => key,
        }
    }

    fn have(&self, routing_key: &str) -> bool {
        match self {
            Self::None => routing_key.is_empty(),
            Self::Any => !routing_key.is_empty(),
            Self::One(key) => key == routing_key,
        }
    }
}

/// Listens from when this returns: for so long, or for as long as it is asked for what is next.
pub(super) async fn hear(
    store: &SqliteStore,
    exchange: &str,
    keys: Keys,
    only_for: Option<Duration>,
) -> Result<Heard> {
    let changed = store.hear(keys.topic()).await?;
    let (name, pattern) = (exchange.to_owned(), keys.pattern().to_owned());
    let listen = move |tx: &mut Tx<'_>| {
        sweep::listeners(tx)?;
        let added = params![name, pattern, until(tx.now, only_for.unwrap_or(LEASE))];
        let id = tx.statement(include_str!("sql/listener_add.sql"))?.insert(added)?;
        let last = ends(tx, include_str!("sql/broadcast_last.sql"), &name)?;
        // What comes after this number is sent after this.
        Ok((id, tx.number()?, last.unwrap_or(0)))
    };
    let (id, read_until, passed) = store.shared.writer.call("listen", listen).await?;
    let (waiting, asked) = (VecDeque::new(), None);
    let renewed = only_for.is_none().then(Instant::now);
    let row = Row { store: store.clone(), id, exchange: exchange.to_owned(), is_there: true };
    Ok(Heard { row, keys, read_until, passed, changed, waiting, asked, renewed })
}

/// The end of a time that begins now.
fn until(now: i64, time: Duration) -> i64 {
    now.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX))
}

/// Waits until it is, if it ever is.
async fn time_to_renew(renewed: Option<Instant>) {
    match renewed {
        Some(renewed) => tokio::time::sleep_until(renewed + RENEW_EVERY).await,
        None => std::future::pending().await,
    }
}

/// What is sent to an exchange.
pub(super) struct Heard {
    row: Row,
    keys: Keys,
    /// The number of the last broadcast that was read.
    read_until: i64,
    /// Where that ends.
    passed: i64,
    changed: watch::Receiver<u64>,
    /// Read, and not returned yet.
    waiting: VecDeque<Message>,
    /// A read that is under way; it outlives a dropped call.
    asked: Option<Answer<Vec<Said>>>,
    /// When its time was prolonged last, if it is.
    renewed: Option<Instant>,
}

/// The row of one who listens.
struct Row {
    store: SqliteStore,
    id: i64,
    exchange: String,
    is_there: bool,
}

/// A broadcast as it is stored.
struct Said {
    number: i64,
    routing_key: String,
    ends: i64,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Said {
    fn size(&self) -> usize {
        self.head.len() + self.body.len()
    }
}

#[async_trait]
impl Listener for Heard {
    async fn next(&mut self) -> Result<Message> {
        loop {
            self.renew().await?;
            if let Some(message) = self.waiting.pop_front() {
                return Ok(message);
            }
            let asked = match self.asked.take() {
                Some(asked) => asked,
                None => self.ask(),
            };
            let found = self.asked.insert(asked).take().await;
            self.asked = None;
            let found = found?;
            if !found.is_empty() {
                found.into_iter().for_each(|said| self.take(said));
                continue;
            }
            tokio::select! {
                // It fails only if the store is gone.
                changed = self.changed.changed() => changed.map_err(|_| Error::Closed)?,
                () = time_to_renew(self.renewed) => {}
            }
        }
    }
}

impl Heard {
    /// Prolongs its time, if that is due.
    async fn renew(&mut self) -> Result<()> {
        if self.renewed.is_none_or(|renewed| renewed.elapsed() < RENEW_EVERY) {
            return Ok(());
        }
        let (id, exchange, pattern) =
            (self.row.id, self.row.exchange.clone(), self.keys.pattern().to_owned());
        let renew = move |tx: &mut Tx<'_>| {
            let renewed = params![id, exchange, pattern, until(tx.now, LEASE)];
            tx.execute(include_str!("sql/listener_renew.sql"), renewed)?;
            sweep::listeners(tx)?;
            sweep::broadcasts(tx, 0)
        };
        // Before it is done: a call that is dropped meanwhile leaves it to the next time, of which there are several.
        self.renewed = Some(Instant::now());
        self.row.store.shared.writer.call("listen", renew).await
    }

    fn ask(&mut self) -> Answer<Vec<Said>> {
        self.changed.borrow_and_update();
        let shared = &self.row.store.shared;
        let (exchange, read_until, now) =
            (self.row.exchange.clone(), self.read_until, shared.options.clock.now().as_micros());
        shared.reader.ask("read broadcasts", move |connection| {
            let mut feed = statement(connection, include_str!("sql/broadcast_feed.sql"))?;
            let mut rows = feed.query(params![exchange, read_until, now, FEED_STEP])?;
            let (mut found, mut size) = (Vec::new(), 0);
            while let Some(row) = rows.next()? {
                let said = Said {
                    number: row.get(0)?,
                    routing_key: row.get(1)?,
                    ends: row.get(2)?,
                    head: row.get(3)?,
                    body: row.get(4)?,
                };
                size += said.size();
                found.push(said);
                if size >= LARGEST_BROADCAST {
                    break;
                }
            }
            Ok(found)
        })
    }

    /// Notes what was read.
    fn take(&mut self, said: Said) {
        let exchange = &*self.row.exchange;
        if said.ends - weight(said.size()) > self.passed {
            tracing::warn!(exchange, "broadcasts are passed over: they were not read in time");
        }
        (self.read_until, self.passed) = (said.number, said.ends);
        if !self.keys.have(&said.routing_key) {
            return;
        }
        match Message::decode(&said.head, Bytes::from(said.body)) {
            Ok(message) => self.waiting.push_back(message),
            Err(error) => tracing::warn!(exchange, %error, "a broadcast is passed over: it is no message"),
        }
    }
}

impl Row {
    /// Removes it, and what nobody else is to read.
    fn removal(&self) -> impl FnMut(&mut Tx<'_>) -> rusqlite::Result<()> + Send + use<> {
        let (id, exchange) = (self.id, self.exchange.clone());
        move |tx| {
            tx.execute(include_str!("sql/listener_remove.sql"), [id])?;
            tx.execute(include_str!("sql/broadcast_unheard.sql"), params![exchange, tx.now])?;
            Ok(())
        }
    }

    async fn remove(&mut self) -> Result<()> {
        self.store.shared.writer.call("listen no more", self.removal()).await?;
        self.is_there = false;
        Ok(())
    }
}

impl Drop for Row {
    fn drop(&mut self) {
        if self.is_there {
            // Where that is not possible now, its time ends by itself.
            self.store.shared.writer.call_unheard("listen no more", self.removal());
        }
    }
}

/// Listens to what has one routing key.
pub(super) struct Mailbox {
    routing_key: String,
    heard: Heard,
}

impl Mailbox {
    pub(super) async fn open(store: &SqliteStore, exchange: &str, open_for: Duration) -> Result<Self> {
        let routing_key = uuid::Uuid::new_v4().simple().to_string();
        let heard = hear(store, exchange, Keys::One(routing_key.clone()), Some(open_for)).await?;
        Ok(Self { routing_key, heard })
    }
}

#[async_trait]
impl Replies for Mailbox {
    fn routing_key(&self) -> &str {
        &self.routing_key
    }

    async fn next(&mut self) -> Result<Message> {
        self.heard.next().await
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.heard.row.remove().await
    }
}
