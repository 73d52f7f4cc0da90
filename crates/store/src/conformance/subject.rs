//! The store that a law is about, and what a law does with it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{Message, QueueName, ResultRecord, State, TaskId, TaskName, Timestamp, Value};

use super::Consuming;
use crate::clock::{Clock, Hand};
use crate::{
    Broker, Capabilities, ConnectOptions, ConsumeOptions, ControlState, FailedTasks, FailureReason, Groups,
    Presence, Publish, QueueStats, ResultBackend, Revocation, Revocations, Route, Schedule, Store,
    StoreResult,
};

/// When every law begins.
pub(super) const START: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

/// The message limit of every store under test, in bytes.
pub(super) const LIMIT: usize = 256 << 10;

/// The lease of consumers that do not choose another.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// A moment: long enough to tell times apart, short for everything else.
pub(super) const MOMENT: Duration = Duration::from_secs(1);

/// How long anything may take before it counts as not happening, in the time of Tokio.
const DEADLINE: Duration = Duration::from_secs(20);

/// One empty server, file or name, which nobody used before.
#[async_trait]
pub trait FreshServer: Send + Sync {
    /// Opens it, as one more process would. Every call leads to the same data.
    async fn open(&self, options: &ConnectOptions) -> Store;

    /// Puts bytes that are not a message into a queue, as a broken producer would.
    async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]);

    /// Makes time pass for the store, whose clock this hand moves.
    async fn advance(&self, hand: &Hand, by: Duration) {
        hand.advance(by);
    }
}

/// An empty store with everything a law needs.
pub struct StoreUnderTest {
    server: Box<dyn FreshServer>,
    options: ConnectOptions,
    hand: Hand,
    store: Store,
}

impl StoreUnderTest {
    /// Opens a fresh server with a clock that stands at the same time for every law.
    pub async fn new(server: impl FreshServer + 'static) -> Self {
        let (clock, hand) = Clock::with_hand(START);
        let options = ConnectOptions { clock, message_limit: LIMIT, ..ConnectOptions::default() };
        let store = server.open(&options).await;
        Self { server: Box::new(server), options, hand, store }
    }

    /// What the store declares, which chooses the laws.
    pub fn capabilities(&self) -> Capabilities {
        self.broker().capabilities()
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn broker(&self) -> &dyn Broker {
        &**self.store.broker()
    }

    pub(super) fn results(&self) -> &dyn ResultBackend {
        &**self.store.results()
    }

    pub(super) fn groups(&self) -> &dyn Groups {
        &**self.store.groups()
    }

    pub(super) fn schedule(&self) -> &dyn Schedule {
        &**self.store.schedule()
    }

    pub(super) fn revocations(&self) -> &dyn Revocations {
        &**self.store.revocations()
    }

    pub(super) fn control_state(&self) -> &dyn ControlState {
        &**self.store.control_state()
    }

    pub(super) fn failed(&self) -> &dyn FailedTasks {
        &**self.store.failed()
    }

    pub(super) fn presence(&self) -> &dyn Presence {
        &**self.store.presence()
    }

    /// The same data as another process sees it.
    pub(super) async fn elsewhere(&self) -> Store {
        self.server.open(&self.options).await
    }

    pub(super) async fn publish_undecodable(&self, queue: &QueueName, bytes: &[u8]) {
        self.server.publish_undecodable(queue, bytes).await;
    }

    pub(super) fn now(&self) -> Timestamp {
        self.options.clock.now()
    }

    /// The moment this long from now.
    pub(super) fn after(&self, time: Duration) -> Timestamp {
        self.now().saturating_add(time)
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.server.advance(&self.hand, by).await;
    }

    /// Publishes one plain message for each of these task ids, in one call.
    pub(super) async fn publish(&self, queue: &QueueName, ids: &[&str]) {
        let messages = ids.iter().map(|id| publish(queue, message(id))).collect();
        self.broker().publish(messages).await.unwrap();
    }

    /// Publishes a plain message for later.
    pub(super) async fn publish_for(&self, due: Timestamp, queue: &QueueName, id: &str) {
        let later = Publish { due: Some(due), ..publish(queue, message(id)) };
        self.broker().publish(vec![later].into()).await.unwrap();
    }

    /// Starts a consumer with room for a thousand deliveries.
    pub(super) async fn consume(&self, queues: &[&QueueName]) -> Consuming {
        self.consume_with(ConsumeOptions { prefetch: 1000, ..consume_options(queues) }).await
    }

    /// Starts a consumer whose lease runs so long that no law sees its end.
    pub(super) async fn consume_patiently(&self, queues: &[&QueueName]) -> Consuming {
        self.consume_with(ConsumeOptions { lease: LEASE * 100, ..consume_options(queues) }).await
    }

    /// Starts a consumer with room for this many deliveries.
    pub(super) async fn consume_at_most(&self, prefetch: usize, queues: &[&QueueName]) -> Consuming {
        self.consume_with(ConsumeOptions { prefetch, ..consume_options(queues) }).await
    }

    pub(super) async fn consume_with(&self, options: ConsumeOptions) -> Consuming {
        Consuming::new(self.broker().consume(options).await.unwrap())
    }

    pub(super) async fn stats(&self, queue: &QueueName) -> QueueStats {
        let mut stats = self.broker().queues(std::slice::from_ref(queue)).await.unwrap();
        assert_eq!(stats.len(), 1, "one answer for one queue");
        stats.remove(0)
    }

    pub(super) async fn store_result(&self, record: ResultRecord) {
        let result = StoreResult::new(record, LEASE * 100);
        self.results().store(vec![result]).await.unwrap();
    }

    pub(super) async fn state_of(&self, id: &str) -> Option<State> {
        let records = self.results().get(&[TaskId::new(id)]).await.unwrap();
        records.into_iter().next().flatten().map(|record| record.state)
    }

    /// Panics if `future` comes to an end although nothing happens that it waits for.
    pub(super) async fn keeps_waiting<T>(&self, what: &str, future: &mut (impl Future<Output = T> + Unpin)) {
        keeps_waiting(self.broker(), what, future).await;
    }
}

/// As [`StoreUnderTest::keeps_waiting`], for a wait that another process began: it waits by the time that its own store has
/// answered other questions.
pub(super) async fn keeps_waiting<T>(
    broker: &dyn Broker,
    what: &str,
    future: &mut (impl Future<Output = T> + Unpin),
) {
    let round_trips = async {
        // A store that was about to answer `future` has done so by the time it answered these.
        for _ in 0..8 {
            broker.queues(&[]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        _ = future => panic!("{what} did not wait"),
        () = round_trips => {}
    }
}

/// The output of `future`, which must come in time.
pub(super) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what} did not happen within {DEADLINE:?}"),
    }
}

