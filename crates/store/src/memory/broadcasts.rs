//! Broadcasts: each listener has a queue of what it has not heard yet.

use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Message, Timestamp};

use super::MemoryStore;
use crate::broadcasts::not_too_large;
use crate::inbox::{Inbox, Sender, inbox};
use crate::{Broadcasts, Listener, Replies, Result};

/// One who listens.
#[derive(Debug)]
pub(super) struct Ear {
    exchange: Box<str>,
    keys: Keys,
    /// When it ends by itself.
    until: Option<Timestamp>,
    inbox: Sender<Said>,
}

/// Which routing keys are listened to.
#[derive(Debug)]
enum Keys {
    /// What has none.
    None,
    /// What has one.
    Any,
    /// What has this one.
    One(String),
}

impl Ear {
    fn hears(&self, exchange: &str, routing_key: &str) -> bool {
        let wants = match &self.keys {
            Keys::None => routing_key.is_empty(),
            Keys::Any => !routing_key.is_empty(),
            Keys::One(key) => key == routing_key,
        };
        *self.exchange == *exchange && wants
    }
}

/// A message, and when it has lost its worth.
#[derive(Clone, Debug)]
struct Said {
    message: Message,
    until: Option<Timestamp>,
}

#[async_trait]
impl Broadcasts for MemoryStore {
    async fn listen(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        Ok(Box::new(self.hear(exchange, Keys::None, None)))
    }

    async fn listen_to_keys(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        Ok(Box::new(self.hear(exchange, Keys::Any, None)))
    }

    async fn broadcast_all(&self, exchange: &str, routing_key: &str, messages: Vec<Message>) -> Result<bool> {
        for message in &messages {
            not_too_large(exchange, message.body.len())?;
        }
        let mut is_heard = false;
        for message in messages {
            is_heard = self.say(exchange, routing_key, &Said { message, until: None });
        }
        Ok(is_heard)
    }

    async fn reply(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
        expires: Duration,
    ) -> Result<bool> {
        let until = Some(self.shared.clock.now().saturating_add(expires));
        Ok(self.say(exchange, routing_key, &Said { message, until }))
    }

    async fn await_replies(&self, exchange: &str, open_for: Duration) -> Result<Box<dyn Replies>> {
        let routing_key = format!("mailbox-{}", self.lock().0.queues.next_number());
        let until = self.shared.clock.now().saturating_add(open_for);
        let heard = self.hear(exchange, Keys::One(routing_key.clone()), Some(until));
        Ok(Box::new(Mailbox { routing_key, heard }))
    }
}

impl MemoryStore {
    fn hear(&self, exchange: &str, keys: Keys, until: Option<Timestamp>) -> Heard {
        let (sender, inbox) = inbox();
        self.lock().0.ears.push(Ear { exchange: exchange.into(), keys, until, inbox: sender });
        Heard { store: self.clone(), inbox }
    }

    /// Tells everybody who listens, and says whether there is anybody.
    fn say(&self, exchange: &str, routing_key: &str, said: &Said) -> bool {
        let (mut state, now) = self.lock();
        state.ears.retain(|ear| !ear.inbox.is_closed() && ear.until.is_none_or(|until| until > now));
        let mut is_heard = false;
        for ear in state.ears.iter().filter(|ear| ear.hears(exchange, routing_key)) {
            is_heard = true;
            ear.inbox.put(said.message.body.len(), exchange, || said.clone());
        }
        is_heard
    }
}

/// What is sent to an exchange.
struct Heard {
    store: MemoryStore,
    inbox: Inbox<Said>,
}

#[async_trait]
impl Listener for Heard {
    async fn next(&mut self) -> Result<Message> {
        loop {
            let Some(said) = self.inbox.next().await else {
                // Its time is over, and nothing comes any more.
                return std::future::pending().await;
            };
            if said.until.is_none_or(|until| until > self.store.shared.clock.now()) {
                return Ok(said.message);
            }
        }
    }
}

impl Drop for Heard {
    fn drop(&mut self) {
        self.inbox.close();
        self.store.lock().0.ears.retain(|ear| !ear.inbox.is_closed());
    }
}

/// Hears what has one routing key.
struct Mailbox {
    routing_key: String,
    heard: Heard,
}

#[async_trait]
impl Replies for Mailbox {
    fn routing_key(&self) -> &str {
        &self.routing_key
    }

    async fn next(&mut self) -> Result<Message> {
        self.heard.next().await
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
