//! A worker on a store in memory, whose time is the test's.
//!
//! A paused clock jumps ahead whenever its runtime has nothing to do, also while a thread of the worker is at work.
//! Tests with blocking tasks therefore use the real clock, and wait for what happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{Message, ResultRecord, State, TaskId, Timestamp, Value};
use celeriac_app::store::clock::Clock;
use celeriac_app::store::{
    ConnectOptions, ConsumeOptions, FailedTask, Store, Subscription, WorkerRecord, connect,
};
use celeriac_app::{App, AsyncResult, Context, Signature, TaskBody, TaskDefinition};
use celeriac_worker::{Error, Exit, Options, Placement, Shutdown, Stopper};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;

/// The time at which every test starts: 2026-11-23T12:00:00Z.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_795_435_200_000_000);

/// Longer than anything takes. Under a paused clock it passes at once when nothing else can happen.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A program on a fresh store, with a worker that is not started yet.
pub(crate) struct Bench {
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) options: Options,
}

/// A started worker.
pub(crate) struct Worker {
    pub(crate) stopper: Stopper,
    running: JoinHandle<Result<Exit, Error>>,
}

impl Bench {
    /// This program on a fresh store.
    pub(crate) async fn new(app: App) -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let url = format!("memory://worker-{}", STORES.fetch_add(1, Ordering::Relaxed));
        Self::on(app, &url).await
    }

    /// This program on the store at this URL.
    pub(crate) async fn on(app: App, url: &str) -> Self {
        let clock = Clock::starting_at(START);
        let options = ConnectOptions { clock: clock.clone(), ..ConnectOptions::default() };
        let store = connect(url, &options).await.unwrap();
        let options = Options {
            clock: clock.clone(),
            placement: Placement::Current,
            seed: Some(7),
            threads: 2,
            ..Options::default()
        };
        Self { app: app.with_store(store.clone()).with_clock(clock), store, options }
    }

    /// Changes the options of the worker.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }

    /// Starts the worker.
    pub(crate) fn start(&self) -> Worker {
        let (stopper, shutdown) = Shutdown::new();
        let (app, options) = (self.app.clone(), self.options.clone());
        let running = tokio::spawn(async move { celeriac_worker::run(&app, options, shutdown).await });
        Worker { stopper, running }
    }

    /// Why the worker does not start.
    pub(crate) async fn refusal(&self) -> String {
        let (_stopper, shutdown) = Shutdown::new();
        celeriac_worker::run(&self.app, self.options.clone(), shutdown).await.unwrap_err().to_string()
    }

    /// Sends a call of the task of this name.
    pub(crate) async fn call(&self, name: &str) -> AsyncResult<i64> {
        self.send(Signature::named(name, vec![], vec![])).await
    }

    /// Sends a call.
    pub(crate) async fn send(&self, signature: Signature<i64>) -> AsyncResult<i64> {
        self.app.send(signature).await.unwrap()
    }

    /// How a task ended for good.
    pub(crate) async fn ending(&self, result: &AsyncResult<i64>) -> ResultRecord {
        result.wait(LONG).await.unwrap()
    }

    /// The failed task of this id, once it is there.
    pub(crate) async fn failed(&self, id: &TaskId) -> FailedTask {
        self.until(async || self.store.failed().get(id).await.unwrap().is_some()).await;
        self.store.failed().get(id).await.unwrap().unwrap()
    }

    /// What the worker replies to a command of remote control, once it listens.
    pub(crate) async fn ask(&self, command: &str, arguments: &[(&str, i64)]) -> Value {
        let hears = async || {
            let ping = self.app.control().call("ping").limit(1).timeout(Duration::from_millis(100));
            !ping.replies().await.unwrap().is_empty()
        };
        self.until(hears).await;
        let arguments = arguments.iter().map(|(name, value)| ((*name).into(), Value::Int(*value)));
        let call = self.app.control().call(command).arguments(arguments).limit(1).timeout(LONG);
        call.replies().await.unwrap().remove(0).value
    }

    /// How many messages wait, are scheduled or lent.
    pub(crate) async fn in_store(&self) -> u64 {
        let queues = self.store.broker().queues(&[]).await.unwrap();
        queues.iter().map(|queue| queue.ready + queue.scheduled.unwrap_or(0) + queue.lent.unwrap_or(0)).sum()
    }

    /// How many messages wait in queues.
    pub(crate) async fn ready(&self) -> u64 {
        self.store.broker().queues(&[]).await.unwrap().iter().map(|queue| queue.ready).sum()
    }

    /// What the live workers say of themselves.
    pub(crate) async fn workers(&self) -> Vec<WorkerRecord> {
        self.store.presence().workers(Duration::from_secs(1)).await.unwrap()
    }

    /// Publishes a message as a foreign producer does, once it was changed.
    pub(crate) async fn publish(&self, name: &str, change: impl FnOnce(&mut Message)) -> AsyncResult<i64> {
        let (id, mut publish) =
            self.app.compose(None, Signature::<i64>::named(name, vec![], vec![])).unwrap();
        publish.due = None;
        change(&mut publish.message);
        self.store.broker().publish(vec![publish].into()).await.unwrap();
        self.app.result(id)
    }

    /// Consumes beside the workers.
    pub(crate) async fn subscribe(&self) -> Subscription {
        let options = ConsumeOptions {
            queues: self.options.queues.clone(),
            prefetch: 10,
            lease: self.options.lease,
            worker: "test".to_owned(),
        };
        self.store.broker().consume(options).await.unwrap()
    }

    /// Waits until the store holds no message any more.
    pub(crate) async fn drained(&self) {
        self.until(async || self.in_store().await == 0).await;
    }

    /// Lets virtual time pass until something is so: a paused clock moves on only when everybody else waits.
    pub(crate) async fn until(&self, is_so: impl AsyncFn() -> bool) {
        let deadline = tokio::time::Instant::now() + LONG;
        while !is_so().await {
            assert!(tokio::time::Instant::now() < deadline, "waited too long");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Worker {
    /// Stops the worker as SIGTERM does and waits for its end.
    pub(crate) async fn stop(self) -> Exit {
        self.stopper.terminate();
        self.end().await
    }

    /// Waits for the end of the worker.
    pub(crate) async fn end(self) -> Exit {
        tokio::time::timeout(LONG, self.running).await.expect("the worker ends").unwrap().unwrap()
    }

    /// Whether the worker has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Ends the loop as a crash does: nothing is given back, and leases are renewed no more.
    pub(crate) async fn die(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// A task that says when it started and never ends, unless its future is dropped.
pub(crate) fn hanging(name: &str) -> (TaskDefinition, mpsc::UnboundedReceiver<Context>) {
    let (started, starts) = mpsc::unbounded_channel();
    let body = TaskBody::asynchronous(move |context, _| {
        started.send(context).unwrap();
        std::future::pending()
    });
    (TaskDefinition::new(name, body), starts)
}

/// A blocking task that ends once the returned value is dropped.
pub(crate) fn blocking(name: &str) -> (TaskDefinition, std::sync::mpsc::SyncSender<()>) {
    let (release, released) = std::sync::mpsc::sync_channel::<()>(0);
    let released = Mutex::new(released);
    let body = TaskBody::blocking(move |_, _, _| {
        let _ = released.lock().unwrap().recv();
        Ok(Value::Null)
    });
    (TaskDefinition::new(name, body), release)
}

/// Holds tasks at a gate, and opens it.
pub(crate) struct Gate {
    starts: mpsc::UnboundedReceiver<Context>,
    open: Arc<Semaphore>,
}

impl Gate {
    /// Waits until a task stands at the gate.
    pub(crate) async fn started(&mut self) -> Context {
        self.starts.recv().await.unwrap()
    }

    /// Lets one task pass.
    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

/// The body of an async task that does something, waits at a gate and succeeds.
pub(crate) fn gated(before: impl Fn(&Context) + Send + Sync + 'static) -> (TaskBody, Gate) {
    let (started, starts) = mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    let gate = Gate { starts, open: Arc::clone(&open) };
    let body = TaskBody::asynchronous(move |context, _| {
        before(&context);
        started.send(context).unwrap();
        let open = Arc::clone(&open);
        async move {
            open.acquire().await.unwrap().forget();
            Ok(Value::Int(1))
        }
    });
    (body, gate)
}

/// Asserts that a task ended in this state.
pub(crate) fn assert_state(record: &ResultRecord, state: &State) {
    assert_eq!(record.state, *state, "{record:?}");
}
