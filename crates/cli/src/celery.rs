//! The options of `celery worker` that mean something to a Celery application only, and the command line of `celery` that ours
//! stands for. What each does here is in `docs/celery-worker.md`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;

use crate::args::Common;
use crate::failure::Failure;
use crate::worker;

/// Options that mean something to a Celery application only.
///
/// Source: `celery/bin/worker.py`, Celery 5.7.0.
#[derive(Debug, Default, clap::Args)]
#[group(id = "celery")]
pub(crate) struct Options {
    /// How tasks of the application run side by side: prefork, threads, gevent, eventlet or solo
    #[arg(short = 'P', long, value_name = "POOL", help_heading = "Application Options")]
    pool: Option<String>,

    /// Take nothing ahead: fetch a task when a process is free
    #[arg(long, help_heading = "Application Options")]
    disable_prefetch: bool,

    /// How processes are started: fork or spawn [default: as is safe]
    #[arg(long, value_name = "METHOD", help_heading = "Application Options")]
    pool_start_method: Option<String>,

    /// Between so many processes; refused, use -c
    #[arg(long, value_name = "MAX,MIN", help_heading = "Application Options")]
    autoscale: Option<String>,

    /// Import these modules too
    #[arg(short = 'I', long, value_name = "MODULE,..", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Application Options")]
    include: Vec<String>,

    /// Send events about tasks
    #[arg(short = 'E', long, alias = "events", help_heading = "Application Options")]
    task_events: bool,

    /// Run the scheduler of the application beside the worker
    #[arg(short = 'B', long, help_heading = "Application Options")]
    beat: bool,

    /// Where the scheduler keeps what it has sent
    #[arg(short = 's', long, alias = "schedule", value_name = "FILE", help_heading = "Application Options")]
    schedule_filename: Option<String>,

    /// The class of the scheduler
    #[arg(long, value_name = "CLASS", help_heading = "Application Options")]
    scheduler: Option<String>,

    /// Revocations are kept in the store: this file is not used
    #[arg(short = 'S', long, value_name = "FILE", help_heading = "Application Options")]
    statedb: Option<String>,

    /// The Python that has Celery and the application [env: CELERIAC_PYTHON]
    #[arg(long, value_name = "FILE", help_heading = "Application Options")]
    pub(crate) executable: Option<PathBuf>,

    /// Nothing to choose: a task always goes to a free process
    #[arg(
        short = 'O',
        long,
        value_name = "PROFILE",
        value_parser = ["default", "fair"],
        hide_possible_values = true,
        help_heading = "Application Options"
    )]
    optimization: Option<String>,

    /// Nothing to leave out: workers here do not gossip
    #[arg(long, help_heading = "Application Options")]
    without_gossip: bool,

    /// Nothing to leave out: what workers tell each other at their start is in the store
    #[arg(long, help_heading = "Application Options")]
    without_mingle: bool,

    /// Send no heartbeat events
    #[arg(long, help_heading = "Application Options")]
    without_heartbeat: bool,

    /// How often heartbeat events are sent, in seconds
    #[arg(long, value_name = "N", help_heading = "Application Options")]
    heartbeat_interval: Option<u32>,
}

impl Options {
    /// That there is an application which they are about.
    pub(crate) fn need_no_application(&self) -> Result<(), Failure> {
        let wrong = |text: &str, next: &str| Err(Failure::new(text).next(next).exits_with(2));
        if self.pool.is_some() {
            return wrong(
                "every task chooses its pool itself: `async fn` tasks run on the async pool, `fn` tasks on threads, and \
                 those with `isolation = \"process\"` in child processes",
                "leave -P out; it is for the tasks of a Celery application, which -A names",
            );
        }
        let given = self.arguments();
        let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
        let is_needed = |option: &String| ![NEEDLESS, OF_EVENTS].concat().contains(&option.as_str());
        match given.iter().map(|option| name(option)).find(is_needed) {
            Some(option) => {
                wrong(&format!("{option} is for a Celery application, and there is none"), "name it with -A")
            }
            None => Ok(()),
        }
    }

    /// What those who watch the worker are told.
    pub(crate) fn set_events(&self, options: &mut celeriac_worker::Options) {
        if self.task_events {
            options.task_events.turn(true);
        }
        let interval = self.heartbeat_interval.filter(|seconds| *seconds > 0).map(u64::from);
        options.heartbeat_interval = match interval.map(Duration::from_secs) {
            _ if self.without_heartbeat => None,
            Some(interval) => Some(interval),
            None => options.heartbeat_interval,
        };
        options.utc_offset = hours_behind_utc();
    }

    /// As arguments of `celery worker`.
    fn arguments(&self) -> Vec<String> {
        let mut given = Given::default();
        given.value("pool", self.pool.as_deref());
        given.flag("disable-prefetch", self.disable_prefetch);
        given.value("pool-start-method", self.pool_start_method.as_deref());
        given.value("autoscale", self.autoscale.as_deref());
        given.list("include", &self.include);
        given.flag("task-events", self.task_events);
        given.flag("beat", self.beat);
        given.value("schedule-filename", self.schedule_filename.as_deref());
        given.value("scheduler", self.scheduler.as_deref());
        given.value("statedb", self.statedb.as_deref());
        given.value("optimization", self.optimization.as_deref());
        given.flag("without-gossip", self.without_gossip);
        given.flag("without-mingle", self.without_mingle);
        given.flag("without-heartbeat", self.without_heartbeat);
        given.value("heartbeat-interval", self.heartbeat_interval);
        given.0
    }
}

