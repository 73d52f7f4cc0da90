//! Messages on their way from a producer to a worker: published, lent, settled.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Headers, Message, QueueName, TaskId, Timestamp};

use crate::{
    Binding, Capabilities, Consequences, FailureReason, Located, Publication, Result, Search, Sightings,
    StoreResult,
};

/// Takes messages and lends them to consumers.
#[async_trait]
pub trait Broker: Send + Sync {
    /// What this broker can do.
    fn capabilities(&self) -> Capabilities;

    /// A priority as Celery's own programs on this broker count it. Here the highest comes first; on Redis kombu consumes 0 first.
    fn priority_in_celery(&self, priority: u8) -> u8 {
        priority
    }

    /// How many requests this process has sent to the server until now, one for each round trip, over all roles of the store;
    /// 0 where there is no server.
    fn round_trips(&self) -> u64 {
        0
    }

    /// Hands over messages, with the chords that begin with them and the groups to remember, all in one round trip.
    ///
    /// On `Ok` the broker owns all of them, in this order within each queue and priority. With
    /// [`Capabilities::atomic_publish`] everything becomes visible together or not at all; else chords begin and
    /// groups are saved first, and a failure may leave some of it done. On a transient error nobody knows:
    /// publishing again may publish twice. Queues that do not exist are created.
    ///
    /// Chords and groups are kept on this server. Where results live on another, [`crate::Store::publish`] takes them
    /// there.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] names the first message or group over the limit; then nothing was published.
    async fn publish(&self, publication: Publication) -> Result<()>;

    /// Starts a consumer. Queues that do not exist are created, empty.
    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription>;

    /// Binds queues to exchanges: what other programs publish there goes to every queue with a binding that it matches, once.
    /// Our own route to queues. On `Ok` the queues exist and the bindings are stored; binding again changes nothing, and
    /// nothing unbinds.
    ///
    /// # Errors
    /// [`crate::Error::Failed`] names a queue that is to be bound to a fan-out exchange without
    /// [`Capabilities::fanout_bindings`]; then nothing is bound.
    async fn bind(&self, bindings: &[Binding]) -> Result<()>;

    /// What waits, is lent and consumes, one answer for each of these queues, in order: zeros for a queue
    /// that does not exist. For every known queue by name if none is named and the server can list them.
    async fn queues(&self, names: &[QueueName]) -> Result<Vec<QueueStats>>;

    /// Does what every fetch needs of the server, and takes nothing: on `Ok` a fetch would have got on at this moment, whether
    /// or not anything waits. For a file that includes its write lock.
    async fn rehearse_fetch(&self) -> Result<()>;

    /// For each of these queues, in order, the headers of what has its turn next: of each priority that is told apart one
    /// message, the longest waiting. Nothing is taken. Stored bytes that are no message have no headers.
    async fn first_waiting(&self, names: &[QueueName]) -> Result<Vec<Vec<Headers>>>;

    /// Removes what waits in a queue, with [`Capabilities::schedule_access`] scheduled messages too, and says
    /// how many messages that were. What is lent stays lent.
    async fn purge(&self, queue: &QueueName) -> Result<u64>;

    /// Where the messages of these tasks are, in the same order; of several messages, the one that is nearest to its end.
    ///
    /// For people who ask what is waited for: the answer is of one moment, what moves meanwhile may be missed, and asking
    /// may take a while. Without [`Capabilities::random_access`] queues are read to find it, up to `effort` messages; where
    /// not even that is possible, nothing is found and the answer is not complete.
    async fn locate(&self, ids: &[TaskId], effort: usize) -> Result<Located> {
        let _ = effort;
        Ok(Located { places: vec![None; ids.len()], is_complete: ids.is_empty() })
    }

    /// Looks for messages that wait, are scheduled or lent, in the queues that are known. As [`Broker::locate`], for people.
    async fn search(&self, search: Search<'_>) -> Result<Sightings> {
        let _ = search;
        Ok(Sightings::default())
    }
}

/// One message to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Where to.
    pub route: Route,
    /// What.
    pub message: Message,
    /// Not to be delivered before. Until then the schedule of the store holds it.
    pub due: Option<Timestamp>,
}

/// Where a message is published to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Route {
    /// Straight into one queue.
    Queue(QueueName),
}

impl Route {
    /// Straight into this queue.
    pub fn to(queue: &QueueName) -> Self {
        Self::Queue(queue.clone())
    }

