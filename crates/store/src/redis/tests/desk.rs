//! What the tests of faults do with a store.

use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{GroupId, Message, QueueName, ResultRecord, State, TaskId, TaskName, Value};

use crate::redis::RedisStore;
use crate::{
    ChordPart, Closing, ConnectOptions, ConsumeOptions, Delivery, Finish, Publish, Route, Settle, Store,
    StoreResult, Subscription,
};

/// The deadline of stores here, so that faults are noticed soon.
pub(super) const DEADLINE: Duration = Duration::from_secs(1);

/// What a fault may hold up, whatever it was.
pub(super) const SOON: Duration = Duration::from_secs(10);

pub(super) fn options() -> ConnectOptions {
    ConnectOptions { deadline: DEADLINE, ..ConnectOptions::default() }
}

pub(super) async fn open(url: &str) -> Store {
    open_with(url, &options()).await
}

/// Opens a store on a server that is there, however long that takes on a machine with much to do.
pub(super) async fn open_with(url: &str, options: &ConnectOptions) -> Store {
    let opened = soon("opening", patiently(|| RedisStore::open(url, options))).await;
    opened.into_store(url)
}

pub(super) fn queue() -> QueueName {
    QueueName::new("tasks")
}

/// What a worker with this lease asks for.
pub(super) fn consuming(lease: Duration) -> ConsumeOptions {
    ConsumeOptions { queues: vec![queue()], prefetch: 100, lease, worker: "worker".to_owned() }
}

/// Starts a consumer with this lease.
pub(super) async fn consume(store: &Store, lease: Duration) -> Subscription {
    store.broker().consume(consuming(lease)).await.unwrap()
}

/// A call of a task on the queue.
pub(super) fn call(id: &str) -> Publish {
    call_on(&queue(), id)
}

pub(super) fn call_on(queue: &QueueName, id: &str) -> Publish {
    let mut message = Message {
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        body: Bytes::from_static(b"[[], {}, {}]"),
        ..Message::default()
    };
    message.headers.task = Some(TaskName::new("noop"));
    message.headers.id = Some(TaskId::new(id));
    Publish { route: Route::to(queue), message, due: None }
}

pub(super) async fn publish(store: &Store, ids: &[&str]) {
    store.broker().publish(ids.iter().map(|id| call(id)).collect()).await.unwrap();
}

/// The task ids of these deliveries.
pub(super) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(id).collect()
}

pub(super) fn id(delivery: &Delivery) -> &str {
    delivery.message.headers.id.as_ref().unwrap().as_str()
}

/// As much as `future` gives, which must come soon.
pub(super) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(SOON, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} took more than {SOON:?}"),
    }
}

/// Fetches, as a worker does, through errors that pass.
pub(super) async fn fetch(subscription: &mut Subscription) -> Vec<Delivery> {
    loop {
        match subscription.consumer.fetch(10).await {
            Ok(deliveries) => return deliveries,
            Err(error) => passes(&error).await,
        }
    }
}

/// Asks again until the answer is not an error that passes.
pub(super) async fn patiently<T, F: Future<Output = crate::Result<T>>>(mut ask: impl FnMut() -> F) -> T {
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => passes(&error).await,
        }
    }
}

/// Waits a little after an error, which must be one that passes.
pub(super) async fn passes(error: &crate::Error) {
    assert!(error.is_transient(), "{error}");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

pub(super) fn success(id: &str) -> StoreResult {
    let record = ResultRecord {
        task_id: TaskId::new(id),
        state: State::Success,
        result: Value::Null,
        traceback: None,
        children: Value::List(Vec::new()),
        date_done: None,
        other: Vec::new(),
    };
    StoreResult::new(record, Duration::from_secs(3600))
}

/// The success of a member of a chord, with nothing that follows if it is the last.
pub(super) fn member(chord: &str, id: &str, index: i64) -> ChordPart {
    ChordPart {
        chord: GroupId::new(chord),
        member: TaskId::new(id),
        index: Some(index),
        state: State::Success,
        result: Value::Int(index),
        adds: 0,
        expires_after: Duration::from_secs(3600),
        closing: Closing::Known(Box::default()),
    }
}

/// A finish of this delivery, with its result.
pub(super) fn done(delivery: &Delivery) -> Finish {
    Finish {
        delivery: Some(delivery.tag),
        settle: Settle::Ack,
        result: Some(success(id(delivery))),
        follow_ups: Vec::new(),
        workflow: None,
    }
}
