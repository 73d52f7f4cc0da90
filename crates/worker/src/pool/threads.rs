//! The threads pool: plain functions on threads of the worker's own, each with its own local resources.

use std::collections::HashMap;
use std::io;
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
    /// Hands jobs to the threads by their numbers, nothing to those that were too many; empty once no more will come.
    jobs: Vec<Option<mpsc::SyncSender<Job>>>,
    /// How many threads there are to be.
    size: usize,
    /// How many of those that there are have to end.
    excess: usize,
    /// Which thread runs which request.
    running: HashMap<usize, usize>,
    idle: Idle,
    setup: ThreadSetup,
    /// Held until no more threads will start.
    last_out: Option<Arc<LastOut>>,
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
        let mut pool = Self {
            jobs: Vec::with_capacity(size),
            size: 0,
            excess: 0,
            running: HashMap::new(),
            idle: Idle::default(),
            setup: setup.clone(),
            last_out: Some(Arc::new(LastOut(setup.events.clone()))),
        };
        pool.grow(size).map_err(|source| Error::Spawn {
            what: format!("executor thread {} of {size}", pool.size + 1),
            source,
        })?;
        Ok(pool)
    }

    /// Starts threads until there are so many.
    fn grow(&mut self, size: usize) -> io::Result<()> {
        while self.size < size {
            if self.excess > 0 {
                // One that has to end stays.
                self.excess -= 1;
            } else {
                self.start_thread()?;
            }
            self.size += 1;
        }
        // Those that stay may be idle.
        self.setup.events.send(PoolEvent::Capacity);
        Ok(())
    }

    fn start_thread(&mut self) -> io::Result<()> {
        let Some(last_out) = &self.last_out else { return Ok(()) };
        // One place is enough, because a job is handed to an idle thread only.
        let (sender, inbox) = mpsc::sync_channel(1);
        let number = self.jobs.iter().position(Option::is_none).unwrap_or(self.jobs.len());
        let name = format!("thread-{}", number + 1);
        let executor = Thread {
            number,
            name: name.as_str().into(),
            setup: self.setup.clone(),
            idle: Arc::clone(&self.idle),
            _last_out: Arc::clone(last_out),
        };
        let builder = thread::Builder::new().name(format!("celeriac-{name}"));
        builder.spawn(move || executor.run(&inbox))?;
        match self.jobs.get_mut(number) {
            Some(free) => *free = Some(sender),
            None => self.jobs.push(Some(sender)),
        }
        Ok(())
    }

    /// Lets threads end until there are so many: idle ones now, but for those that are promised a job, and others once
    /// they have ended theirs.
    fn shrink(&mut self, size: usize, promised: usize) {
        self.excess += self.size - size;
        self.size = size;
        let mut idle = lock(&self.idle);
        while self.excess > 0 && idle.len() > promised {
            // The one that was busy longest ago.
            let thread = idle.remove(0);
            self.jobs[thread] = None;
            self.excess -= 1;
        }
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
        if self.jobs.is_empty() { 0 } else { lock(&self.idle).len().saturating_sub(self.excess) }
    }

    fn submit(&mut self, job: Job) {
        let thread = lock(&self.idle).pop().expect("the loop submits only while a slot is free");
        self.running.insert(identity(&job.request), thread);
        let jobs = self.jobs[thread].as_ref().expect("a thread that has to end is not idle");
        jobs.send(job).expect("a thread lives until its jobs end");
    }

    fn ask(&mut self, request: &Request, reason: StopReason) {
        request.cancellation.cancel(reason.into());
    }

    fn kill(&mut self, request: &Request, reason: StopReason) -> Kill {
        self.ask(request, reason);
        Kill::Unable
    }

    fn finished(&mut self, request: &Request) {
        let Some(thread) = self.running.remove(&identity(request)) else { return };
        match self.jobs.get_mut(thread) {
            Some(jobs) if self.excess > 0 => {
                *jobs = None;
                self.excess -= 1;
            }
            _ => lock(&self.idle).push(thread),
        }
    }

    fn close(&mut self, _force: bool) {
        // Code on a thread cannot be stopped: a busy one ends when its task returns, or with the process.
        self.jobs.clear();
        self.last_out = None;
    }

    fn resize(&mut self, width: usize, promised: usize) -> io::Result<()> {
        let size = width.max(1);
        if size > self.size {
            return self.grow(size);
        }
        self.shrink(size, promised);
        Ok(())
    }

    fn facts(&self) -> Value {
        Value::List(Vec::new())
    }
}
