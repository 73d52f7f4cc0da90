//! A mailbox for replies: a list that is bound by a routing key of its own, as kombu's clients bind theirs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Message, QueueName};

use super::Shared;
use super::publish::decode;
use super::pushes::{Listening, Topic};
use super::script::{OPEN_MAILBOX, read};
use crate::{Replies, Result};

/// Opens a mailbox.
///
/// Nothing is taken out of its list until it is closed: so a reply that was read is not lost with whoever waited for it.
pub(super) async fn open(shared: &Arc<Shared>, exchange: &str, open_for: Duration) -> Result<Mailbox> {
    let [bindings, _] = shared.keys.bindings(exchange);
    let mut call = shared.script(&OPEN_MAILBOX, std::iter::once(&*bindings));
    call.arg(&shared.options.redis.global_keyprefix).arg(&shared.options.redis.sep).arg(exchange);
    call.arg(uuid::Uuid::new_v4().simple().to_string());
    call.arg(u64::try_from(open_for.as_micros()).unwrap_or(u64::MAX));
    let routing_key: String = read(call.run("open a mailbox", &shared.link).await?, &shared.link)?;
    let queue = QueueName::new(format!("{routing_key}.{exchange}"));
    let list = shared.keys.list(&queue, 0);
    let listening = shared.pushes.interest(vec![Topic::Key(list.as_str().into())]);
    let open =
        Open { shared: Arc::clone(shared), binding: binding(shared, &routing_key, &queue), bindings, list };
    Ok(Mailbox { routing_key, listening, seen: 0, ready: VecDeque::new(), open_for, open: Some(open) })
}

/// Source: `Channel._queue_bind`, `kombu/transport/redis.py`, kombu 5.7.0.
fn binding(shared: &Shared, routing_key: &str, queue: &QueueName) -> String {
    let sep = &shared.options.redis.sep;
    format!("{routing_key}{sep}{sep}{queue}")
}

pub(super) struct Mailbox {
    routing_key: String,
    /// Tells of changes of the list.
    listening: Listening,
    /// How many replies of the list have been read.
    seen: usize,
    /// What was read and not asked for yet.
    ready: VecDeque<Vec<u8>>,
    open_for: Duration,
    /// `None` once it is closed.
    open: Option<Open>,
}

/// What there is of a mailbox on the server.
#[derive(Clone)]
struct Open {
    shared: Arc<Shared>,
    bindings: String,
    binding: String,
    list: String,
}

impl Open {
    async fn close(self) -> Result<()> {
        let mut remove = redis::pipe();
        remove.cmd("SREM").arg(&self.bindings).arg(&self.binding).cmd("DEL").arg(&self.list);
        self.shared.link.ask("close a mailbox", remove).await.map(drop)
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let shared = Arc::clone(&open.shared);
            drop(shared.io.spawn(async move {
                if let Err(error) = open.close().await {
                    tracing::warn!(%error, "a mailbox could not be closed");
                }
            }));
        }
    }
}

impl Mailbox {
    /// Reads what has come since the last time.
    async fn look(&mut self) -> Result<()> {
        let Some(open) = &self.open else { return Ok(()) };
        let mut look = redis::pipe();
        look.cmd("LRANGE").arg(&open.list).arg(0).arg(-1 - self.seen as i64);
        // A worker gives it a shorter expiry, or none: a stock one.
        look.cmd("PEXPIRE")
            .arg(&open.list)
            .arg(self.open_for.as_millis().clamp(1, u128::from(u32::MAX)) as u64);
        let answer = open.shared.link.ask("read replies", look).await?;
        let (latest_first, _): (Vec<Vec<u8>>, i64) = read(answer, &open.shared.link)?;
        self.seen += latest_first.len();
        self.ready.extend(latest_first.into_iter().rev());
        Ok(())
    }
}

#[async_trait]
impl Replies for Mailbox {
    fn routing_key(&self) -> &str {
        &self.routing_key
    }

    async fn next(&mut self) -> Result<Message> {
        loop {
            while let Some(reply) = self.ready.pop_front() {
                match decode(&reply) {
                    Some((message, _)) => return Ok(message),
                    None => tracing::warn!(size = reply.len(), "a reply is passed over: it is no message"),
                }
            }
            if let Some(open) = &self.open {
                open.shared.pushes.again(&self.listening).await?;
            }
            self.look().await?;
            if self.ready.is_empty() {
                self.listening.changed().await;
            }
        }
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        let Some(open) = self.open.clone() else { return Ok(()) };
        // Closed later, should nobody wait for the end of this.
        open.close().await?;
        self.open = None;
        Ok(())
    }
}
