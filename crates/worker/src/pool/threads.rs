//! The threads pool: plain functions on threads of the worker's own, each with its own local resources.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_app::resource::{HealthBoard, LocalSet, ResourcePlan};
use celeriac_protocol::Value;
use tokio::runtime::Handle;

use crate::Error;
use crate::executor::Executor;
use crate::panic::catch;
use crate::pool::slot::{Slot, identity};
use crate::pool::{Events, Job, Kill, Pool, PoolEvent, PoolKind, StopReason};
use crate::request::Request;

/// Runs blocking tasks, one on each thread.
pub(crate) struct ThreadPool {
    /// Hands jobs to the threads; empty once no more will come.
    jobs: Vec<mpsc::SyncSender<Job>>,
    size: usize,
    /// Which thread runs which request.
    running: HashMap<usize, usize>,
    idle: Idle,
}

/// How soon a thread that the loop does not yet know to be idle looks again whether it is.
const SOON: Duration = Duration::from_millis(10);

/// Threads with nothing to do. The one that was busy last comes first, because its caches are warm.
type Idle = Arc<Mutex<Vec<usize>>>;

/// What every thread of the pool needs.
#[derive(Clone)]
pub(crate) struct ThreadSetup {
    /// Runs the tasks.
    pub executor: Executor,
    /// The local resources to build.
    pub plan: ResourcePlan,
    /// Where they say how they fare.
    pub health: HealthBoard,
    /// Where shared resources are checked.
    pub runtime: Handle,
    /// Where the loop is told.
    pub events: Events,
}

impl ThreadPool {
    /// Starts `size` threads. Each is free once it has tried to build its resources, with a [`PoolEvent::Capacity`].
    pub(crate) fn start(size: usize, setup: &ThreadSetup) -> Result<Self, Error> {
        let idle = Idle::default();
        let last_out = Arc::new(LastOut(setup.events.clone()));
        let mut jobs = Vec::with_capacity(size);
        for number in 0..size {
            // One place is enough, because a job is handed to an idle thread only.
            let (sender, inbox) = mpsc::sync_channel(1);
            let name = format!("thread-{}", number + 1);
            let executor = Thread {
                number,
                name: name.as_str().into(),
                setup: setup.clone(),
                idle: Arc::clone(&idle),
                _last_out: Arc::clone(&last_out),
            };
            let failed = |source| Error::Spawn { what: format!("executor {name}"), source };
            let builder = thread::Builder::new().name(format!("celeriac-{name}"));
            builder.spawn(move || executor.run(&inbox)).map_err(failed)?;
            jobs.push(sender);
        }
        Ok(Self { jobs, size, running: HashMap::new(), idle })
    }
}

/// One executor thread.
struct Thread {
    number: usize,
    name: Box<str>,
    setup: ThreadSetup,
    idle: Idle,
    _last_out: Arc<LastOut>,
}

impl Thread {
    /// Its life: resources, jobs, and the orderly end of both.
    ///
    /// Resources that cannot be built keep it from no task that does not need them: it tries again between its jobs.
    fn run(self, jobs: &mpsc::Receiver<Job>) {
        let locals = LocalSet::new(&self.setup.plan, &self.setup.health);
        let mut again = self.build(&locals);
        self.is_idle();
        loop {
            let job = match again {
                None => jobs.recv().map_err(|_closed| RecvTimeoutError::Disconnected),
                Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            let job = match job {
                Ok(job) => job,
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    // While it builds it takes no job. One that is on its way already comes first.
                    if self.takes_no_job() {
                        again = self.build(&locals);
                        self.is_idle();
                    } else {
                        again = Some(Instant::now() + SOON);
                    }
                    continue;
                }
            };
            let slot = Slot::new(job.request, self.setup.events.clone());
            let request = Arc::clone(slot.request());
            self.setup.events.send(PoolEvent::Started { request, executor: self.name.clone() });
            // The executor contains what tasks do. Should it panic itself, the slot says so and the thread lives on.
            let _ = catch_unwind(AssertUnwindSafe(|| self.run_in(slot, &locals)));
        }
    }

    fn is_idle(&self) {
        lock(&self.idle).push(self.number);
        self.setup.events.send(PoolEvent::Capacity);
    }

    /// Whether this thread was idle, and takes no job from now on.
    fn takes_no_job(&self) -> bool {
        let mut idle = lock(&self.idle);
        let place = idle.iter().position(|number| *number == self.number);
        place.map(|place| idle.remove(place)).is_some()
    }

    fn run_in(&self, slot: Slot, locals: &LocalSet) {
        let run = self.setup.executor.run_blocking(slot.request(), locals, &self.setup.runtime);
        slot.end(run);
    }

    /// Builds what is not built yet; gives the time to try again if something failed. A build that panics is a failed one.
    fn build(&self, locals: &LocalSet) -> Option<Instant> {
        const AFTER_PANIC: Duration = Duration::from_secs(1);
        let pause = match catch(|| locals.build()) {
            Ok(built) => built.err()?.retry_after,
            Err(error) => {
                tracing::error!(%error, thread = &*self.name, "a resource panicked while it was built");
                AFTER_PANIC
            }
        };
        Some(Instant::now() + pause)
    }
}

/// Tells the loop when the last thread has ended.
struct LastOut(Events);

impl Drop for LastOut {
    fn drop(&mut self) {
        self.0.send(PoolEvent::Closed(PoolKind::Threads));
    }
}

fn lock(idle: &Idle) -> MutexGuard<'_, Vec<usize>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool for ThreadPool {
    fn kind(&self) -> PoolKind {
        PoolKind::Threads
    }

    fn size(&self) -> usize {
        self.size
    }

    fn free(&self) -> usize {
        if self.jobs.is_empty() { 0 } else { lock(&self.idle).len() }
    }

    fn submit(&mut self, job: Job) {
        let thread = lock(&self.idle).pop().expect("the loop submits only while a slot is free");
        self.running.insert(identity(&job.request), thread);
        self.jobs[thread].send(job).expect("a thread lives until its jobs end");
    }

    fn ask(&mut self, request: &Request, reason: StopReason) {
        request.cancellation.cancel(reason.into());
    }

    fn kill(&mut self, request: &Request, reason: StopReason) -> Kill {
        self.ask(request, reason);
        Kill::Unable
    }

    fn finished(&mut self, request: &Request) {
        if let Some(thread) = self.running.remove(&identity(request)) {
            lock(&self.idle).push(thread);
        }
    }

    fn close(&mut self, _force: bool) {
        // Code on a thread cannot be stopped: a busy one ends when its task returns, or with the process.
        self.jobs.clear();
    }

    fn facts(&self) -> Value {
        Value::List(Vec::new())
    }
}
