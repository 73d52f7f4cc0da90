//! The process of a worker as a place where tasks run.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::resource::{HealthBoard, ProcessKind, ResourcePlan, SharedSet};
use celeriac_app::signals;
use celeriac_app::{App, CancellationToken, Process, Reason};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::sleep;

use crate::admission::pool_of;
use crate::panic::Caught;
use crate::pool::PoolKind;
use crate::{Error, Options, Placement};

/// How long to wait before a resource is built again whose building panicked.
const REBUILD_AFTER: Duration = Duration::from_secs(2);

/// The worker's own process as a place where tasks run: its runtime for async tasks, and its resources.
pub(crate) struct Host {
    /// `None` where async tasks run on the caller's runtime, or there are none.
    runtime: Option<Runtime>,
    pub(crate) handle: Handle,
    pub(crate) process: Process,
    pub(crate) plan: ResourcePlan,
    pub(crate) health: HealthBoard,
    pub(crate) shared: Arc<SharedSet>,
    /// Stops the building of resources.
    stop: CancellationToken,
    /// Whether tasks run in this process; else all of them run in children.
    pub(crate) is_used: bool,
}

impl Drop for Host {
    fn drop(&mut self) {
        // A caller may give up its worker in the middle, and a runtime may not wait for its threads inside of another.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Host {
    pub(crate) fn start(app: &App, options: &Options, plan: ResourcePlan) -> Result<Self, Error> {
        let has = |kind| app.task_list().any(|task| pool_of(task) == kind);
        let runtime = match options.placement {
            Placement::Own if has(PoolKind::Async) => Some(start_runtime()?),
            _ => None,
        };
        let handle = runtime.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        let process = Process::this(&options.node_name, ProcessKind::Worker);
        let health = HealthBoard::new(&plan, process.clone());
        let shared = Arc::new(SharedSet::new(&plan, &health));
        let is_used = has(PoolKind::Async) || has(PoolKind::Threads);
        let stop = CancellationToken::new();
        if is_used {
            app.signals().send(signals::worker_process_init, || process.clone());
        }
        Ok(Self { runtime, handle, process, plan, health, shared, stop, is_used })
    }

    /// Builds the shared resources, however often that has to be tried; the loop hears of it by the health board. A build
    /// that panics is a failed one.
    pub(crate) fn build(&self) {
        let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
        self.handle.spawn(async move {
            loop {
                match Caught(Box::pin(shared.build_until_ready(&stop))).await {
                    Ok(Ok(()) | Err(_)) => return,
                    Err(error) => tracing::error!(%error, "a resource panicked while it was built"),
                }
                sleep(REBUILD_AFTER).await;
            }
        });
    }

    /// Drops the resources and the runtime. Tasks that cannot be stopped end with the process.
    pub(crate) fn end(self) {
        self.stop.cancel(Reason::Shutdown);
        self.shared.close();
    }
}

fn start_runtime() -> Result<Runtime, Error> {
    Builder::new_multi_thread()
        .thread_name("celeriac-async")
        .enable_all()
        .build()
        .map_err(|source| Error::Spawn { what: "the runtime of async tasks".to_owned(), source })
}