    /// The queue it leads to.
    pub fn queue(&self) -> &QueueName {
        match self {
            Self::Queue(queue) => queue,
        }
    }
}

/// How to consume.
#[derive(Clone, Debug)]
pub struct ConsumeOptions {
    /// The queues to take from; see [`Consumer::fetch`] for the order among them.
    pub queues: Vec<QueueName>,
    /// The most deliveries that may be unsettled at once; fixed for the life of the consumer. 0 counts as 1.
    pub prefetch: usize,
    /// How long a delivery stays ours without renewal, counted from its fetch. A fetch may renew the others too.
    pub lease: Duration,
    /// For people: the node name of the worker.
    pub worker: String,
}

/// A started consumer, in the three parts that live in different places of a worker.
pub struct Subscription {
    /// Brings deliveries; belongs to the input loop.
    pub consumer: Box<dyn Consumer>,
    /// Settles them; shared by whatever finishes tasks.
    pub settler: Arc<dyn Settler>,
    /// Keeps them ours; belongs to a thread that user code cannot block.
    pub lease: Arc<dyn Lease>,
}

/// The input half of a subscription.
#[async_trait]
pub trait Consumer: Send {
    /// Waits until something can be delivered and takes up to `limit` deliveries (0 counts as 1).
    ///
    /// Out of one queue the highest priority comes first, as finely as [`Capabilities::priorities`] tells, and among
    /// equals the longest waiting; a scheduled message waits from when it became ready. A message without a priority counts
    /// as 0 where all ten are told apart, else it has the place that other Celery programs give it.
    /// Out of several queues, [`Capabilities::priorities_across_queues`] and [`Capabilities::age_across_queues`] say
    /// whether the same order holds as if they were one; in any case no queue is passed over for ever for another
    /// whose messages have the same priority.
    ///
    /// The message is either in its queue or recorded as lent, at every instant; its delivery count has risen
    /// before this returns. Stored bytes that are not a message go to [`crate::FailedTasks`], with the code
    /// `undecodable`, and are not returned.
    /// With `prefetch` deliveries unsettled it waits until some are settled. Never returns an empty batch.
    ///
    /// Cancel safe: what was taken when the future is dropped comes out of the next call, or goes
    /// back to its queue by [`Settler::close`], not counted as a delivery.
    ///
    /// # Errors
    /// [`crate::Error::Closed`] once [`Settler::close`] was called.
    async fn fetch(&mut self, limit: usize) -> Result<Vec<Delivery>>;

    /// Takes from these queues from now on, which may be none. On `Ok` the queues exist, and no later fetch takes a message
    /// out of another queue, beyond what an interrupted one has taken. What is lent stays lent, whatever its queue.
    ///
    /// # Errors
    /// After an error it takes from the queues that it had; it may be asked again.
    async fn consume_from(&mut self, queues: Vec<QueueName>) -> Result<()>;
}

/// A message lent to this worker, to be settled once by its tag.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Names this delivery towards the [`Settler`] of the same subscription.
    pub tag: DeliveryTag,
    /// The queue it came from.
    pub queue: QueueName,
    /// The message itself.
    pub message: Message,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// How often it has been delivered, this time included. Deliveries that were given back with [`Settle::Release`]
    /// or [`Settler::close`] do not count, nor do redeliveries whose lease ran out before they were said to have
    /// [started](Settler::started). Without [`Capabilities::counts_deliveries`] it is 2 for every redelivery.
    pub deliveries: u32,
    /// Whether its task has been revoked. `None` leaves it open: always without
    /// [`Capabilities::fetch_checks_revocations`], else where the server could not be asked any more.
    pub revoked: Option<bool>,
}

/// Names one delivery of one subscription; a redelivery has another tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag(pub u64);

/// Names one started consumer, for ever: a restarted worker is another one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConsumerId(pub String);

