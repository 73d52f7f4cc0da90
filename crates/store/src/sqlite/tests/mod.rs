//! What only this store promises, and the laws of all stores.

mod binding;
mod broadcasting;
mod faults;
mod groups;
mod laws;
mod plans;
mod processes;
mod sweeping;
mod wakes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{Message, QueueName, ResultRecord, State, TaskId, Value};

use super::SqliteStore;
use crate::{
    ConnectOptions, ConsumeOptions, Delivery, Finish, Publish, Result, Route, Settle, Store, StoreResult,
    Subscription,
};

/// How long anything may take before it counts as not happening.
const DEADLINE: Duration = Duration::from_secs(30);

/// A folder for one file, removed at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("tests can write to the temporary folder"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("tasks.db")
    }

    /// Opens the file with threads of its own, as another process would have them.
    async fn open(&self, options: &ConnectOptions) -> Store {
        Store::of(
            "sqlite:///tasks.db",
            &Arc::new(self.server(options).await.expect("the file can be opened")),
        )
    }

    async fn server(&self, options: &ConnectOptions) -> Result<SqliteStore> {
        SqliteStore::open("sqlite:///tasks.db", &self.file(), options).await
    }

    /// The file as a stranger sees it.
    fn plain(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).expect("the file can be opened")
    }
}

fn queue() -> QueueName {
    QueueName::new("tests")
}

/// A message that calls a task.
fn publish(id: &str) -> Publish {
    let mut message = Message { body: Bytes::from_static(b"[[], {}, {}]"), ..Message::default() };
    message.headers.task = Some("tests.task".into());
    message.headers.id = Some(TaskId::new(id));
    Publish { route: Route::to(&queue()), message, due: None }
}

/// Messages with ids that begin with `prefix`.
fn publish_many(prefix: &str, count: usize) -> Vec<Publish> {
    (0..count).map(|index| publish(&format!("{prefix}-{index}"))).collect()
}

async fn consume(store: &Store, lease: Duration) -> Subscription {
    let options =
        ConsumeOptions { queues: vec![queue()], prefetch: 100, lease, worker: "test@here".to_owned() };
    store.broker().consume(options).await.expect("a consumer")
}

/// Fetches, but not for ever.
async fn fetch(subscription: &mut Subscription, limit: usize) -> Vec<Delivery> {
    let fetch = tokio::time::timeout(DEADLINE, subscription.consumer.fetch(limit));
    fetch.await.expect("something to fetch").expect("a batch")
}

fn id(delivery: &Delivery) -> TaskId {
    delivery.message.headers.id.clone().expect("every message here has an id")
}

/// A success with its result.
fn success(delivery: &Delivery) -> Finish {
    let record = ResultRecord::new(id(delivery), State::Success, Value::Int(1), None);
    Finish {
        delivery: Some(delivery.tag),
        settle: Settle::Ack,
        result: Some(StoreResult::new(record, Duration::from_secs(3600))),
        follow_ups: Vec::new(),
        workflow: None,
    }
}
