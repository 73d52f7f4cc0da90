//! What a Celery application asks for, as its template says.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// What a Celery application asks for.
#[derive(Clone, Debug, Deserialize)]
pub struct Description {
    /// What the command line says.
    #[serde(default)]
    pub command: CommandLine,
    /// The settings under Celery's names, with their final values. What has no form in JSON is not among them.
    pub settings: BTreeMap<String, Value>,
    /// The names of the queues to consume.
    pub queues: Vec<String>,
    /// How its queues are bound to exchanges, those that it does not consume too.
    #[serde(default)]
    pub bindings: Vec<HostedBinding>,
    /// The pool that the application asks for, or its command line.
    #[serde(default)]
    pub pool: HostPool,
    /// The registered tasks.
    pub tasks: Vec<HostedTask>,
    /// The signals of the parent to which receivers are connected.
    #[serde(default)]
    pub listened_to: Vec<String>,
    /// Whether the results of the application are kept by a store of ours.
    #[serde(default = "yes")]
    pub keeps_results_here: bool,
    /// The commands of remote control that the application has added, or put in the place of Celery's.
    #[serde(default)]
    pub commands: Vec<String>,
    /// What remote control tells of it that does not change: the broker, and the pool.
    #[serde(default)]
    pub stats: Value,
    /// What this worker cannot do for the application.
    #[serde(default)]
    pub unsupported: Vec<Unsupported>,
}

/// A queue of a Celery application, bound to an exchange.
#[derive(Clone, Debug, Deserialize)]
pub struct HostedBinding {
    /// The queue.
    pub queue: String,
    /// The exchange.
    pub exchange: String,
    /// The type of the exchange.
    #[serde(rename = "type")]
    pub exchange_type: String,
    /// What the routing key of a message is compared with.
    pub routing_key: String,
}

/// What the command line of a Celery worker says, with what stood in the environment and the settings of the application.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CommandLine {
    /// The node name.
    pub node: String,
    /// The pool, as `--pool` names it: `prefork`, `threads`, `gevent`, `eventlet`, `solo`, or a class.
    pub pool: String,
    /// What is logged, as a number of Python's `logging`.
    pub level: u8,
    /// Where log lines go; `None` is standard error.
    pub log_file: Option<PathBuf>,
    /// Whether the command line wants colors, or does not.
    pub color: Option<bool>,
    /// Where the process id of the worker is written to.
    pub pid_file: Option<PathBuf>,
    /// The user to run as: a name or a number.
    pub uid: Option<String>,
    /// The group to run as: a name or a number.
    pub gid: Option<String>,
    /// The permissions that new files do not get: octal if it begins with `0`.
    pub umask: Option<String>,
    /// The Python to use.
    pub executable: Option<PathBuf>,
    /// Whether the queues are emptied first.
    pub purge: bool,
    /// Whether no banner is shown.
    pub quiet: bool,
    /// The most and the fewest processes.
    pub autoscale: Option<[u32; 2]>,
    /// Whether a scheduler runs beside the worker.
    pub beat: bool,
    /// The file in which a Celery worker keeps its revocations.
    pub state_file: Option<PathBuf>,
}

/// Which pool the tasks of a Celery application run in, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct HostPool {
    /// Which one.
    pub kind: HostPoolKind,
    /// How many children it has.
    pub processes: usize,
    /// How many tasks each of them runs at once.
    pub jobs: usize,
    /// How many coroutines the event loop of a child runs at once. There are as many of these children again.
    pub coroutines: usize,
}

impl Default for HostPool {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { kind: HostPoolKind::Prefork, processes: cores, jobs: 1, coroutines: 100 }
    }
}

/// The pools of Celery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostPoolKind {
    /// Processes that run one task each.
    Prefork,
    /// One process that runs one task, in its main thread.
    Solo,
    /// One process that runs each task on a thread.
    Threads,
    /// One process that runs each task in a greenlet.
    Gevent,
    /// The same, by another library.
    Eventlet,
}

impl HostPoolKind {
    /// The name that Celery has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefork => "prefork",
            Self::Solo => "solo",
            Self::Threads => "threads",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
        }
    }
}

/// One task of a Celery application. What is absent is decided by the settings.
#[derive(Clone, Debug, Deserialize)]
pub struct HostedTask {
    /// Its name.
    pub name: String,
    /// Whether it is a coroutine, for an event loop.
    #[serde(default)]
    pub is_coroutine: bool,
    /// Whether its message is acknowledged with its outcome.
    #[serde(default)]
    pub acks_late: Option<bool>,
    /// Whether its result is not stored.
    #[serde(default)]
    pub ignore_result: Option<bool>,
    /// Whether a failure is stored although results are ignored.
    #[serde(default)]
    pub store_errors_even_if_ignored: Option<bool>,
    /// Whether a late acknowledged message goes back when its process dies.
    #[serde(default)]
    pub reject_on_worker_lost: Option<bool>,
    /// Whether a late acknowledged message is acknowledged when its task has failed.
    #[serde(default)]
    pub acks_on_failure: Option<bool>,
    /// Whether a late acknowledged message is acknowledged when its task went beyond its hard time limit.
    #[serde(default)]
    pub acks_on_timeout: Option<bool>,
    /// Whether it is sent again as a retry when its process dies.
    #[serde(default)]
    pub retry_on_worker_lost: Option<bool>,
    /// How often it is retried; `None` is without end.
    #[serde(default)]
    pub max_retries: Option<f64>,
    /// After how many seconds it is retried.
    #[serde(default)]
    pub default_retry_delay: Option<f64>,
    /// Whether its results are kept by a store of ours; else only the application knows where they are.
    #[serde(default)]
    pub keeps_results_here: Option<bool>,
    /// Whether it has methods of its own that are called when it has failed.
    #[serde(default)]
    pub hears_of_its_end: Option<bool>,
    /// `send_events`: whether there are events of it.
    pub send_events: Option<bool>,
    /// How often it may start: a number for each second, or text such as `10/m`.
    #[serde(default)]
    pub rate_limit: Value,
    /// It is stopped after so many seconds.
    #[serde(default)]
    pub time_limit: Option<f64>,
    /// It is told after so many seconds.
    #[serde(default)]
    pub soft_time_limit: Option<f64>,
}

fn yes() -> bool {
    true
}

/// Something of an application that this worker cannot do.
#[derive(Clone, Debug, Deserialize)]
pub struct Unsupported {
    /// What.
    pub what: String,
    /// Why.
    #[serde(default)]
    pub why: String,
    /// What to do instead.
    #[serde(default)]
    pub way_out: String,
}

impl Description {
    pub(super) fn parse(body: &[u8]) -> io::Result<Self> {
        serde_json::from_slice(body).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the description of the application: {error}"))
        })
    }
}
