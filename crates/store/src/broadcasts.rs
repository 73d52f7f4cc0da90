//! What is said to everybody at once, and answered to one: Celery's remote control, and its events.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::Message;

use crate::{Error, Result};

/// Carries broadcasts and the replies to them.
///
/// Nothing of it is kept: a broadcast reaches those who listen when it is sent, and nobody else. To send one that nobody
/// hears costs little, and leaves nothing behind.
#[async_trait]
pub trait Broadcasts: Send + Sync {
    /// Listens to what is sent to a fan-out exchange without a routing key: what is sent after this returns comes out of the
    /// listener, in the order in which it was sent.
    async fn listen(&self, exchange: &str) -> Result<Box<dyn Listener>>;

    /// The same for what is sent with a routing key, whatever that is.
    async fn listen_to_keys(&self, exchange: &str) -> Result<Box<dyn Listener>>;

    /// Sends a message to everybody who listens to this fan-out exchange, with a routing key unless that is empty.
    ///
    /// Says whether anybody listened, as far as the store knows: a Redis server does not know of those who listen to its
    /// replicas.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for one beyond [`LARGEST_BROADCAST`] where the store keeps what listeners have not asked for yet.
    /// After a transient one nobody knows whether it was sent.
    async fn broadcast(&self, exchange: &str, routing_key: &str, message: Message) -> Result<bool> {
        self.broadcast_all(exchange, routing_key, vec![message]).await
    }

    /// As [`Broadcasts::broadcast`], for several, in their order and in one round trip; says whether anybody listened to the
    /// last.
    ///
    /// # Errors
    /// When one is too large, none is sent. After a transient error nobody knows whether they were, so that whoever tries
    /// again may send them twice: all or none of them with [`crate::Capabilities::atomic_publish`], else perhaps some.
    async fn broadcast_all(&self, exchange: &str, routing_key: &str, messages: Vec<Message>) -> Result<bool>;

    /// Puts a message into the queues that are bound to a direct exchange by this routing key, and says whether there
    /// are any: who asked may be gone, and then nothing is left behind. What nobody fetches is gone after `expires`, unless
    /// the queue has an expiry of its own.
    async fn reply(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
        expires: Duration,
    ) -> Result<bool>;

    /// Opens a mailbox, to which replies to this direct exchange come from now on.
    ///
    /// It is open until [`Replies::close`]; after `open_for` what its owner left behind may be removed by anybody.
    async fn await_replies(&self, exchange: &str, open_for: Duration) -> Result<Box<dyn Replies>>;
}

/// A mailbox for replies.
///
/// Dropped, it is closed at some later time, or when somebody else opens one after its time.
#[async_trait]
pub trait Replies: Send {
    /// By which routing key [`Broadcasts::reply`] reaches it. No other mailbox has the same.
    fn routing_key(&self) -> &str;

    /// Waits for the next reply, in the order in which they came. Cancel safe.
    ///
    /// What cannot be decoded is passed over with a line in the log.
    ///
    /// # Errors
    /// When the server cannot be reached. Asked again, it goes on, and what came meanwhile is there.
    async fn next(&mut self) -> Result<Message>;

    /// Closes it. On `Ok` nothing is left of it and of what came.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// A stream of broadcasts.
#[async_trait]
pub trait Listener: Send {
    /// Waits for the next broadcast. Cancel safe.
    ///
    /// What cannot be decoded, or is larger than [`LARGEST_BROADCAST`], is passed over with a line in the log. So is some of
    /// it while more than [`WAITING_BROADCASTS`] wait, or more than [`WAITING_BROADCAST_BYTES`]. Where they wait in a file, all
    /// of one exchange count, and who has not asked for 30 seconds may have lost what was sent in that time.
    ///
    /// # Errors
    /// When the server cannot be reached. Asked again, the listener goes on; what was sent meanwhile is lost.
    async fn next(&mut self) -> Result<Message>;
}

/// The most broadcasts that wait for one listener.
pub const WAITING_BROADCASTS: usize = 1024;

/// How much of broadcasts waits for one listener at most, in bytes as they travel.
pub const WAITING_BROADCAST_BYTES: usize = 32 << 20;

/// The largest broadcast that is heard, in bytes as it travels.
pub const LARGEST_BROADCAST: usize = 4 << 20;

/// Refuses a broadcast of this size, in bytes, where it would be too large to be kept for a listener.
pub(crate) fn not_too_large(exchange: &str, size: usize) -> Result<()> {
    if size <= LARGEST_BROADCAST {
        return Ok(());
    }
    Err(Error::TooLarge { what: format!("broadcast to {exchange}"), size, limit: LARGEST_BROADCAST })
}
