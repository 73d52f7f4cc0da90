//! The connection of a program to its stores, made when it is first needed and then kept.

use std::sync::{Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use celeriac_protocol::Timestamp;
use celeriac_store::clock::Clock;
use celeriac_store::{ConnectOptions, Store, connect};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::producer::SendError;
use crate::settings::redis_options;
use crate::{App, Settings};

/// What all clones of an [`App`] use to reach its stores.
pub(crate) struct Client {
    store: OnceCell<Store>,
    clock: Clock,
    /// Runs what is called from threads without a runtime; started by the first such call.
    runtime: Mutex<Option<Runtime>>,
}

impl Client {
    /// A client of this store, or of the one that the settings name.
    pub(crate) fn new(store: Option<Store>, clock: Clock) -> Self {
        Self { store: OnceCell::new_with(store), clock, runtime: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Runs `work` on the client's own runtime while this thread waits. Works in threads that belong to a runtime too,
    /// which it blocks.
    ///
    /// # Panics
    /// If the system has no thread left for the runtime, or if `work` panics.
    pub(crate) fn block_on<R: Send + 'static>(&self, work: impl Future<Output = R> + Send + 'static) -> R {
        let (done, wait) = mpsc::sync_channel(1);
        {
            let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
            let runtime = runtime.get_or_insert_with(start_runtime);
            runtime.spawn(async move {
                // The receiver is gone only if this thread is, and then nobody wants the answer.
                let _ = done.send(work.await);
            });
        }
        wait.recv().expect("the runtime of the client ends after its last call")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A runtime may not wait for its threads when it is dropped inside of another.
        if let Some(runtime) = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            runtime.shutdown_background();
        }
    }
}

fn start_runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("celeriac-client")
        .enable_all()
        .build()
        .expect("a program that sends tasks can start one thread")
}

/// `gen123@host`: what the messages of this process have as their origin.
///
/// Source: `celery/utils/nodenames.py`, `anon_nodename`, Celery 5.7.0.
pub(crate) fn origin() -> &'static str {
    static ORIGIN: OnceLock<String> = OnceLock::new();
    ORIGIN.get_or_init(|| format!("gen{}@{}", std::process::id(), hostname()))
}

/// The name of this machine, as Celery's node names have it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

impl App {
    /// The stores of the program: connected when first asked for, then kept.
    ///
    /// # Errors
    /// Why the store cannot be reached, after `task_publish_timeout` of trying where trying again may help.
    pub async fn store(&self) -> Result<&Store, SendError> {
        self.store_within(self.config().task_publish_timeout).await
    }

    /// As [`App::store`], with another time for trying.
    ///
    /// # Errors
    /// As [`App::store`].
    pub async fn store_within(&self, deadline: Duration) -> Result<&Store, SendError> {
        self.client().store.get_or_try_init(|| open(self.config(), self.client().clock(), deadline)).await
    }

    /// As [`App::store`], for programs without a runtime.
    ///
    /// # Errors
    /// As [`App::store`].
    pub fn store_blocking(&self) -> Result<Store, SendError> {
        let app = self.clone();
        self.client().block_on(async move { app.store().await.cloned() })
    }
}

/// Opens the store for messages, and another for results if the settings name one that the first cannot be.
async fn open(settings: &Settings, clock: &Clock, deadline: Duration) -> Result<Store, SendError> {
    let mut options = connect_options(settings, clock);
    let url = &settings.broker_url;
    match &settings.result_backend {
        Some(results) if !options.keep_results_of(results, url) => {
            let messages = open_url(url, &options, deadline).await?;
            Ok(messages.with_results(&open_url(results, &options, deadline).await?))
        }
        _ => open_url(url, &options, deadline).await,
    }
}

/// Opens one store, again and again until the deadline where that may help.
async fn open_url(url: &str, options: &ConnectOptions, deadline: Duration) -> Result<Store, SendError> {
    let started = tokio::time::Instant::now();
    let mut backoff = crate::resource::Backoff::default();
    let mut attempts = 0;
    let mut last = None;
    loop {
        attempts += 1;
        let left = deadline.saturating_sub(started.elapsed());
        let opened = match tokio::time::timeout(left, connect(url, options)).await {
            Ok(opened) => opened,
            // What went wrong before says more than that the time is over.
            Err(_) => Err(last.unwrap_or_else(|| celeriac_store::Error::Timeout {
                operation: "connect",
                url: celeriac_store::without_password(url),
                after: deadline,
            })),
        };
        let source = match opened {
            Ok(store) => return Ok(store),
            Err(error) => error,
        };
        let wait = backoff.after_failure(fastrand::u64(..));
        if !source.is_transient() || started.elapsed() + wait >= deadline {
            let url = celeriac_store::without_password(url);
            return Err(SendError::Store { url, after: started.elapsed(), attempts, source });
        }
        last = Some(source);
        tokio::time::sleep(wait).await;
    }
}

fn connect_options(settings: &Settings, clock: &Clock) -> ConnectOptions {
    ConnectOptions {
        durability: settings.sqlite_durability,
        deadline: settings.store_timeout,
        message_limit: usize::try_from(settings.store_message_limit).unwrap_or(usize::MAX),
        redis: redis_options(&settings.broker_transport_options, &settings.result_backend_transport_options),
        clock: clock.clone(),
    }
}
