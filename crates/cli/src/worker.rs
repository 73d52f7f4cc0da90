//! `worker`: runs tasks.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use celeriac_app::{Settings, hostname};
use celeriac_protocol::QueueName;
use celeriac_worker::{Exit, Options};
use clap::builder::NonEmptyStringValueParser;

use crate::banner::banner;
use crate::celery;
use crate::daemon;
use crate::failure::Failure;
use crate::hosted::{self, Hosted};
use crate::logging;
use crate::node_name;
use crate::purge;
use crate::session::{self, Session};
use crate::settings::Flag;
use crate::setup;
use crate::starting::{self, Start};
use crate::values::{duration, local_time};

/// The name of a worker that is given none.
const NODE_NAME: &str = "celery@%h";

const HELP: &str = "\
Examples:
  $ {bin} worker -l info
  $ {bin} worker -Q mails,reports -c 8
  $ {bin} worker -n mails@%h -Q mails --max-tasks-per-child 1000
  $ {bin} worker -l info,urls=debug --json-logs -f worker.log

SIGTERM or SIGINT ends it warm: reserved tasks go back to their queues at once, running ones may end. \
So does SIGHUP, which a closed terminal sends, unless it is ignored as under nohup. \
A second one, or SIGQUIT, ends it cold: running tasks go back too.

Exit codes: 0 ended by SIGTERM, SIGHUP or cold, 1 ended warm by SIGINT, or failed, 2 wrong usage.";

/// Run tasks
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, args_override_self = true)]
pub(crate) struct Args {
    /// Name of this worker; %h is the host, %n its first part, %d its domain, %% a percent sign
    /// [default: celery@%h]
    #[arg(short = 'n', long, value_name = "NAME", value_parser = checked_name, help_heading = "Worker Options")]
    hostname: Option<String>,

    /// Do not show the banner
    #[arg(short, long, help_heading = "Worker Options")]
    pub(crate) quiet: bool,

    /// Messages taken ahead for each task that can run at once
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Worker Options")]
    prefetch_multiplier: Option<u32>,

    /// Serve metrics and probes over HTTP here, without authentication, such as 127.0.0.1:9090
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Worker Options")]
    metrics: Option<SocketAddr>,

    /// How long running tasks may go on after TERM before they go back; they are told to stop shortly before
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = duration, help_heading = "Worker Options")]
    shutdown_timeout: Option<Duration>,

    /// Threads for `fn` tasks, and processes for isolated ones and those of an application [default: CPUs]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Pool Options")]
    concurrency: Option<Concurrency>,

    /// How many `async fn` tasks run at once
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Pool Options")]
    async_concurrency: Option<u32>,

    /// Stop a task after this time
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = duration, help_heading = "Pool Options")]
    time_limit: Option<Duration>,

    /// Ask a task to stop after this time
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = duration, help_heading = "Pool Options")]
    soft_time_limit: Option<Duration>,

    /// Replace a process after this many tasks
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Pool Options")]
    max_tasks_per_child: Option<u32>,

    /// Replace a process that has grown by more than this since it became ready
    #[arg(long, value_name = "KIB", allow_negative_numbers = true, help_heading = "Pool Options")]
    max_memory_per_child: Option<u64>,

    /// The queues to take tasks from [default: the program's default queue]
    #[arg(short = 'Q', long, value_name = "QUEUE,..", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Queue Options")]
    queues: Vec<String>,

    /// Take no tasks from these queues
    #[arg(short = 'X', long, value_name = "QUEUE,..", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Queue Options")]
    exclude_queues: Vec<String>,

    /// Remove what waits in the queues first
    #[arg(long, alias = "discard", help_heading = "Queue Options")]
    purge: bool,

    #[command(flatten)]
    log: Log,

    #[command(flatten)]
    pub(crate) celery: celery::Options,

    #[command(flatten)]
    pub(crate) daemon: daemon::Options,
}

/// How many tasks run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Concurrency {
    /// As many as there are CPUs.
    Auto,
    Number(u32),
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("auto") {
            return Ok(Self::Auto);
        }
        text.parse().map(Self::Number).map_err(|_| format!("{text:?} is neither a number nor auto"))
    }
}

