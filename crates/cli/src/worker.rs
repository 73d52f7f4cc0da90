//! `worker`: runs tasks.

use std::path::PathBuf;
use std::time::Duration;

use celeriac_app::{Settings, hostname};
use celeriac_protocol::QueueName;
use celeriac_worker::{Exit, Options};
use clap::builder::NonEmptyStringValueParser;
use tokio::runtime::Builder;

use crate::banner::banner;
use crate::failure::Failure;
use crate::hosted::Hosted;
use crate::logging;
use crate::session::Session;
use crate::settings::Flag;
use crate::setup;
use crate::start_runtime;
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
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Name of this worker; %h is the host, %n its first part, %d its domain, %% a percent sign
    /// [default: celery@%h]
    #[arg(short = 'n', long, value_name = "NAME", value_parser = checked_name, help_heading = "Worker Options")]
    hostname: Option<String>,

    /// Do not show the banner
    #[arg(short, long, help_heading = "Worker Options")]
    quiet: bool,

    /// Messages taken ahead for each task that can run at once
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Worker Options")]
    prefetch_multiplier: Option<u32>,

    /// How long running tasks may go on after TERM before they go back; they are told to stop shortly before
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = duration, help_heading = "Worker Options")]
    shutdown_timeout: Option<Duration>,

    /// Threads for `fn` tasks, and processes for isolated ones [default: CPUs]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Pool Options")]
    concurrency: Option<u32>,

    /// How many `async fn` tasks run at once
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Pool Options")]
    async_concurrency: Option<u32>,

    /// Every task chooses its pool itself
    #[arg(short = 'P', long, hide = true, value_parser = refuse_pool)]
    pool: Option<String>,

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

    #[command(flatten)]
    log: Log,
}

/// What is logged, where to and how.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log Options")]
pub(crate) struct Log {
    /// debug, info, warning, error or critical; for a module too: warning,urls=debug
    #[arg(
        short,
        long,
        value_name = "LEVEL",
        default_value = "warning",
        env = "CELERIAC_LOG_LEVEL",
        hide_env_values = true
    )]
    loglevel: logging::Level,

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
    pub(crate) fn options(&self) -> logging::Options {
        let format = if self.json_logs { logging::Format::Json } else { self.log_format };
        logging::Options {
            level: self.loglevel.clone(),
            format,
            file: self.logfile.clone(),
            process: "MainProcess".to_owned(),
        }
    }
}

pub(crate) fn run(args: &Args, hosted: Option<&Hosted>, session: &mut Session<'_>) -> Result<u8, Failure> {
    setup::worker(&args.node_name(), args.log.options(), session)?;
    let options = args.worker_options(session.settings(), hosted);
    hosted.into_iter().for_each(Hosted::warn_of_limits);
    // One thread for the worker itself: tasks and leases have threads of their own.
    let runtime = start_runtime(&mut Builder::new_current_thread())?;
    runtime.block_on(async {
        // Before anything slow, so that a signal that comes early is heard.
        let listening = celeriac_worker::shutdown_by_signals();
        let (_stopper, shutdown) = listening
            .map_err(|error| Failure::because("the system's signals cannot be listened to", &error))?;
        session.store().await?;
        if !args.quiet {
            let banner = banner(session.app(), &options, &local_time(session.now()));
            session.output.out.write_all(banner.as_bytes())?;
            session.output.out.flush()?;
        }
        let ended = celeriac_worker::run(session.app(), options, shutdown).await;
        ended.map(Exit::code).map_err(|error| Failure::because("the worker has stopped", &error))
    })
}

fn refuse_pool(_: &str) -> Result<String, String> {
    Err("every task chooses its pool itself: `async fn` tasks run on the async pool, `fn` tasks on threads, and those \
         with `isolation = \"process\"` in child processes"
        .to_owned())
}

impl Args {
    pub(crate) fn node_name(&self) -> String {
        let pattern = self.hostname.as_deref().unwrap_or(NODE_NAME);
        node_name(pattern, &hostname()).expect("it was checked when it was read")
    }

    /// How the worker runs: what the settings say, and what is no setting.
    fn worker_options(&self, settings: &Settings, hosted: Option<&Hosted>) -> Options {
        let mut options = Options::from_settings(settings, self.node_name());
        if let Some(hosted) = hosted {
            options.template = Some(hosted.template.clone());
            let queues: Vec<_> = hosted.queues().map(QueueName::new).collect();
            if !queues.is_empty() {
                options.queues = queues;
            }
        }
        if !self.queues.is_empty() {
            options.queues = self.queues.iter().map(QueueName::new).collect();
        }
        options
    }

