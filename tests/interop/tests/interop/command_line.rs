//! The command line of `celery worker`, on our worker: what stock Celery makes of it, ours makes of it too.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::harness::{Broker, DEADLINE, Program};

/// A folder in which workers of one application are started, and a broker for them.
pub(crate) struct Place {
    broker: Broker,
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { broker: Broker::start(), folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The URL of the broker.
    pub(crate) fn url(&self) -> String {
        self.broker.url()
    }

    /// What runs this command line, started by `launcher`.
    fn command(&self, line: &str, launcher: &[&str]) -> Command {
        let program = [launcher, &[env!("CARGO_BIN_EXE_rust-tasks")]].concat();
        let mut command = Command::new(program[0]);
        command
            .args(&program[1..])
            .args(line.split(' '))
            .current_dir(self.folder.path())
            .env("CELERIAC_PYTHON", python())
            .env("CELERY_BROKER_URL", self.broker.url())
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("python/apps"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs what ends by itself.
    pub(crate) fn run(&self, line: &str) -> (Option<i32>, String) {
        let Output { status, stdout, stderr } = self.command(line, &[]).output().unwrap();
        (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
    }

    /// Starts a worker, whose output goes to the file `log`.
    pub(crate) fn start(&self, line: &str, variables: &[(&str, &str)]) -> Program {
        self.start_as(line, variables, &[])
    }

    /// The same, started by `launcher`.
    pub(crate) fn start_as(&self, line: &str, variables: &[(&str, &str)], launcher: &[&str]) -> Program {
        let log = fs::File::create(self.path("log")).unwrap();
        let mut command = self.command(line, launcher);
        command.stdout(log.try_clone().unwrap()).stderr(log).envs(variables.iter().copied());
        Program::start(command)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) async fn until<T>(&self, what: &str, mut find: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = find() {
                return found;
            }
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What the application has noted of its start.
    async fn started(&self) -> String {
        self.until("it has noted its start", || fs::read_to_string(self.path("started.json")).ok()).await
    }

    pub(crate) async fn ready(&self) {
        self.until("it is ready", || self.log().contains("ready").then_some(())).await;
    }
}

fn python() -> std::ffi::OsString {
    std::env::var_os("CELERIAC_TEST_PYTHON").expect("CELERIAC_TEST_PYTHON names a Python")
}

async fn end(worker: Program) {
    worker.signal(Signal::TERM);
    let (status, _) = worker.ended().await;
    assert!(status.success(), "{status}");
}

/// The options of `celery` and `celery worker`: where they stand, all their names, and whether they take a value.
const LIST: &str = "
import importlib
celery = importlib.import_module('celery.bin.celery').celery
for place, command in (('celery', celery), ('worker', celery.commands['worker'])):
    for option in command.params:
        print(place, 'flag' if option.is_flag else 'value', *option.opts)
";

#[tokio::test]
async fn every_option_of_celery_is_known_here_and_in_the_documents() {
    let listed = Command::new(python()).args(["-c", LIST]).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().count() > 40, "{listed}");
    let documents =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/celery-worker.md"))
            .unwrap();
    let first_cells = documents.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    let documented: BTreeSet<&str> = first_cells
        .flat_map(|cell| cell.split([',', '`', ' ']))
        .filter(|name| name.starts_with('-'))
        .collect();
    for line in listed.lines() {
        let mut words = line.split(' ');
        let (place, kind) = (words.next().unwrap(), words.next().unwrap());
        for name in words {
            assert!(documented.contains(name), "{name} is not in docs/celery-worker.md");
            let value = match name {
                _ if kind == "flag" => "",
                "-O" | "--optimization" => " fair",
                "-l" | "--loglevel" => " INFO",
                _ => " 1",
            };
            let line = match place {
                "celery" => format!("{name}{value} worker --help"),
                _ => format!("worker {name}{value} --help"),
            };
            let run = Command::new(env!("CARGO_BIN_EXE_rust-tasks")).args(line.split(' ')).output().unwrap();
            assert_eq!(run.status.code(), Some(0), "{line}: {}", String::from_utf8_lossy(&run.stderr));
        }
    }
}

#[tokio::test]
async fn options_of_the_application_variables_and_settings_are_celerys() {
    let place = Place::new();
    let line = "worker -A options --tenant red -Z moon -c 3 -P prefork -l INFO -n w%i-%n@%d-here -X other -I included \
                --without-gossip --without-mingle --without-heartbeat -O fair worker.prefetch_multiplier=7";
    let worker = place.start(line, &[("CELERY_WORKER_MAX_TASKS_PER_CHILD", "9")]);
    let started = place.started().await;
    for part in [
        r#""program": "celery""#,
        r#""preload": {"zone": "moon"}"#,
        r#""tenant": "red""#,
        r#""concurrency": 3"#,
        r#""max_tasks": 9"#,
        r#""multiplier": 7"#,
    ] {
        assert!(started.contains(part), "{part}: {started}");
    }
    place.ready().await;
    let log = place.log();
    for part in ["w0-", "-here v", "3 (python)", ".> celery\n", ".> third\n", "included.task"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert!(!log.contains(".> other"), "{log}");
    end(worker).await;
}

#[tokio::test]
async fn the_environment_names_the_application_and_its_worker() {
    let place = Place::new();
    let variables = [
        ("CELERY_APP", "options"),
        ("CELERY_WORKER_HOSTNAME", "w@named"),
        ("CELERY_WORKER_LOGLEVEL", "INFO"),
    ];
    let worker = place.start("worker -c 1", &variables);
    assert!(place.started().await.contains(r#""node": "w@named""#));
    place.ready().await;
    assert!(place.log().contains("w@named v"), "{}", place.log());
    end(worker).await;
}

#[tokio::test]
async fn what_is_wrong_is_said_in_the_words_of_celery() {
    let place = Place::new();
    for (line, expected, words) in [
        ("-A options worker --nonsense", 2, "No such option"),
        ("-A options worker nonsense=1", 2, "Unable to parse extra configuration from command line."),
        ("-A options worker -P nonsense", 2, "'nonsense' is not one of"),
        ("-A options:nothing worker", 2, "Unable to load celery application."),
        ("-A options worker -Q a -X celery,other,third,a", 1, "no queue is left"),
        ("-A options worker --autoscale 4,1", 1, "give -c the larger of its numbers"),
    ] {
        let (code, said) = place.run(line);
        assert_eq!(code, Some(expected), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
    }
}

#[tokio::test]
async fn in_the_background_it_runs_until_it_is_told_to_end() {
    let place = Place::new();
    let line = "-A options worker -D -c 1 -l INFO -n bg@here --pidfile %n.pid -f %n%I.log --umask 027";
    let (code, said) = place.run(line);
    assert_eq!(code, Some(0), "{said}");
    let pid_file = place.path("bg.pid");
    let worker = place
        .until("the file with its number", || {
            fs::read_to_string(&pid_file).ok()?.trim().parse().ok().and_then(Pid::from_raw)
        })
        .await;
    let log = || fs::read_to_string(place.path("bg.log")).unwrap_or_default();
    place.until("it is ready", || log().contains("ready").then_some(())).await;
    assert!(place.started().await.contains(r#""umask": 23"#), "the template has it too");
    let (code, said) = place.run("-A options worker -c 1 -n bg@here --pidfile %n.pid");
    assert_eq!(code, Some(73), "{said}");
    kill_process(worker, Signal::TERM).unwrap();
    place.until("it has ended", || test_kill_process(worker).is_err().then_some(())).await;
    assert!(!pid_file.exists(), "{}", log());
}

#[tokio::test]
async fn other_commands_use_the_settings_of_the_application() {
    let place = Place::new();
    let (code, said) = place.run("-A options call options.nap -a [0] --queue third");
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = place.run("queues -A options third --json");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(r#""queue": "third", "ready": 1"#), "{said}");
    let (code, said) = place.run("-A options purge third --force");
    assert_eq!((code, said.trim_end()), (Some(0), "removed 1 from third"));
    let (code, said) = place.run("-A options report");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("software -> celery:") && said.contains("\nceleriac:"), "{said}");
    let (code, said) = place.run("-A nothing_here queues");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("The module nothing_here was not found."), "{said}");
    let (code, said) = place.run("-A options shell --python --help");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("--ipython"), "{said}");
}
