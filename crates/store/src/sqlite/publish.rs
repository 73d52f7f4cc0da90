//! Publishing: a message becomes rows.

use async_trait::async_trait;
use celeriac_protocol::{Headers, QueueName, TaskId, Timestamp};
use rusqlite::params;

use super::SqliteStore;
use super::key::TaskKey;
use super::transaction::Tx;
use super::wake::Topic;
use super::workflow::{Effects, NewPublication};
use crate::{
    Binding, Broker, Capabilities, ConsumeOptions, Error, Located, Publication, Publish, QueueStats, Result,
    Search, Sightings, Subscription,
};
use bytes::Bytes;

/// The bits of a rank that hold the age of a message: what came first has less. Above them, 9 - priority.
pub(super) const AGE_BITS: u32 = 55;
/// The largest age, and the mask of its bits.
pub(super) const AGE_MASK: i64 = (1 << AGE_BITS) - 1;

/// A message as it is stored. Made in the task that publishes, so the writer only copies bytes.
pub(super) struct NewMessage {
    task: Option<TaskKey>,
    queue: QueueName,
    priority: u8,
    due: Option<i64>,
    head: Vec<u8>,
    body: Bytes,
}

impl NewMessage {
    /// Encodes what is to be published.
    pub(super) fn of(publish: Publish, limit: usize) -> Result<Self> {
        let Publish { route, message, due } = publish;
        let head = message.encode_head();
        let size = head.len() + message.body.len();
        if size > limit {
            let task = message.headers.id.as_ref().map_or("without an id", |id| id.as_str());
            return Err(Error::TooLarge { what: format!("message of task {task}"), size, limit });
        }
        Ok(Self {
            task: message.headers.id.as_ref().map(TaskKey::of),
            queue: route.queue().clone(),
            priority: message.properties.priority.unwrap_or(0).min(9),
            due: due.map(Timestamp::as_micros),
            head,
            body: message.body,
        })
    }

    /// Encodes all of these, or says which is too large.
    pub(super) fn all(messages: Vec<Publish>, limit: usize) -> Result<Vec<Self>> {
        messages.into_iter().map(|publish| Self::of(publish, limit)).collect()
    }
}

/// The place of a message of this priority among those of its queue.
fn rank(priority: u8, age: i64) -> i64 {
    i64::from(9 - priority) << AGE_BITS | age.min(AGE_MASK)
}

/// Makes the rows of these messages.
pub(super) fn insert(tx: &mut Tx<'_>, messages: &[NewMessage]) -> rusqlite::Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut insert_message = tx.statement(include_str!("sql/publish_message.sql"))?;
    let mut insert_ready = tx.statement(include_str!("sql/publish_ready.sql"))?;
    for message in messages {
        let queue = tx.queue(&message.queue)?;
        let id = tx.number()?;
        let due = message.due.filter(|due| *due > tx.now);
        let rank = rank(message.priority, due.unwrap_or(id));
        insert_message.execute(params![
            id,
            message.task,
            queue,
            rank,
            due,
            message.head,
            &message.body[..]
        ])?;
        match due {
            None => insert_ready.execute(params![queue, rank, id])?,
            Some(due) => {
                tx.execute(include_str!("sql/publish_delayed.sql"), params![due, id, queue, rank])?
            }
        };
    }
    // Those who wait for the next due time have to look at it anew, too.
    tx.touch(Topic::Ready);
    Ok(())
}

#[async_trait]
impl Broker for SqliteStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    async fn publish(&self, publication: Publication) -> Result<()> {
        let publication = NewPublication::of(publication, self.shared.options.message_limit)?;
        if publication.is_empty() {
            return Ok(());
        }
        let publish = move |tx: &mut Tx<'_>| {
            if publication.is_only_messages() {
                return insert(tx, &publication.messages);
            }
            let mut effects = Effects::begin(tx)?;
            effects.publish(tx, &publication)?;
            effects.end(tx)
        };
        self.shared.writer.call("publish", publish).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription> {
        self.start_consumer(options).await
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<()> {
        self.bind_queues(bindings.to_vec()).await
    }

    async fn queues(&self, names: &[QueueName]) -> Result<Vec<QueueStats>> {
        self.queue_stats(names).await
    }

    async fn rehearse_fetch(&self) -> Result<()> {
        // An empty transaction: it waits for the write lock as a fetch does, and leaves nothing in the log.
        self.shared.writer.call("rehearse a fetch", |_| Ok(())).await
    }

    async fn first_waiting(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>> {
        self.look_at_queues(names).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<u64> {
        self.purge_queue(queue).await
    }

    async fn locate(&self, ids: &[TaskId], _: usize) -> Result<Located> {
        Ok(Located { places: self.find_messages(ids).await?, is_complete: true })
    }

    async fn search(&self, search: Search<'_>) -> Result<Sightings> {
        self.search_messages(search).await
    }
}