    /// The options as `celery worker` has them, for the application.
    pub(crate) fn for_celery(&self) -> serde_json::Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        serde_json::json!({
            "concurrency": self.concurrency,
            "loglevel": self.log.loglevel.general(),
            "logfile": self.log.logfile,
            "queues": (!self.queues.is_empty()).then_some(&self.queues),
            "time_limit": seconds(self.time_limit),
            "soft_time_limit": seconds(self.soft_time_limit),
            "max_tasks_per_child": self.max_tasks_per_child,
            "max_memory_per_child": self.max_memory_per_child,
            "prefetch_multiplier": self.prefetch_multiplier,
        })
    }

    /// The settings that these options are.
    pub(crate) fn flags(&self) -> Vec<Flag> {
        let seconds =
            |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64().to_string());
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let kib = self.max_memory_per_child.map(|kib| kib.to_string());
        let flags = [
            ("--concurrency", "worker_concurrency", number(self.concurrency)),
            ("--async-concurrency", "worker_async_concurrency", number(self.async_concurrency)),
            ("--prefetch-multiplier", "worker_prefetch_multiplier", number(self.prefetch_multiplier)),
            ("--max-tasks-per-child", "worker_max_tasks_per_child", number(self.max_tasks_per_child)),
            ("--max-memory-per-child", "worker_max_memory_per_child", kib),
            ("--shutdown-timeout", "worker_shutdown_timeout", seconds(self.shutdown_timeout)),
            ("--time-limit", "task_time_limit", seconds(self.time_limit)),
            ("--soft-time-limit", "task_soft_time_limit", seconds(self.soft_time_limit)),
        ];
        flags.into_iter().filter_map(|(flag, setting, text)| Some((flag, setting, text?))).collect()
    }
}

/// A name that [`node_name`] takes.
fn checked_name(pattern: &str) -> Result<String, String> {
    node_name(pattern, "host").map(|_| pattern.to_owned())
}

/// `pattern` with `%h` as the host, `%n` as its first part and `%d` as the rest; without an `@` it is the host part.
///
/// `%i` and `%I` are the number of a child in Celery, which the worker itself has not: `0` and nothing.
///
/// Source: `celery/utils/nodenames.py`, `default_nodename` and `host_format`, and `celery/utils/text.py`,
/// `simple_format`, Celery 5.7.0. There as here, any other letter after `%` is an error.
fn node_name(pattern: &str, host: &str) -> Result<String, String> {
    let (name, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut expanded = String::new();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '%' => expanded.push_str(match letters.next() {
                Some('h') => host,
                Some('n') => name,
                Some('d') => domain,
                Some('i') => "0",
                Some('I') => "",
                Some('%') => "%",
                Some(other) => return Err(format!("%{other} stands for nothing: {FORMATS}")),
                None => return Err(format!("a single % at the end: {FORMATS}")),
            }),
            letter if letter.is_whitespace() || letter.is_control() => {
                return Err("a name of a worker has no spaces".to_owned());
            }
            letter => expanded.push(letter),
        }
    }
    Ok(if pattern.contains('@') { expanded } else { format!("celery@{expanded}") })
}

const FORMATS: &str =
    "write %h for the host, %n for its first part, %d for its domain, %% for a percent sign";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_names_are_expanded_as_celery_does() {
        let host = "box.example.org";
        let cases = [
            ("celery@%h", "celery@box.example.org"),
            ("mails-%n@%d", "mails-box@example.org"),
            ("mails", "celery@mails"),
            ("a%%b@c", "a%b@c"),
            ("w%i%I@%h", "w0@box.example.org"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(node_name(pattern, host).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_node_name_that_means_nothing_is_refused_with_what_would() {
        let refused = |pattern| node_name(pattern, "box").unwrap_err();
        assert!(refused("bad%q").starts_with("%q stands for nothing: write %h for the host"));
        assert!(refused("50%").starts_with("a single % at the end"));
        for pattern in ["bad name", "tab\t@%h", "line\n"] {
            assert_eq!(refused(pattern), "a name of a worker has no spaces");
        }
    }
}
