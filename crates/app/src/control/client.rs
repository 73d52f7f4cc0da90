//! The client of remote control: sends a command to workers, and collects what they reply.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::control::{self, Address, ControlCommand, Reply, ReplyTo};
use celeriac_protocol::{Serializer, Value};
use celeriac_store::{Broadcasts, Replies};
use tokio::time::{Instant, timeout_at};

use crate::{App, SendError};

/// How long workers may take to reply where nothing else is said, as in Celery.
const PATIENCE: Duration = Duration::from_secs(1);

/// The longest that replies are collected, however many come, beyond the time without one.
const LONGEST: Duration = Duration::from_secs(60);

/// Why a command could not be sent, or the replies to it not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The store cannot be reached.
    #[error("the store cannot be reached")]
    Connect(#[from] SendError),

    /// The store failed. The command may have been heard.
    #[error("the store failed")]
    Store(#[from] celeriac_store::Error),
}

/// Speaks to the workers of a program, and to all others that have the same `control_exchange`.
///
/// ```no_run
/// # async fn show(app: celeriac_app::App) -> Result<(), celeriac_app::control::ControlError> {
/// for reply in app.control().call("ping").replies().await? {
///     println!("{} is there", reply.node);
/// }
/// let limit = app.control().call("rate_limit").argument("task_name", "urls.save").argument("rate_limit", "10/m");
/// limit.to(["celery@one"]).send().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Control {
    app: App,
}

/// A command on its way to workers.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until `send` or `replies`"]
pub struct Call {
    app: App,
    command: ControlCommand,
    timeout: Duration,
    limit: Option<usize>,
}

impl App {
    /// Speaks to the workers.
    pub fn control(&self) -> Control {
        Control { app: self.clone() }
    }
}

impl Control {
    /// A command by its name, such as `ping`, to everybody unless it is told to whom.
    pub fn call(&self, method: impl Into<Box<str>>) -> Call {
        let method = method.into();
        let command =
            ControlCommand { method, arguments: Vec::new(), address: Address::All, reply_to: None, clock: 0 };
        Call { app: self.app.clone(), command, timeout: PATIENCE, limit: None }
    }
}

impl Call {
    /// With an argument.
    pub fn argument(mut self, name: impl Into<Box<str>>, value: impl Into<Value>) -> Self {
        self.command.arguments.push((name.into(), value.into()));
        self
    }

    /// With these arguments.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = (Box<str>, Value)>) -> Self {
        self.command.arguments.extend(arguments);
        self
    }

    /// Only to the workers of these node names; to everybody if there are none.
    pub fn to(mut self, nodes: impl IntoIterator<Item = impl Into<Box<str>>>) -> Self {
        let nodes: Vec<Box<str>> = nodes.into_iter().map(Into::into).collect();
        self.command.address = if nodes.is_empty() { Address::All } else { Address::Nodes(nodes) };
        self
    }

    /// Only to workers whose node name matches this pattern of the shell, such as `celery@web-*`.
    pub fn to_matching(mut self, pattern: impl Into<Box<str>>) -> Self {
        self.command.address = Address::Matching { pattern: pattern.into(), matcher: "glob".into() };
        self
    }

    /// Waits for replies until none has come for so long. Default: 1 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Waits for no more than so many replies. Default: as many as there are nodes that it [goes to](Self::to), if it goes to
    /// such.
    pub fn limit(mut self, replies: usize) -> Self {
        self.limit = Some(replies);
        self
    }

    /// Sends the command. On `Ok` it is on its way to those workers that are there.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub async fn send(self) -> Result<(), ControlError> {
        let broadcasts = self.broadcasts().await?;
        broadcasts.broadcast(&self.exchange(), "", self.command.message(None)).await?;
        Ok(())
    }

    /// Sends the command, and collects the replies in the order in which they come.
    ///
    /// # Errors
    /// Why it could not be sent, or the replies not be read.
    pub async fn replies(self) -> Result<Vec<Reply>, ControlError> {
        let mut replies = Vec::new();
        self.each_reply(|reply| replies.push(reply)).await?;
        Ok(replies)
    }

    /// As [`Call::replies`], and calls `hear` with each reply as soon as it comes.
    ///
    /// # Errors
    /// As [`Call::replies`].
    pub async fn each_reply(mut self, hear: impl FnMut(Reply)) -> Result<(), ControlError> {
        let broadcasts = self.broadcasts().await?;
        let exchange = control::reply_exchange(&self.app.config().control_exchange);
        let open_for = self.timeout.saturating_add(LONGEST);
        let mut mailbox = broadcasts.await_replies(&exchange, open_for).await?;
        let ticket = Value::from(uuid());
        self.command.reply_to = Some(ReplyTo {
            exchange: exchange.into(),
            routing_key: mailbox.routing_key().into(),
            ticket: ticket.clone(),
            serializer: Serializer::Json,
        });
        let heard = self.ask(&*broadcasts, &mut *mailbox, &ticket, hear).await;
        let closed = mailbox.close().await;
        heard?;
        if let Err(error) = closed {
            // What was asked for is there.
            tracing::warn!(%error, "the mailbox of replies could not be closed");
        }
        Ok(())
    }

    async fn ask(
        &self,
        broadcasts: &dyn Broadcasts,
        mailbox: &mut dyn Replies,
        ticket: &Value,
        mut hear: impl FnMut(Reply),
    ) -> Result<(), ControlError> {
        let until = self.app.client().now().saturating_add(self.timeout);
        broadcasts.broadcast(&self.exchange(), "", self.command.message(Some(until))).await?;
        let after = |time| Instant::now().checked_add(time);
        let end = after(self.timeout.saturating_add(LONGEST));
        let mut left = match (self.limit, &self.command.address) {
            (Some(limit), _) => limit,
            (None, Address::Nodes(nodes)) => nodes.len(),
            (None, _) => usize::MAX,
        };
        while left > 0 {
            let message = match after(self.timeout).min(end) {
                Some(moment) => match timeout_at(moment, mailbox.next()).await {
                    Ok(message) => message?,
                    Err(_elapsed) => break,
                },
                None => mailbox.next().await?,
            };
            match Reply::decode(&message) {
                Ok(reply) if reply.ticket == *ticket => {
                    left -= 1;
                    hear(reply);
                }
                Ok(reply) => {
                    tracing::debug!(node = &*reply.node, "a reply to another question is passed over");
                }
                Err(error) => tracing::warn!(%error, "a reply is passed over"),
            }
        }
        Ok(())
    }

    fn exchange(&self) -> String {
        control::exchange(&self.app.config().control_exchange)
    }

    async fn broadcasts(&self) -> Result<Arc<dyn Broadcasts>, ControlError> {
        Ok(Arc::clone(self.app.store().await?.broadcasts()))
    }
}

/// What tells this question from all others.
fn uuid() -> String {
    celeriac_protocol::TaskId::fresh().as_str().to_owned()
}
