//! A worker on a store in memory, whose time is the test's.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use celeriac_app::protocol::{ResultRecord, State, TaskId, Timestamp};
use celeriac_app::store::clock::Clock;
use celeriac_app::store::{ConnectOptions, FailedTask, Store, connect};
use celeriac_app::{App, AsyncResult, Signature};
use celeriac_worker::{Error, Exit, Options, Placement, Shutdown, Stopper};
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
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) stopper: Stopper,
    running: JoinHandle<Result<Exit, Error>>,
}

impl Bench {
    /// This program on a fresh store.
    pub(crate) async fn new(app: App) -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let clock = Clock::starting_at(START);
        let url = format!("memory://worker-{}", STORES.fetch_add(1, Ordering::Relaxed));
        let options = ConnectOptions { clock: clock.clone(), ..ConnectOptions::default() };
        let store = connect(&url, &options).await.unwrap();
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
        Worker { app: self.app.clone(), store: self.store.clone(), stopper, running }
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
        self.store.failed().get(id).await.unwrap().expect("it is among the failed tasks")
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

    /// Ends the worker as SIGKILL does: nothing of it runs on, and nothing is given back.
    pub(crate) async fn die(self) {
        self.running.abort();
        let _ = self.running.await;
    }
}

/// Asserts that a task ended in this state.
pub(crate) fn assert_state(record: &ResultRecord, state: State) {
    assert_eq!(record.state, state, "{record:?}");
}
