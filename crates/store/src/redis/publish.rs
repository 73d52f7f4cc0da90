//! Publishing: a message becomes kombu's envelope in a list, or in our schedule.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Envelope, Headers, Message, QueueName, TaskId, Timestamp};
use redis::cmd;

use super::bindings::Binding as Bound;
use super::consequences::NewGroups;
use super::keys::LOWEST;
use super::script::{Arguments, PUBLISH, PURGE, read};
use super::{RedisStore, Shared, consumer, lock};
use crate::{
    Binding, Broker, Capabilities, ConsumeOptions, Error, ExchangeType, Located, Publication, Publish,
    QueueStats, Result, Revocations, Search, Sightings, Subscription,
};

/// A message as it is stored. Made in the task that publishes.
pub(super) struct NewMessage {
    list: String,
    task: Option<TaskId>,
    envelope: Vec<u8>,
    due: Option<Due>,
}

/// When a message is due, by this machine's clock.
#[derive(Clone, Copy)]
struct Due {
    at: Timestamp,
    /// From now on. Where this machine's clock is behind the server's, it is this that counts: a worker would else be
    /// lent at once what it has just put off.
    within: Duration,
}

impl NewMessage {
    /// Encodes what is to be published.
    pub(super) fn of(publish: Publish, shared: &Shared) -> Result<Self> {
        let Publish { route, message, due } = publish;
        let task = message.headers.id.clone();
        let queue = route.queue();
        let (priority, envelope) = encode(queue, message);
        let (size, limit) = (envelope.len(), shared.options.message_limit);
        // The limit is one of the message: the envelope carries its body in base64, which is a third longer.
        if size / 4 * 3 > limit {
            let task = task.as_ref().map_or("without an id", |id| id.as_str());
            return Err(Error::TooLarge { what: format!("message of task {task}"), size, limit });
        }
        let list = shared.keys.list(queue, shared.keys.step_of(priority));
        let now = shared.options.clock.now();
        let due = due.map(|at| Due { at, within: at.saturating_since(now) });
        Ok(Self { list, task, envelope, due })
    }

    /// Encodes all of these, or says which is too large.
    pub(super) fn all(messages: Vec<Publish>, shared: &Shared) -> Result<Vec<Self>> {
        messages.into_iter().map(|publish| Self::of(publish, shared)).collect()
    }

    /// The list it goes to, now or when it is due.
    pub(super) fn list(&self) -> &str {
        &self.list
    }

    /// Adds what the scripts take of a message.
    pub(super) fn add_to(&self, call: &mut impl Arguments) {
        call.arg(&self.list).arg(self.task.as_ref().map_or("", |task| task.as_str())).arg(&self.envelope[..]);
        call.arg(self.due.map_or(String::new(), |Due { at, within }| {
            format!("{} {}", at.as_micros(), within.as_micros())
        }));
    }
}

/// The priority as kombu counts it, the other way, and the envelope.
fn encode(queue: &QueueName, mut message: Message) -> (u8, Vec<u8>) {
    let priority = message.properties.priority.map(turned);
    message.properties.priority = priority;
    let envelope = Envelope {
        message,
        exchange: "".into(),
        routing_key: queue.as_str().into(),
        delivery_info: Vec::new(),
        delivery_tag: uuid::Uuid::new_v4().to_string().into(),
    };
    (priority.unwrap_or(0), envelope.encode())
}

/// A priority counted from the other end.
fn turned(priority: u8) -> u8 {
    LOWEST - priority.min(LOWEST)
}

/// The message in an envelope, if there is one, and whether it says that it was delivered before.
pub(super) fn decode(envelope: &[u8]) -> Option<(Message, bool)> {
    let mut envelope = Envelope::decode(envelope).ok()?;
    let redelivered = envelope
        .delivery_info
        .iter()
        .any(|(name, value)| &**name == "redelivered" && value.as_bool() == Some(true));
    let priority = &mut envelope.message.properties.priority;
    *priority = priority.map(turned);
    Some((envelope.message, redelivered))
}

#[async_trait]
impl Broker for RedisStore {
    fn priority_in_celery(&self, priority: u8) -> u8 {
        turned(priority)
    }

