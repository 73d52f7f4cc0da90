//! How a worker runs: plain data.

use std::net::SocketAddr;
use std::time::Duration;

use celeriac_app::task::{Acks, RateLimit};
use celeriac_app::{Objectives, Settings};
use celeriac_protocol::QueueName;
use celeriac_store::Binding;
use celeriac_store::clock::Clock;

use crate::EventSwitch;
use crate::monitoring::ServiceManager;
use crate::pool::prefork::{HostPool, Template};

/// The least limit of message bodies in a worker, whatever the settings say: foreign producers know no limit.
const LEAST_MAX_BODY: usize = 256 << 20;

/// How much larger than the largest stored message a decompressed one may be.
const COMPRESSED: u64 = 4;

/// How a worker runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// The node name, such as `celery@host`.
    pub node_name: String,
    /// The queues to take tasks from.
    pub queues: Vec<QueueName>,
    /// How queues are bound to exchanges, those too that tasks are taken from only once somebody says so.
    pub bindings: Vec<Binding>,
    /// Whether a start waits for a store that cannot be reached; else it fails.
    pub connection_retry_on_startup: bool,
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
    /// How long running tasks may go on after a warm shutdown began, before they are given back; `None` for as long as
    /// they take. The worker has ended two seconds later, whatever its tasks do.
    pub shutdown_timeout: Option<Duration>,
    /// How long before that running tasks are told to stop, so that they can clean up: at most a fifth of the timeout.
    pub shutdown_grace: Duration,
    /// How long running tasks may go on after a cold shutdown began; `None` gives them back at once.
    pub soft_shutdown_timeout: Option<Duration>,
    /// The hard time limit of tasks that have none of their own.
    pub time_limit: Option<Duration>,
    /// The soft time limit of tasks that have none of their own.
    pub soft_time_limit: Option<Duration>,
    /// A child process is replaced after this many tasks.
    pub max_tasks_per_child: Option<u64>,
    /// A child process is replaced once it has grown by more than this many bytes.
    pub max_memory_per_child: Option<u64>,
    /// A child process that has taken longer than this to start is killed.
    pub proc_alive_timeout: Duration,
    /// A child process that gives no sign of life for so long after its start is killed.
    pub proc_silence_timeout: Duration,
    /// When messages of tasks that say nothing else are acknowledged.
    pub acks: Acks,
    /// Whether `STARTED` is stored when a task starts that says nothing else.
    pub track_started: bool,
    /// Whether results of tasks that say nothing else are not stored.
    pub ignore_result: bool,
    /// Whether failures are stored although results are ignored.
    pub store_errors_even_if_ignored: bool,
    /// How often a task that says nothing else may start.
    pub rate_limit: Option<RateLimit>,
    /// Whether rate limits are not kept.
    pub disable_rate_limits: bool,
    /// How long results are kept.
    pub result_expires: Duration,
    /// A message body larger than this, decompressed or not, is not decoded; its task goes to the failed tasks. Jobs and
    /// results of child processes may be as large.
    pub max_body_bytes: usize,
    /// On which threads async tasks and the renewal of leases run.
    pub placement: Placement,
    /// The name of the exchange on which remote control is heard, without its ending; `None` for no remote control.
    pub control_exchange: Option<String>,
    /// How long a reply to remote control waits for who asked.
    pub control_queue_expires: Duration,
    /// How long what remote control has changed is kept for workers that start later; zero is not at all.
    pub control_state_expires: Duration,
    /// The name of the exchange to which events are sent; `None` for no events.
    pub event_exchange: Option<String>,
    /// How many events of tasks are sent in a second at most; zero is any number.
    pub event_rate_limit: u32,
    /// Whether events of tasks are sent, which remote control may change.
    pub task_events: EventSwitch,
    /// How often the worker says by an event that it lives; `None` for no events of the worker.
    pub heartbeat_interval: Option<Duration>,
    /// How many hours the local time is behind UTC, which events say.
    pub utc_offset: i64,
    /// Whether runs of tasks of a Celery application have a span that this worker makes: for applications that do not
    /// instrument themselves.
    pub traces_python: bool,
    /// Where metrics and probes are served over HTTP, to whoever can reach it; `None` for nowhere.
    pub metrics_address: Option<SocketAddr>,
    /// How soon tasks should start and be done, which metrics compare.
    pub objectives: Objectives,
    /// Who is told when the worker is ready, stops, and still lives.
    pub service_manager: Option<ServiceManager>,
    /// The process that forks the children in which the tasks of a Celery application run.
    pub template: Option<Template>,
    /// In which of Celery's pools these run.
    pub host_pool: HostPool,
    /// The clock.
    pub clock: Clock,
    /// The seed of every random choice, such as retry jitter; for tests.
    pub seed: Option<u64>,
}

