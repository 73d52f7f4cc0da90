//! What a command wants of the loop, which alone knows what runs.

use std::sync::Arc;
use std::time::Duration;

use celeriac_app::task::RateLimit;
use celeriac_protocol::{QueueName, TaskId, TaskName, TimeLimits, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::panel::Refusal;
use crate::consumer::Input;
use crate::events::Load;
use crate::pool::PoolKind;
use crate::request::{Request, RequestState};
use crate::signum::Signum;

/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a command wants of the loop.
#[derive(Debug)]
pub(crate) enum Question {
    /// All requests that the worker holds.
    Requests(oneshot::Sender<Vec<Held>>),
    /// Stops these tasks, those that run with this signal, and answers which of them the worker has.
    Terminate(Vec<TaskId>, Signum, oneshot::Sender<Vec<TaskId>>),
    /// How much the worker has done, and with what.
    Numbers(oneshot::Sender<Numbers>),
    /// How much it has to do.
    Load(oneshot::Sender<Load>),
    /// This task may start so often from now on.
    RateLimit(TaskName, RateLimit, oneshot::Sender<()>),
    /// This task has these time limits from now on, unless a call has its own; what runs keeps those that it has.
    TimeLimits(TaskName, TimeLimits, oneshot::Sender<()>),
    /// Tasks are fetched from these queues from now on.
    Consume(Vec<QueueName>, oneshot::Sender<()>),
    /// The pools have so many processes or threads more, or less. Answers why it cannot be so.
    Resize(isize, oneshot::Sender<Result<(), Refusal>>),
    /// Every child process is replaced.
    Restart(oneshot::Sender<()>),
    /// A warm shutdown, as SIGTERM asks for.
    Shutdown,
}

/// A request that the worker holds.
#[derive(Debug)]
pub(crate) struct Held {
    /// The request.
    pub request: Arc<Request>,
    /// Where it is.
    pub state: RequestState,
    /// Since when it runs.
    pub started: Option<Timestamp>,
    /// The process that runs it, or will.
    pub pid: Option<u32>,
    /// Whether its message has been acknowledged.
    pub acknowledged: bool,
}

/// How much the worker has done, and with what.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// How many tasks have started, by their names.
    pub started: Vec<(TaskName, u64)>,
    /// How many tasks run at once.
    pub slots: usize,
    /// How many deliveries are wanted in hand for them.
    pub prefetch: usize,
    /// How many of them in which pool.
    pub pools: Vec<(PoolKind, usize)>,
    /// The processes of the pools, each with how many tasks it has been given; none where tasks run in this one.
    pub children: Vec<(u32, u64)>,
    /// How many of them run a task.
    pub busy: usize,
}

/// Asks the loop.
#[derive(Clone)]
pub(crate) struct Inquirer(mpsc::UnboundedSender<Input>);

impl Inquirer {
    /// Asks the loop whose inputs these are. One question waits at a time.
    pub(crate) fn new(inputs: mpsc::UnboundedSender<Input>) -> Self {
        Self(inputs)
    }

    /// All requests that the worker holds.
    pub(super) async fn requests(&self) -> Result<Vec<Held>, Refusal> {
        self.ask(Question::Requests).await
    }

    /// Stops these tasks, and says which of them the worker has.
    pub(super) async fn terminate(&self, ids: Vec<TaskId>, signal: Signum) -> Result<Vec<TaskId>, Refusal> {
        self.ask(|answer| Question::Terminate(ids, signal, answer)).await
    }

    /// How much the worker has done, and with what.
    pub(super) async fn numbers(&self) -> Result<Numbers, Refusal> {
        self.ask(Question::Numbers).await
    }

    /// How much the worker has to do.
    pub(crate) async fn load(&self) -> Result<Load, Refusal> {
        self.ask(Question::Load).await
    }

    /// Begins a warm shutdown.
    pub(super) fn shut_down(&self) {
        // Without a loop the worker has ended.
        let _ = self.0.send(Input::Question(Question::Shutdown));
    }

    /// Asks the loop this.
    pub(super) async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Question,
    ) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        let ended = || Refusal::new("RuntimeError", "the worker has ended");
        self.0.send(Input::Question(question(answer))).map_err(|_| ended())?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(answer) => answer.map_err(|_| ended()),
            Err(_) => Err(Refusal::new("TimeoutError", "the worker is too busy to answer")),
        }
    }
}