    fn round_trips(&self) -> u64 {
        self.shared.door.round_trips()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            priorities: self.shared.keys.priorities(),
            age_across_queues: false,
            random_access: false,
            fanout_bindings: false,
            ..Capabilities::ALL
        }
    }

    async fn publish(&self, mut publication: Publication) -> Result<()> {
        let shared = &self.shared;
        let groups = NewGroups::of(&mut publication, shared)?;
        let messages = publication.messages;
        if messages.is_empty() && groups.is_empty() {
            return Ok(());
        }
        let queues: Vec<QueueName> = messages.iter().map(|publish| publish.route.queue().clone()).collect();
        let messages = NewMessage::all(messages, shared)?;
        shared.declare(&queues).await?;
        if messages.iter().any(|message| message.due.is_some()) {
            let lists: BTreeSet<&str> = messages.iter().map(NewMessage::list).collect();
            let mut call = shared.script(&PUBLISH, lists.into_iter());
            groups.add_to(&mut call);
            messages.iter().for_each(|message| message.add_to(&mut call));
            call.run("publish", &shared.link).await?;
            return Ok(());
        }
        let mut pipeline = redis::pipe();
        let mut steps = 0;
        if !groups.is_empty() {
            steps += shared.add_among_results(&mut pipeline, groups.command());
        }
        for run in messages.chunk_by(|one, next| one.list == next.list) {
            let push = pipeline.cmd("LPUSH").arg(&run[0].list);
            run.iter().for_each(|message| {
                push.arg(&message.envelope[..]);
            });
            steps += 1;
        }
        if steps > 1 {
            pipeline.atomic();
        }
        shared.link.ask("publish", pipeline).await?;
        Ok(())
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription> {
        consumer::start(&self.shared, options).await
    }

    async fn bind(&self, bindings: &[Binding]) -> Result<()> {
        self.shared.bind(bindings).await
    }

    async fn queues(&self, names: &[QueueName]) -> Result<Vec<QueueStats>> {
        self.shared.queue_stats(names).await
    }

    async fn rehearse_fetch(&self) -> Result<()> {
        // A script, as a fetch is, that looks up one place.
        self.revoked(&[TaskId::fresh()]).await.map(drop)
    }

    async fn first_waiting(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>> {
        self.shared.first_waiting(names).await
    }

    async fn purge(&self, queue: &QueueName) -> Result<u64> {
        let shared = &self.shared;
        let lists = shared.keys.lists(queue);
        let call = shared.script(&PURGE, lists.iter().map(String::as_str));
        read(call.run("purge", &shared.link).await?, &shared.link)
    }

    async fn locate(&self, ids: &[TaskId], effort: usize) -> Result<Located> {
        self.locate_messages(ids, effort).await
    }

    async fn search(&self, search: Search<'_>) -> Result<Sightings> {
        self.search_messages(search).await
    }
}

impl Shared {
    /// As [`Shared::declare`], also if this process has done it before: the server may have lost it.
    pub(super) async fn declare_again(&self, queues: &[QueueName]) -> Result<()> {
        lock(&self.declared).clear();
        self.declare(queues).await?;
        let bound: Vec<Binding> =
            lock(&self.bound).iter().filter(|it| queues.contains(&it.queue)).cloned().collect();
        self.bind(&bound).await
    }

    /// Binds queues where Celery's producers look, which need no word of it: each message is routed by whoever sends it.
    async fn bind(&self, bindings: &[Binding]) -> Result<()> {
        if let Some(fanout) = bindings.iter().find(|binding| binding.exchange_type == ExchangeType::Fanout) {
            let Binding { queue, exchange, .. } = fanout;
            let reason = format!(
                "the queue {queue} cannot be bound to the fan-out exchange {exchange}: Redis tells only those who listen"
            );
            return Err(Error::Failed { url: self.link.url().to_owned(), reason });
        }
        if bindings.is_empty() {
            return Ok(());
        }
        let queues: Vec<QueueName> = bindings.iter().map(|binding| binding.queue.clone()).collect();
        self.declare(&queues).await?;
        let mut pipeline = redis::pipe();
        for binding in bindings {
            let member = Bound::member(binding, &self.options.redis.sep);
            for key in self.keys.bindings(&binding.exchange) {
                pipeline.cmd("SADD").arg(key).arg(&member);
            }
        }
        self.link.ask("bind queues", pipeline).await?;
        lock(&self.bound).extend(bindings.iter().cloned());
        Ok(())
    }

    /// Makes queues known to us and to Celery's producers, which route by the bindings of the exchange of that name.
    pub(super) async fn declare(&self, queues: &[QueueName]) -> Result<()> {
        let known = |queue: &&QueueName| lock(&self.declared).contains(*queue);
        if queues.iter().all(|queue| known(&queue)) {
            return Ok(());
        }
        let mut new: Vec<&QueueName> = queues.iter().filter(|queue| !known(queue)).collect();
        new.dedup();
        let mut pipeline = redis::pipe();
        for queue in &new {
            let member = self.keys.binding(queue);
            for key in self.keys.bindings(queue.as_str()) {
                pipeline.add_command({
                    let mut add = cmd("SADD");
                    add.arg(key).arg(&member);
                    add
                });
            }
            pipeline.cmd("SADD").arg(self.keys.named("queues")).arg(queue.as_str());
        }
        self.link.ask("declare queues", pipeline).await?;
        lock(&self.declared).extend(new.into_iter().cloned());
        Ok(())
    }
}
