//! A pool under test, and the requests that are made of it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::{Headers, Message, QueueName, TaskId, Value, json};
use celeriac_store::{Delivery, DeliveryTag};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::super::spawner::{Program, Source};
use super::{log, programs};
use crate::death::ChildDeath;
use crate::outcome::Outcome;
use crate::pool::prefork::{Options, Prefork};
use crate::pool::{Events, Job, Pool, PoolEvent, StopReason};
use crate::request::Request;

/// After this time a test gives up waiting for what should have happened.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// A pool under test.
pub(super) struct Bench {
    pub(super) pool: Prefork,
    events: mpsc::UnboundedReceiver<PoolEvent>,
    finished: HashMap<TaskId, Outcome>,
    /// Every other event, as far as it was waited for.
    pub(super) deaths: Vec<ChildDeath>,
    pub(super) reports: Vec<(TaskId, Value)>,
    pub(super) started: HashMap<TaskId, Box<str>>,
    pub(super) unfit: Option<String>,
    pub(super) lowest_capacity: usize,
    is_closed: bool,
    submitted: u64,
}

/// Options for so many children that run this program.
pub(super) fn options(processes: usize, program: &str) -> Options {
    let mut options = Options::new(processes, "w@test");
    options.source = Source::Program(Program { arguments: arguments_of(program), ..Program::this() });
    options
}

/// The arguments with which the test executable runs only the test that is this program.
pub(super) fn arguments_of(program: &str) -> Vec<OsString> {
    let test = format!("pool::prefork::tests::programs::{program}");
    [test.as_str(), "--exact", "--nocapture", "--quiet"].map(OsString::from).into()
}

/// The same options, for a program that keeps its diary in this file.
pub(super) fn with_diary(mut options: Options, diary: &Path) -> Options {
    if let Source::Program(program) = &mut options.source {
        program.arguments.push(format!("{}{}", programs::DIARY, diary.display()).into());
    }
    options
}

impl Bench {
    /// A pool of this many ordinary children, all ready.
    pub(super) async fn ready(processes: usize) -> Self {
        Self::with(options(processes, "ordinary_child")).await
    }

    /// A pool with these options, all of its children ready.
    pub(super) async fn with(options: Options) -> Self {
        let mut bench = Self::starting(options);
        bench.wait_for_all_children().await;
        bench
    }

    /// A pool with these options, as it starts.
    pub(super) fn starting(options: Options) -> Self {
        log::keep();
        let (events, inbox) = Events::channel();
        let pool = Prefork::start(&programs::app(), options, events).unwrap();
        Self {
            lowest_capacity: pool.size(),
            pool,
            events: inbox,
            finished: HashMap::new(),
            deaths: Vec::new(),
            reports: Vec::new(),
            started: HashMap::new(),
            unfit: None,
            is_closed: false,
            submitted: 0,
        }
    }

    pub(super) async fn wait_for_all_children(&mut self) {
        self.wait("all children are ready", |it| (it.pool.free() == it.pool.size()).then_some(())).await;
    }