pub(super) fn consume_options(queues: &[&QueueName]) -> ConsumeOptions {
    ConsumeOptions {
        queues: queues.iter().copied().cloned().collect(),
        prefetch: 100,
        lease: LEASE,
        worker: "law@here".to_owned(),
    }
}

pub(super) fn queue() -> QueueName {
    QueueName::new("law")
}

pub(super) fn queue_of(name: &str) -> QueueName {
    QueueName::new(name)
}

pub(super) fn publish(queue: &QueueName, message: Message) -> Publish {
    Publish { route: Route::to(queue), message, due: None }
}

/// A plain message that calls a task.
pub(super) fn message(id: &str) -> Message {
    let mut message = Message {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        body: Bytes::from_static(
            b"[[], {}, {\"callbacks\": null, \"errbacks\": null, \"chain\": null, \"chord\": null}]",
        ),
        ..Message::default()
    };
    message.headers.task = Some(TaskName::new("law.task"));
    message.headers.id = Some(TaskId::new(id));
    message
}

pub(super) fn message_with_priority(id: &str, priority: u8) -> Message {
    let mut message = message(id);
    message.properties.priority = Some(priority);
    message
}

/// A message with a body over the limit of the store.
pub(super) fn oversized_message(id: &str) -> Message {
    Message { body: Bytes::from(vec![b' '; LIMIT + 1]), ..message(id) }
}

pub(super) fn record(id: &str, state: State) -> ResultRecord {
    ResultRecord {
        task_id: TaskId::new(id),
        state,
        result: Value::Null,
        traceback: None,
        children: Value::List(Vec::new()),
        date_done: None,
        other: Vec::new(),
    }
}

pub(super) fn result(id: &str, state: State) -> StoreResult {
    StoreResult::new(record(id, state), LEASE * 100)
}

pub(super) fn reason(code: &str) -> FailureReason {
    FailureReason {
        code: code.into(),
        text: "nobody knows this task: start a worker that does".into(),
        evidence: Value::Map(vec![("signal".into(), Value::Int(9))]),
    }
}

pub(super) fn revocation(id: &str) -> Revocation {
    Revocation { task_id: TaskId::new(id), terminate: false, expires_after: LEASE * 100 }
}

pub(super) fn task_ids(ids: &[&str]) -> Vec<TaskId> {
    ids.iter().map(TaskId::new).collect()
}
