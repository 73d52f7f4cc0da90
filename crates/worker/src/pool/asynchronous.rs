//! The async pool: each task is a future on a runtime of several threads.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use celeriac_protocol::Value;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::executor::Executor;
use crate::pool::slot::{Slot, identity};
use crate::pool::{Events, Job, Kill, Pool, PoolEvent, PoolKind, StopReason};
use crate::request::Request;

/// Runs async tasks, up to a number at once.
pub(crate) struct AsyncPool {
    size: usize,
    runtime: Handle,
    executor: Arc<Executor>,
    events: Events,
    running: HashMap<usize, AbortHandle>,
    closing: bool,
}

impl AsyncPool {
    /// A pool of `size` slots on this runtime.
    pub(crate) fn new(size: usize, runtime: Handle, executor: Executor, events: Events) -> Self {
        let executor = Arc::new(executor);
        Self { size, runtime, executor, events, running: HashMap::new(), closing: false }
    }

    fn tell_when_closed(&self) {
        if self.closing && self.running.is_empty() {
            self.events.send(PoolEvent::Closed(PoolKind::Async));
        }
    }
}

impl Pool for AsyncPool {
    fn kind(&self) -> PoolKind {
        PoolKind::Async
    }

    fn size(&self) -> usize {
        self.size
    }

    fn free(&self) -> usize {
        self.size.saturating_sub(self.running.len())
    }

    fn submit(&mut self, job: Job) {
        let identity = identity(&job.request);
        let slot = Slot::new(job.request, self.events.clone());
        let executor = Arc::clone(&self.executor);
        let running = self.runtime.spawn(async move {
            let run = executor.run_async(slot.request()).await;
            slot.end(run);
        });
        self.running.insert(identity, running.abort_handle());
    }

    fn ask(&mut self, request: &Request, reason: StopReason) {
        request.cancellation.cancel(reason.into());
    }

    fn kill(&mut self, request: &Request, _reason: StopReason) -> Kill {
        // The future is dropped where it next waits. One that blocks its thread keeps its slot until it returns.
        if let Some(running) = self.running.get(&identity(request)) {
            running.abort();
        }
        Kill::Stopped
    }

    fn finished(&mut self, request: &Request) {
        self.running.remove(&identity(request));
        self.tell_when_closed();
    }

    fn close(&mut self, force: bool) {
        self.closing = true;
        if force {
            self.running.values().for_each(AbortHandle::abort);
        }
        self.tell_when_closed();
    }

    fn resize(&mut self, width: usize, _promised: usize) -> io::Result<()> {
        self.size = width.max(1);
        self.events.send(PoolEvent::Capacity);
        Ok(())
    }

    fn facts(&self) -> Value {
        Value::List(Vec::new())
    }
}