/// As Python counts them.
///
/// Source: `utcoffset`, `celery/utils/time.py`, Celery 5.7.0.
fn hours_behind_utc() -> i64 {
    let offset = jiff::tz::TimeZone::system().to_offset(jiff::Timestamp::now());
    i64::from(-offset.seconds()).div_euclid(3600)
}

/// Options that change nothing where there is no Celery application either.
const NEEDLESS: &[&str] = &["--without-gossip", "--without-mingle"];

/// Options that are for every worker.
const OF_EVENTS: &[&str] = &["--task-events", "--without-heartbeat", "--heartbeat-interval"];

/// Arguments of `celery worker`.
#[derive(Default)]
pub(crate) struct Given(pub(crate) Vec<String>);

impl Given {
    pub(crate) fn value(&mut self, name: &str, value: Option<impl ToString>) {
        self.0.extend(value.map(|value| format!("--{name}={}", value.to_string())));
    }

    pub(crate) fn flag(&mut self, name: &str, is_given: bool) {
        self.0.extend(is_given.then(|| format!("--{name}")));
    }

    pub(crate) fn list(&mut self, name: &str, values: &[String]) {
        self.value(name, (!values.is_empty()).then(|| values.join(",")));
    }
}

/// The arguments of `celery` that would start this worker. Where the process runs, as whom and in the background is not
/// among them, nor what only this worker knows.
pub(crate) fn command_line(app: &str, common: &Common, args: &worker::Args, extra: &[String]) -> Vec<String> {
    let mut given = Given(global_options(Some(app), common));
    given.flag("quiet", args.quiet);
    given.0.push("worker".to_owned());
    args.add_to(&mut given);
    given.0.extend(args.celery.arguments());
    given.0.extend_from_slice(extra);
    given.0
}

/// The options of `celery` that stand before a command.
pub(crate) fn global_options(app: Option<&str>, common: &Common) -> Vec<String> {
    let mut given = Given::default();
    given.value("app", app);
    given.value("broker", common.broker.as_deref());
    given.value("result-backend", common.result_backend.as_deref());
    given.value("loader", common.loader.as_deref());
    given.value("config", common.module_of_settings());
    given.flag("no-color", common.no_color);
    given.flag("skip-checks", common.skip_checks);
    given.0
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::args::{Cli, Command};

    fn parsed(line: &str) -> Cli {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        crate::args::parse("urls", &args, None).unwrap()
    }

    /// The arguments of `celery` behind `--app`.
    fn celery(line: &str) -> String {
        let cli = parsed(line);
        let Command::Worker(args) = &cli.command else { panic!("not a worker") };
        let app = cli.common.app.as_deref().unwrap();
        command_line(app, &cli.common, args, &cli.extra)[1..].join(" ")
    }

    #[test]
    fn what_celery_has_too_is_handed_on_and_what_is_ours_is_not() {
        let cases = [
            ("urls -A proj worker", "worker"),
            (
                "urls worker -A proj -P prefork -n a@%h -c auto -l INFO --without-mingle --without-gossip --without-heartbeat",
                "worker --hostname=a@%h --loglevel=INFO --concurrency=auto --pool=prefork --without-gossip --without-mingle --without-heartbeat",
            ),
            (
                "urls -A proj -b redis://h -q --loader a.B --skip-checks -C worker -Q a,b -X c --discard",
                "--broker=redis://h --loader=a.B --no-color --skip-checks --quiet worker --queues=a,b --exclude-queues=c --purge",
            ),
            (
                "urls -A proj worker --time-limit 1m -l info,urls=debug --async-concurrency 3 --json-logs",
                "worker --loglevel=INFO --time-limit=60",
            ),
            (
                "urls -A proj worker -I a,b -E --schedule s.db --events worker.prefetch_multiplier=1 --tenant red",
                "worker --include=a,b --task-events --schedule-filename=s.db worker.prefetch_multiplier=1 --tenant red",
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(celery(line), expected, "{line}");
        }
    }

    #[test]
    fn settings_come_from_a_file_or_a_module() {
        assert_eq!(celery("urls -A proj --config proj.settings worker"), "--config=proj.settings worker");
        for file in ["urls.toml", "etc/urls.conf"] {
            let line = format!("urls -A proj --config {file} worker");
            assert_eq!(celery(&line), "worker");
            assert_eq!(parsed(&line).common.file_of_settings(), Some(file.as_ref()));
        }
        let without = parsed("urls --config urls worker");
        assert_eq!(without.common.file_of_settings(), Some("urls".as_ref()));
    }

    #[test]
    fn without_an_application_its_options_are_refused_with_a_way_out() {
        let refused = |line| {
            let Command::Worker(args) = parsed(line).command else { panic!("not a worker") };
            args.celery.need_no_application().map_err(|failure| (failure.code, failure.to_string()))
        };
        assert!(refused("urls worker --without-gossip --without-mingle --without-heartbeat").is_ok());
        let said = "error: --beat is for a Celery application, and there is none\n  next: name it with -A\n";
        assert_eq!(refused("urls worker -B"), Err((2, said.to_owned())));
        let (_, said) = refused("urls worker -P threads").unwrap_err();
        assert!(said.contains("every task chooses its pool itself"), "{said}");
    }

    #[test]
    fn what_nobody_knows_is_wrong_usage_where_there_is_no_application() {
        let args = ["urls", "worker", "--tenant", "red"].map(OsString::from);
        let error = crate::args::parse("urls", &args, None).unwrap_err().to_string();
        assert!(error.starts_with("error: unexpected argument '--tenant' found"), "{error}");
        assert_eq!(
            crate::args::parse("urls", &args, Some("proj".into())).unwrap().extra,
            ["--tenant", "red"]
        );
    }
}