impl fmt::Display for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What is logged, where to and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log Options")]
pub(crate) struct Log {
    /// debug, info, warning, error or critical; for a module too: warning,urls=debug
    /// [default: warning]
    #[arg(short, long, value_name = "LEVEL", env = "CELERIAC_LOG_LEVEL", hide_env_values = true)]
    loglevel: Option<logging::Level>,

    /// Append log lines to this file instead of standard error
    #[arg(short = 'f', long, value_name = "FILE", env = "CELERIAC_LOG_FILE", hide_env_values = true)]
    logfile: Option<PathBuf>,

    /// What a log line looks like
    #[arg(
        long,
        value_name = "human|json",
        hide_possible_values = true,
        value_enum,
        default_value_t,
        env = "CELERIAC_LOG_FORMAT",
        hide_env_values = true
    )]
    log_format: logging::Format,

    /// The same as --log-format json
    #[arg(long)]
    json_logs: bool,
}

impl Log {
    /// As the options of the log of this process.
    pub(crate) fn options(&self, hosted: Option<&Hosted>) -> logging::Options {
        let format = if self.json_logs { logging::Format::Json } else { self.log_format };
        logging::Options {
            level: self.loglevel.clone().unwrap_or_else(|| match hosted {
                Some(hosted) => logging::Level::numbered(hosted.command().level),
                None => logging::Level::default(),
            }),
            format,
            patterns: hosted.and_then(Hosted::log_patterns),
            color: hosted.is_none_or(Hosted::wants_color),
            file: match hosted {
                Some(hosted) => hosted.command().log_file.clone(),
                None => self.logfile.clone(),
            },
            process: "MainProcess".to_owned(),
        }
    }
}

pub(crate) fn run(
    args: &Args,
    hosted: Option<&Hosted>,
    start: Option<Start>,
    session: &mut Session<'_>,
) -> Result<u8, Failure> {
    if hosted.is_none() {
        args.celery.need_no_application()?;
    }
    setup::worker(&args.node_name(hosted), args.log.options(hosted), session)?;
    let options = args.worker_options(session.settings(), hosted);
    if options.queues.is_empty() {
        return Err(Failure::new("no queue is left to take tasks from").next("exclude fewer with -X"));
    }
    hosted.into_iter().for_each(Hosted::warn_of_limits);
    let start = start.map_or_else(|| Start::new(false), Ok)?;
    let Start { runtime, stopper, shutdown, probes } = start;
    if options.soft_shutdown_timeout.is_some() {
        stopper.soften();
    }
    let ended = runtime.block_on(async {
        let app = session.app().clone();
        let connected = celeriac_worker::connect(&app, options.clone(), shutdown, probes).await;
        let connected = connected.map_err(failed)?;
        if let Some(store) = connected.store() {
            if args.wants_purge(hosted) {
                purge::before_work(store, &options.queues, &mut session.output).await?;
            }
            if !args.wants_quiet(hosted) {
                let banner = banner(&app, &options, &local_time(session.now()));
                session.output.out.write_all(banner.as_bytes())?;
                session.output.out.flush()?;
            }
        }
        connected.run().await.map(Exit::code).map_err(failed)
    });
    if let Some(hosted) = hosted {
        // Of a cold end, too, of which there is no signal.
        hosted.template.wait_until_told(hosted::LAST_SIGNAL);
    }
    ended
}

/// Why a worker has not started, or not gone on.
fn failed(error: celeriac_worker::Error) -> Failure {
    match error {
        celeriac_worker::Error::Connect(error) => session::not_opened(error),
        error => Failure::because("the worker has stopped", &error),
    }
}

impl Args {
    fn node_name(&self, hosted: Option<&Hosted>) -> String {
        if let Some(hosted) = hosted {
            return hosted.command().node.clone();
        }
        let pattern = self.hostname.as_deref().unwrap_or(NODE_NAME);
        node_name::expanded(pattern, &hostname()).expect("it was checked when it was read")
    }

