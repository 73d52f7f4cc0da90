//! Broadcasts as kombu sends them: a published message on a channel, and replies in lists that are bound by a routing key.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Envelope, Message};
use redis::Pipeline;

use super::publish::decode;
use super::pushes::{Subscribed, Topic};
use super::script::{REPLY, read};
use super::{RedisStore, Shared, replies};
use crate::{Broadcasts, LARGEST_BROADCAST, Listener, Replies, Result};

#[async_trait]
impl Broadcasts for RedisStore {
    async fn listen(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        self.hear(Topic::Channel(self.shared.channel(exchange, "").into())).await
    }

    async fn listen_to_keys(&self, exchange: &str) -> Result<Box<dyn Listener>> {
        let channel = self.shared.channel(exchange, "*");
        let is_pattern = channel.ends_with('*');
        self.hear(if is_pattern { Topic::Pattern(channel.into()) } else { Topic::Channel(channel.into()) })
            .await
    }

    async fn broadcast_all(&self, exchange: &str, routing_key: &str, messages: Vec<Message>) -> Result<bool> {
        let shared = &self.shared;
        let channel = shared.channel(exchange, routing_key);
        let mut publish = Pipeline::with_capacity(messages.len());
        if messages.len() > 1 {
            publish.atomic();
        }
        for message in messages {
            publish.cmd("PUBLISH").arg(&channel).arg(envelope(exchange, routing_key, message));
        }
        let listeners: Vec<u64> =
            read(shared.broadcasts.ask("broadcast", publish).await?, &shared.broadcasts)?;
        Ok(listeners.last().is_some_and(|count| *count > 0))
    }

    async fn reply(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
        expires: Duration,
    ) -> Result<bool> {
        let shared = &self.shared;
        let [bindings, _] = shared.keys.bindings(exchange);
        let mut call = shared.script(&REPLY, std::iter::once(&*bindings));
        call.arg(&shared.options.redis.global_keyprefix).arg(&shared.options.redis.sep).arg(exchange);
        call.arg(routing_key).arg(envelope(exchange, routing_key, message));
        // The longest that Redis takes is far beyond any that is wanted.
        call.arg(expires.as_millis().clamp(1, u128::from(u32::MAX)) as u64);
        let queues: u64 = read(call.run("reply", &shared.link).await?, &shared.link)?;
        Ok(queues > 0)
    }

    async fn await_replies(&self, exchange: &str, open_for: Duration) -> Result<Box<dyn Replies>> {
        Ok(Box::new(replies::open(&self.shared, exchange, open_for).await?))
    }
}

impl RedisStore {
    async fn hear(&self, topic: Topic) -> Result<Box<dyn Listener>> {
        let subscribed = self.shared.pushes.subscribe(topic).await?;
        Ok(Box::new(Heard { shared: Arc::clone(&self.shared), subscribed }))
    }
}

impl Shared {
    fn channel(&self, exchange: &str, routing_key: &str) -> String {
        self.keys.channel(exchange, routing_key, self.database)
    }
}

fn envelope(exchange: &str, routing_key: &str, message: Message) -> Vec<u8> {
    Envelope {
        message,
        exchange: exchange.into(),
        routing_key: routing_key.into(),
        delivery_info: Vec::new(),
        delivery_tag: uuid::Uuid::new_v4().to_string().into(),
    }
    .encode()
}

/// What is published on the channel of an exchange.
struct Heard {
    shared: Arc<Shared>,
    subscribed: Subscribed,
}

#[async_trait]
impl Listener for Heard {
    async fn next(&mut self) -> Result<Message> {
        loop {
            let published = self.shared.pushes.published(&mut self.subscribed).await?;
            let size = published.len();
            if size > LARGEST_BROADCAST {
                tracing::warn!(size, "a broadcast is passed over: it is too large");
                continue;
            }
            match decode(&published) {
                Some((message, _)) => return Ok(message),
                None => tracing::warn!(size, "a broadcast is passed over: it is no message"),
            }
        }
    }
}