    /// Takes events until `look` finds what it looks for.
    pub(super) async fn wait<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => self.note(event),
                Ok(None) => panic!("the pool has ended before {what}"),
                Err(_) => panic!("waited too long until {what}; {}", json_of(&self.pool.facts())),
            }
        }
    }

    fn note(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::Started { request, executor } => {
                self.started.insert(request.id.clone(), executor);
            }
            PoolEvent::Report { request, meta, .. } => self.reports.push((request.id.clone(), meta)),
            PoolEvent::Finished { request, outcome, .. } => {
                self.pool.finished(&request);
                if let Outcome::Lost(death) = &outcome {
                    self.deaths.push(death.clone());
                }
                self.finished.insert(request.id.clone(), outcome);
            }
            PoolEvent::Capacity | PoolEvent::Resources => {}
            PoolEvent::ChildDied(death) => self.deaths.push(death),
            PoolEvent::Unfit(error) => self.unfit = Some(error.to_string()),
            PoolEvent::Closed(_) => self.is_closed = true,
        }
        let capacity = self.pool.capacity.load(std::sync::atomic::Ordering::Acquire);
        self.lowest_capacity = self.lowest_capacity.min(capacity);
    }

    /// Gives the pool a task, once it has a free slot.
    pub(super) async fn submit(&mut self, task: &str, args: impl Into<Vec<Value>>) -> Arc<Request> {
        self.wait("a slot is free", |it| (it.pool.free() > 0).then_some(())).await;
        self.submitted += 1;
        let request = request(task, args.into(), self.submitted);
        self.pool.submit(Job { request: Arc::clone(&request) });
        request
    }

    /// Waits until the task of this request runs.
    pub(super) async fn running(&mut self, request: &Request) {
        self.wait("a task has started", |it| it.started.contains_key(&request.id).then_some(())).await;
    }

    /// Gives the pool a task and waits until it runs.
    pub(super) async fn run(&mut self, task: &str, args: impl Into<Vec<Value>>) -> Arc<Request> {
        let request = self.submit(task, args).await;
        self.running(&request).await;
        request
    }

    /// Waits until this request has ended, and says how.
    pub(super) async fn end_of(&mut self, request: &Request) -> Outcome {
        self.wait("a task has ended", |it| it.finished.remove(&request.id)).await
    }

    /// Gives the pool a task and waits until it has ended.
    pub(super) async fn outcome(&mut self, task: &str, args: impl Into<Vec<Value>>) -> Outcome {
        let request = self.submit(task, args).await;
        self.end_of(&request).await
    }

    /// Gives the pool a task that must return a value.
    pub(super) async fn value(&mut self, task: &str, args: impl Into<Vec<Value>>) -> Value {
        match self.outcome(task, args).await {
            Outcome::Success(value) => value,
            other => panic!("{task} ended as {other:?}"),
        }
    }

    /// Gives the pool a task that must cost its child its life.
    pub(super) async fn death(&mut self, task: &str, args: impl Into<Vec<Value>>) -> ChildDeath {
        match self.outcome(task, args).await {
            Outcome::Lost(death) => death,
            other => panic!("{task} ended as {other:?}"),
        }
    }

    pub(super) fn kill(&mut self, request: &Request, reason: StopReason) {
        self.pool.kill(request, reason);
    }

    /// The process ids of the children.
    pub(super) fn pids(&self) -> Vec<u32> {
        let facts = self.pool.facts();
        let rows = facts.as_list().unwrap_or_default().iter();
        rows.filter_map(|row| row.get("pid")?.as_i64()?.try_into().ok()).collect()
    }

    /// Closes the pool and waits until it has.
    pub(super) async fn close(&mut self, force: bool) {
        self.pool.close(force);
        self.closed().await;
    }

    pub(super) async fn closed(&mut self) {
        self.wait("the pool has closed", |it| it.is_closed.then_some(())).await;
    }
}

/// A request for this task.
pub(super) fn request(task: &str, args: Vec<Value>, tag: u64) -> Arc<Request> {
    let definition = programs::app().find_task(task).cloned().expect("the test names a task that exists");
    let id = TaskId::fresh();
    let headers = Headers { id: Some(id.clone()), task: Some(task.into()), ..Headers::default() };
    let body =
        json::to_bytes(&Value::List(vec![Value::List(args), Value::Map(Vec::new()), Value::Map(Vec::new())]));
    let message = Message {
        headers,
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        body: Bytes::from(body),
        ..Message::default()
    };
    let delivery = Delivery {
        tag: DeliveryTag(tag),
        queue: QueueName::new("celery"),
        message,
        redelivered: false,
        deliveries: 1,
        revoked: None,
    };
    let options = crate::Options::default();
    Arc::new(Request::new(id, definition, Arc::new(delivery), &options))
}

/// Whether a process of this id exists, dead or alive.
pub(super) fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

pub(super) fn json_of(value: &Value) -> String {
    String::from_utf8_lossy(&json::to_bytes(value)).into_owned()
}

pub(super) fn text(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}
