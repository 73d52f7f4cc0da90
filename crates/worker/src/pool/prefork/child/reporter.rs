//! What running tasks say of themselves, sent as far as the parent has given credit.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use celeriac_app::Reporter;
use celeriac_protocol::{State, TaskId, Value, json};

use super::super::protocol::FromChild;
use super::connection::Sender;

/// Sends reports as frames.
///
/// Without credit the latest report waits and those before it are dropped, so that a task may report as often as
/// it likes and is never held up.
#[derive(Debug)]
pub(super) struct FrameReporter {
    sender: Sender,
    state: Mutex<Flow>,
}

#[derive(Debug)]
struct Flow {
    credit: u32,
    waiting: Option<(TaskId, State, Value)>,
}

impl FrameReporter {
    pub(super) fn new(sender: Sender, credit: u32) -> Self {
        Self { sender, state: Mutex::new(Flow { credit, waiting: None }) }
    }

    /// The parent takes so many more.
    pub(super) fn credit(&self, reports: u32) {
        let mut flow = self.lock();
        flow.credit = flow.credit.saturating_add(reports);
        if flow.credit > 0 {
            self.send_waiting(&mut flow);
        }
    }

    /// Sends what still waits, for the task ends: one report more than the credit is no harm.
    pub(super) fn flush(&self) {
        self.send_waiting(&mut self.lock());
    }

    fn send_waiting(&self, flow: &mut Flow) {
        let Some((id, state, meta)) = flow.waiting.take() else { return };
        flow.credit = flow.credit.saturating_sub(1);
        let head = FromChild::Report { id, state: state.as_str().into() };
        if let Err(error) = self.sender.send(&head, json::to_bytes(&meta).into()) {
            tracing::warn!(%error, "a report was not sent");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flow> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reporter for FrameReporter {
    fn report(&self, task: &TaskId, state: State, meta: Value) {
        let mut flow = self.lock();
        flow.waiting = Some((task.clone(), state, meta));
        if flow.credit > 0 {
            self.send_waiting(&mut flow);
        }
    }
}

/// An empty body.
pub(super) const NO_BODY: Bytes = Bytes::new();
