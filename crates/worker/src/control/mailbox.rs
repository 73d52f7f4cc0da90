//! Hears commands, and replies.

use std::sync::Arc;

use celeriac_protocol::control::{self, ControlCommand, ReplyTo};
use celeriac_protocol::{Message, Value};
use celeriac_store::{Broadcasts, Error};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::address::is_for;
use super::clock::LogicalClock;
use super::kept::LOOKS_EVERY;
use super::panel::{Answer, Panel, Refusal, nok};
use crate::Options;
use crate::trouble::Trouble;

/// The ear of a worker for remote control.
pub(crate) struct Mailbox {
    pub(crate) broadcasts: Arc<dyn Broadcasts>,
    /// The setting `control_exchange`.
    pub(crate) exchange: String,
    pub(crate) panel: Panel,
    pub(crate) trouble: Trouble,
    /// Replies that come later; they end with this.
    pub(crate) later: JoinSet<()>,
}

impl Mailbox {
    /// Obeys and replies until the store is closed.
    pub(crate) async fn run(mut self) {
        let exchange = control::exchange(&self.exchange);
        let mut asker = self.trouble.asker("remote control is not heard");
        let mut listener = loop {
            match self.broadcasts.listen(&exchange).await {
                Ok(listener) => break listener,
                Err(Error::Closed) => return,
                Err(error) => asker.pause(&error).await,
            }
        };
        let mut look = tokio::time::interval(LOOKS_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                // The first time at once: what was changed before this worker listened.
                _ = look.tick() => self.catch_up().await,
                heard = listener.next() => match heard {
                    Ok(message) => {
                        self.hear(&message).await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            match heard {
                Ok(()) => asker.worked(),
                Err(Error::Closed) => return,
                Err(error) => {
                    asker.pause(&error).await;
                    // What was said meanwhile was lost.
                    look.reset_immediately();
                }
            }
        }
    }

    /// Obeys what others have heard.
    async fn catch_up(&mut self) -> Result<(), Error> {
        for kept in self.panel.kept.unobeyed().await? {
            self.panel.obey_kept(kept).await;
        }
        Ok(())
    }

    async fn hear(&mut self, message: &Message) {
        let command = match ControlCommand::decode(message) {
            Ok(command) => command,
            Err(error) => return tracing::error!(%error, "a control command cannot be decoded"),
        };
        self.panel.clock.adjust(command.clock);
        match is_for(&command.address, &self.panel.options.node_name) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::error!(method = &*command.method, error, "a control command is for nobody");
            }
        }
        tracing::debug!(reply = command.reply_to.is_some(), "pidbox received method {}", command.method);
        while self.later.try_join_next().is_some() {}
        let reply = match self.panel.obey(&command).await {
            Ok(Answer::Reply(reply)) => reply,
            Ok(Answer::Later(answer)) => {
                let replying = self.replying(command);
                self.later.spawn(async move { replying.send(answer.await).await });
                return;
            }
            Ok(Answer::Silence) => return,
            Ok(Answer::Unknown) => return tracing::error!("No such control command: '{}'", command.method),
            Err(refusal) => {
                tracing::error!(method = &*command.method, "pidbox command error: {refusal}");
                nok(refusal.to_string())
            }
        };
        self.replying(command).send(reply).await;
    }

    fn replying(&self, command: ControlCommand) -> Replying {
        Replying {
            broadcasts: Arc::clone(&self.broadcasts),
            options: Arc::clone(&self.panel.options),
            clock: self.panel.clock.clone(),
            command,
        }
    }
}

/// What it takes to reply to a command.
struct Replying {
    broadcasts: Arc<dyn Broadcasts>,
    options: Arc<Options>,
    clock: LogicalClock,
    command: ControlCommand,
}

impl Replying {
    /// Replies, if somebody asked for it; in the place of a reply that is too large, with the reason. Who asked waits for a
    /// second or so: trying again would be too late.
    async fn send(self, reply: Value) {
        let Some(to) = &self.command.reply_to else { return };
        let method = &*self.command.method;
        let sent = match self.put(to, reply).await {
            Err(Error::TooLarge { size, limit, .. }) => {
                let text = format!("the reply has {size} bytes, and may have {limit}");
                let refusal = Refusal::new("ValueError", text);
                tracing::error!(method, "pidbox command error: {refusal}");
                self.put(to, nok(refusal.to_string())).await
            }
            sent => sent,
        };
        match sent {
            Ok(true) => {}
            Ok(false) => tracing::debug!(method, "nobody waits for the reply"),
            Err(error) => tracing::warn!(method, %error, "the reply could not be sent"),
        }
    }

    async fn put(&self, to: &ReplyTo, reply: Value) -> Result<bool, Error> {
        let message = to.message(&self.options.node_name, reply, self.clock.forward());
        let (size, limit) = (message.body.len(), control::LARGEST);
        if size > limit {
            return Err(Error::TooLarge { what: format!("reply to {}", self.command.method), size, limit });
        }
        let expires = self.options.control_queue_expires;
        self.broadcasts.reply(&to.exchange, &to.routing_key, message, expires).await
    }
}
