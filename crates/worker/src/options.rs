//! How a worker runs: plain data.

use std::time::Duration;

use celeriac_protocol::QueueName;
use celeriac_store::clock::Clock;

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node name, such as `celery@host`.
    pub node_name: String,
    /// The queues to take tasks from.
    pub queues: Vec<QueueName>,
    /// How many async tasks run at once.
    pub async_concurrency: usize,
    /// How many threads run plain `fn` tasks.
    pub threads: usize,
    /// How many processes run tasks with `isolation = "process"`.
    pub processes: usize,
    /// How many deliveries wait in the worker for each slot of a pool, the one that runs included.
    pub prefetch_multiplier: usize,
    /// How long a delivery stays ours without renewal; it is renewed three times as often.
    pub lease: Duration,
    /// How often a task is delivered before it is taken to kill its workers.
    pub delivery_limit: u32,
    /// How long running tasks may go on after a warm shutdown began; `None` for as long as they take.
    pub shutdown_timeout: Option<Duration>,
    /// How long running tasks may clean up after that, once they were told to stop.
    pub shutdown_grace: Duration,
    /// The hard time limit of tasks that have none of their own.
    pub time_limit: Option<Duration>,
    /// The soft time limit of tasks that have none of their own.
    pub soft_time_limit: Option<Duration>,
    /// A child process is replaced after this many tasks.
    pub max_tasks_per_child: Option<u64>,
    /// A child process is replaced once it has grown by more than this many bytes.
    pub max_memory_per_child: Option<u64>,
    /// Whether `STARTED` is stored when a task starts.
    pub track_started: bool,
    /// How long results are kept.
    pub result_expires: Duration,
    /// A message body larger than this is not decoded; its task goes to the failed tasks.
    pub max_body_bytes: usize,
    /// The clock.
    pub clock: Clock,
    /// The seed of every random choice, such as retry jitter; for tests.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            node_name: "celery@localhost".to_owned(),
            queues: vec![QueueName::new("celery")],
            async_concurrency: 100,
            threads: cores,
            processes: cores,
            prefetch_multiplier: 4,
            lease: Duration::from_secs(30),
            delivery_limit: 3,
            shutdown_timeout: None,
            shutdown_grace: Duration::from_secs(5),
            time_limit: None,
            soft_time_limit: None,
            max_tasks_per_child: None,
            max_memory_per_child: None,
            track_started: false,
            result_expires: Duration::from_secs(24 * 60 * 60),
            max_body_bytes: 256 << 20,
            clock: Clock::system(),
            seed: None,
        }
    }
}