/// On which threads async tasks and the renewal of leases run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// On threads of their own, so that a task that blocks its thread delays neither the worker nor its leases.
    #[default]
    Own,
    /// On the runtime that runs the worker: for tests, whose paused clock then rules all of it.
    Current,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            node_name: "celery@localhost".to_owned(),
            queues: vec![QueueName::new("celery")],
            bindings: Vec::new(),
            connection_retry_on_startup: true,
            async_concurrency: 1000,
            threads: cores,
            processes: cores,
            prefetch_multiplier: 4,
            lease: Duration::from_secs(30),
            delivery_limit: 3,
            shutdown_timeout: None,
            shutdown_grace: Duration::from_secs(5),
            soft_shutdown_timeout: None,
            time_limit: None,
            soft_time_limit: None,
            max_tasks_per_child: None,
            max_memory_per_child: None,
            proc_alive_timeout: Duration::from_secs(30),
            proc_silence_timeout: Duration::from_secs(30),
            acks: Acks::Late,
            track_started: false,
            ignore_result: false,
            store_errors_even_if_ignored: false,
            rate_limit: None,
            disable_rate_limits: false,
            result_expires: Duration::from_secs(24 * 60 * 60),
            max_body_bytes: LEAST_MAX_BODY,
            placement: Placement::Own,
            control_exchange: Some("celery".to_owned()),
            control_queue_expires: Duration::from_secs(10),
            control_state_expires: Duration::from_secs(30 * 24 * 60 * 60),
            event_exchange: Some("celeryev".to_owned()),
            event_rate_limit: 10_000,
            task_events: EventSwitch::default(),
            heartbeat_interval: Some(Duration::from_secs(2)),
            utc_offset: 0,
            traces_python: false,
            metrics_address: None,
            objectives: Objectives::default(),
            service_manager: None,
            template: None,
            host_pool: HostPool::default(),
            clock: Clock::system(),
            seed: None,
        }
    }
}

impl Options {
    /// What these settings say, for a worker of this node name.
    pub fn from_settings(settings: &Settings, node_name: impl Into<String>) -> Self {
        let default = Self::default();
        let concurrency = settings.worker_concurrency.map(|count| count as usize);
        Self {
            node_name: node_name.into(),
            queues: vec![QueueName::new(&settings.task_default_queue)],
            connection_retry_on_startup: settings.broker_connection_retry_on_startup,
            async_concurrency: settings.worker_async_concurrency as usize,
            threads: concurrency.unwrap_or(default.threads),
            processes: concurrency.unwrap_or(default.processes),
            prefetch_multiplier: settings.worker_prefetch_multiplier as usize,
            lease: settings.worker_lease,
            delivery_limit: settings.worker_delivery_limit,
            shutdown_timeout: Some(settings.worker_shutdown_timeout),
            time_limit: settings.task_time_limit,
            soft_time_limit: settings.task_soft_time_limit,
            max_tasks_per_child: settings.worker_max_tasks_per_child.map(u64::from),
            max_memory_per_child: settings.worker_max_memory_per_child.map(|kib| kib.saturating_mul(1024)),
            proc_alive_timeout: settings.worker_proc_alive_timeout,
            proc_silence_timeout: settings.worker_proc_silence_timeout,
            acks: if settings.task_acks_late { Acks::Late } else { Acks::Early },
            track_started: settings.task_track_started,
            ignore_result: settings.task_ignore_result,
            store_errors_even_if_ignored: settings.task_store_errors_even_if_ignored,
            rate_limit: settings.task_default_rate_limit,
            disable_rate_limits: settings.worker_disable_rate_limits,
            result_expires: settings.result_lifetime(),
            max_body_bytes: max_body_bytes(settings.store_message_limit),
            control_exchange: settings
                .worker_enable_remote_control
                .then(|| settings.control_exchange.clone()),
            control_queue_expires: settings.control_queue_expires,
            control_state_expires: settings.control_state_expires,
            event_exchange: Some(settings.event_exchange.clone()),
            event_rate_limit: settings.event_rate_limit,
            task_events: EventSwitch::new(settings.worker_send_task_events),
            traces_python: settings.worker_trace_python_tasks,
            metrics_address: settings.worker_metrics_address,
            objectives: settings.task_objectives.clone(),
            ..default
        }
    }
}

fn max_body_bytes(message_limit: u64) -> usize {
    usize::try_from(message_limit.saturating_mul(COMPRESSED)).unwrap_or(usize::MAX).max(LEAST_MAX_BODY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_control_is_heard_unless_it_is_not_wanted() {
        let mut settings = Settings::default();
        assert_eq!(Options::from_settings(&settings, "w").control_exchange.as_deref(), Some("celery"));
        settings.set("control_exchange", "tea").unwrap();
        assert_eq!(Options::from_settings(&settings, "w").control_exchange.as_deref(), Some("tea"));
        settings.set("worker_enable_remote_control", "false").unwrap();
        assert_eq!(Options::from_settings(&settings, "w").control_exchange, None);
    }

    #[test]
    fn whatever_the_store_takes_a_worker_decodes() {
        let mut settings = Settings::default();
        assert_eq!(Options::from_settings(&settings, "w").max_body_bytes, 256 << 20);
        settings.store_message_limit = 1 << 30;
        assert_eq!(Options::from_settings(&settings, "w").max_body_bytes, 4 << 30);
        settings.store_message_limit = u64::MAX;
        assert_eq!(Options::from_settings(&settings, "w").max_body_bytes, usize::MAX);
        settings.store_message_limit = 1000;
        assert_eq!(Options::from_settings(&settings, "w").max_body_bytes, 256 << 20);
    }
}