impl fmt::Display for ConsumerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The output half of a subscription.
#[async_trait]
pub trait Settler: Send + Sync {
    /// Makes outcomes durable, all in one round trip: for each, the follow-ups are published, the result is stored,
    /// what else the end of the task brings about is done ([`Consequences`] says in which order) and the delivery is
    /// settled, in one step with [`Capabilities::atomic_finish`], else in that order.
    ///
    /// One answer for each, in order. [`Settled::Lost`] means that the delivery was not ours any more when the
    /// finish began (its lease had run out and somebody else has it, it is settled, or it was given back):
    /// nothing of that `Finish` took effect, and the others are not touched by it. A `Finish` without a delivery
    /// is never lost, also after [`Settler::close`].
    ///
    /// [`Settled::Completes`] means that a [`crate::ChordPart`] that did not know its closing would close its chord.
    /// Nothing of that `Finish` took effect either, but the delivery is still ours: the caller finishes again, with
    /// the closing.
    ///
    /// Finishing again what is already settled answers `Lost`, so a caller may repeat after a transient error.
    /// Without atomic finish the settlement may be undone when the connection breaks before the server has read it;
    /// the message then comes again, after its result.
    ///
    /// # Errors
    /// [`crate::Error::TooLarge`] names the first message, group or result over the limit, also one of a closing that
    /// may not happen; then nothing took effect.
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Settled>>;

    /// Says that the tasks of these deliveries are about to run; for redeliveries, before they run.
    ///
    /// Where deliveries are [counted](Capabilities::counts_deliveries) and leases run out
    /// [by time](Capabilities::timed_lease), a redelivery whose lease runs out counts only if this was said of it: so a
    /// message that merely waits in workers which die is not taken for what kills them. A first delivery counts in
    /// any case and need not be told, which keeps this off the path of nearly all tasks.
    ///
    /// What is not ours any more is passed over. Saying it again changes nothing, so a caller may repeat after a
    /// transient error. Elsewhere it does nothing.
    async fn started(&self, tags: Vec<DeliveryTag>) -> Result<()>;

    /// Gives back everything unsettled as [`Settle::Release`] does, and ends the consumer.
    /// A waiting [`Consumer::fetch`] ends with [`crate::Error::Closed`]. Closing again does nothing.
    async fn close(&self) -> Result<()>;
}

/// How one request ended, for the store.
#[derive(Clone, Debug)]
pub struct Finish {
    /// The delivery to settle; `None` if it was settled before (acknowledged early).
    pub delivery: Option<DeliveryTag>,
    /// How to settle it.
    pub settle: Settle,
    /// The result to store.
    pub result: Option<StoreResult>,
    /// Messages to publish: retries, and what the task is linked to.
    pub follow_ups: Vec<Publish>,
    /// What else the end of the task brings about, where it is a part of a workflow. Its messages come after the
    /// follow-ups.
    pub workflow: Option<Box<Consequences>>,
}

/// How to settle a delivery.
///
/// A message goes back to the head of its queue with [`Capabilities::returns_to_head`], else to whatever place
/// the server gives it; what goes back in one call keeps its order.
#[derive(Clone, Debug, PartialEq)]
pub enum Settle {
    /// The message is done with.
    Ack,
    /// Back to its queue; this delivery counts.
    Requeue,
    /// Back to its queue as if it had never been delivered.
    Release,
    /// To the failed tasks, with the message as it came.
    Fail(FailureReason),
}

/// What became of one [`Finish`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// All of it took effect.
    Done,
    /// The delivery was not ours any more; nothing took effect.
    Lost,
    /// It would close a chord and did not know how; nothing took effect, and the delivery is still ours.
    Completes,
}

/// Keeps the deliveries of one subscription ours.
#[async_trait]
pub trait Lease: Send + Sync {
    /// How long an unsettled delivery stays ours without renewal.
    fn length(&self) -> Duration;

    /// Makes the lease of every unsettled delivery of this subscription run anew from now; after
    /// [`Settler::close`] it does nothing.
    ///
    /// To be called every third of [`Lease::length`]. Without [`Capabilities::timed_lease`] it does nothing.
    /// Deliveries of another consumer whose lease ran out go back to their queue, by whoever waits in a fetch then, or
    /// fetches or renews next. First deliveries then count, and others if they had [started](Settler::started).
    async fn renew(&self) -> Result<()>;
}

/// The state of one queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueStats {
    /// The queue.
    pub queue: QueueName,
    /// Messages that could be delivered now.
    pub ready: u64,
    /// Messages held for later, where the server can tell.
    pub scheduled: Option<u64>,
    /// Messages lent to consumers and not settled, where the server can tell.
    pub lent: Option<u64>,
    /// Live consumers: started, not closed, their lease not run out.
    pub consumers: u64,
}