    /// How the worker runs: what the settings say, and what is no setting.
    fn worker_options(&self, settings: &Settings, hosted: Option<&Hosted>) -> Options {
        let mut options = Options::from_settings(settings, self.node_name(hosted));
        self.celery.set_events(&mut options);
        options.service_manager = starting::service_manager();
        if let Some(hosted) = hosted {
            options.template = Some(hosted.template.clone());
            options.host_pool = hosted.pool();
            if settings.worker_async_concurrency != Settings::default().worker_async_concurrency {
                options.host_pool.coroutines = options.async_concurrency;
            }
            // With -Q and -X in them.
            options.queues = hosted.queues().map(QueueName::new).collect();
            options.bindings = hosted.bindings();
            options.soft_shutdown_timeout = hosted.soft_shutdown_timeout();
            options.shutdown_timeout = options.shutdown_timeout.filter(|timeout| *timeout < hosted::NO_LIMIT);
            return options;
        }
        if !self.queues.is_empty() {
            options.queues = self.queues.iter().map(QueueName::new).collect();
        }
        options.queues.retain(|queue| !self.exclude_queues.iter().any(|name| name == queue.as_str()));
        options
    }

    /// The files that a worker in the background needs.
    pub(crate) fn files<'a>(&'a self, hosted: Option<&'a Hosted>) -> daemon::Files<'a> {
        match hosted.map(Hosted::command) {
            Some(command) => daemon::Files { log: command.log_file.as_ref(), pid: command.pid_file.as_ref() },
            None => daemon::Files { log: self.log.logfile.as_ref(), pid: self.daemon.pidfile.as_ref() },
        }
    }

    fn wants_quiet(&self, hosted: Option<&Hosted>) -> bool {
        self.quiet || hosted.is_some_and(|hosted| hosted.command().quiet)
    }

    fn wants_purge(&self, hosted: Option<&Hosted>) -> bool {
        self.purge || hosted.is_some_and(|hosted| hosted.command().purge)
    }

    /// Adds the options that `celery worker` has too.
    pub(crate) fn add_to(&self, given: &mut celery::Given) {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        given.value("hostname", self.hostname.as_deref());
        given.value("loglevel", self.log.loglevel.as_ref().map(logging::Level::general));
        given.value("logfile", self.log.logfile.as_ref().map(|path| path.display()));
        given.value("concurrency", self.concurrency);
        given.value("prefetch-multiplier", self.prefetch_multiplier);
        given.value("time-limit", seconds(self.time_limit));
        given.value("soft-time-limit", seconds(self.soft_time_limit));
        given.value("max-tasks-per-child", self.max_tasks_per_child);
        given.value("max-memory-per-child", self.max_memory_per_child);
        given.list("queues", &self.queues);
        given.list("exclude-queues", &self.exclude_queues);
        given.flag("purge", self.purge);
        given.value("pidfile", self.daemon.pidfile.as_ref().map(|path| path.display()));
    }

    /// The settings that those options are which Celery does not have.
    pub(crate) fn own_flags(&self) -> Vec<Flag> {
        let timeout = self.shutdown_timeout.map(|timeout| timeout.as_secs_f64().to_string());
        let asynchronous = self.async_concurrency.map(|number| number.to_string());
        let timeout = timeout.map(|text| ("--shutdown-timeout", "worker_shutdown_timeout", text));
        let asynchronous = asynchronous.map(|text| ("--async-concurrency", "worker_async_concurrency", text));
        let metrics =
            self.metrics.map(|address| ("--metrics", "worker_metrics_address", address.to_string()));
        timeout.into_iter().chain(asynchronous).chain(metrics).collect()
    }

    /// The settings that these options are.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let seconds =
            |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64().to_string());
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let concurrency = self.concurrency.filter(|concurrency| *concurrency != Concurrency::Auto);
        let kib = self.max_memory_per_child.map(|kib| kib.to_string());
        let flags = [
            ("--concurrency", "worker_concurrency", concurrency.map(|concurrency| concurrency.to_string())),
            ("--prefetch-multiplier", "worker_prefetch_multiplier", number(self.prefetch_multiplier)),
            ("--max-tasks-per-child", "worker_max_tasks_per_child", number(self.max_tasks_per_child)),
            ("--max-memory-per-child", "worker_max_memory_per_child", kib),
            ("--time-limit", "task_time_limit", seconds(self.time_limit)),
            ("--soft-time-limit", "task_soft_time_limit", seconds(self.soft_time_limit)),
        ];
        let given = flags.into_iter().filter_map(|(flag, setting, text)| Some((flag, setting, text?)));
        given.chain(self.own_flags()).collect()
    }
}

/// A name that [`node_name::expanded`] takes.
fn checked_name(pattern: &str) -> Result<String, String> {
    node_name::expanded(pattern, "host").map(|_| pattern.to_owned())
}
