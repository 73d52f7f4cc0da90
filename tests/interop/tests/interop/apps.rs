//! Celery applications on our worker, unchanged: `python/apps` has them, `python/drive_apps.py` is their stock producer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::harness::{Broker, DEADLINE, Program};

/// A worker that hosts an application, in a folder of its own.
pub(super) struct Host {
    pub(super) broker: Broker,
    folder: tempfile::TempDir,
    pub(super) worker: Program,
}

impl Host {
    /// Starts a worker of this application, and waits until it is ready.
    async fn start(app: &str) -> Self {
        Self::start_with(app, &["-c", "2"], &[], 2).await
    }

    /// The same with these options and this environment, and so many children.
    pub(super) async fn start_with(
        app: &str,
        options: &[&str],
        env: &[(&str, &str)],
        children: usize,
    ) -> Self {
        Self::start_on(Broker::start(), app, options, env, children).await
    }

    /// The same on this store.
    pub(super) async fn start_on(
        broker: Broker,
        app: &str,
        options: &[&str],
        env: &[(&str, &str)],
        children: usize,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let worker = Self::worker(app, options, env, &broker, folder.path());
        let host = Self { broker, folder, worker: Program::start(worker) };
        host.until("its children are ready", |log| ready(log) >= children).await;
        host
    }

    /// Starts another worker in the place of this one, which is killed.
    pub(super) async fn start_again(
        self,
        app: &str,
        options: &[&str],
        env: &[(&str, &str)],
        children: usize,
    ) -> Self {
        let Self { broker, folder, worker } = self;
        worker.kill();
        let worker = Program::start(Self::worker(app, options, env, &broker, folder.path()));
        let host = Self { broker, folder, worker };
        host.until("its children are ready", |log| ready(log) >= children).await;
        host
    }

    fn worker(app: &str, options: &[&str], env: &[(&str, &str)], broker: &Broker, folder: &Path) -> Command {
        let log = fs::File::create(folder.join("log")).unwrap();
        let apps = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/apps");
        let python = std::env::var_os("CELERIAC_TEST_PYTHON").expect("CELERIAC_TEST_PYTHON names a Python");
        let mut worker = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
        worker
            .args(["-A", app, "worker", "-l", "debug", "-n", "apps@interop"])
            .args(options)
            .current_dir(folder)
            .env("CELERIAC_PYTHON", python)
            .env("CELERY_BROKER_URL", broker.url())
            .env("CELERY_RESULT_BACKEND", broker.url())
            .env("PYTHONPATH", apps)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        worker
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(super) async fn until(&self, what: &str, holds: impl Fn(&str) -> bool) {
        let until = Instant::now() + DEADLINE;
        while !holds(&self.log()) {
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs one scenario of the producer.
    pub(super) async fn drive(&self, scenario: &str) {
        self.drive_by("drive_apps.py", scenario).await;
    }

    /// The same for the scenarios of another script.
    pub(super) async fn drive_by(&self, script: &str, scenario: &str) {
        self.drive_with(script, &[scenario]).await;
    }

    /// The same with these arguments.
    pub(super) async fn drive_with(&self, script: &str, arguments: &[&str]) {
        let producer = self.broker.run_in(self.folder.path(), script, arguments);
        let (status, said) = producer.ended().await;
        assert!(status.success(), "{arguments:?}: {status}: its errors are above\n{said}\n{}", self.log());
    }

    /// Ends it warm, and waits for that.
    pub(super) async fn end(self) -> (String, BTreeMap<String, usize>) {
        self.worker.signal(Signal::TERM);
        let (status, _) = self.worker.ended().await;
        assert!(
            status.success(),
            "{status}\n{}",
            fs::read_to_string(self.folder.path().join("log")).unwrap()
        );
        let notes = fs::read_to_string(self.folder.path().join("notes")).unwrap_or_default();
        let mut counts = BTreeMap::new();
        for line in notes.lines() {
            *counts.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default() += 1;
        }
        (fs::read_to_string(self.folder.path().join("log")).unwrap(), counts)
    }

    /// The processes of the application's children that are ready, by the log.
    pub(super) fn children(&self) -> Vec<Pid> {
        let log = self.log();
        let started =
            log.lines().filter(|line| line.contains("PoolWorker-") && line.contains("process started"));
        let pid =
            |line: &str| line.rsplit_once("pid=")?.1.split(' ').next()?.parse().ok().and_then(Pid::from_raw);
        started.filter_map(pid).collect()
    }

    /// The template, by what the application notes.
    pub(super) fn template(&self) -> Pid {
        let notes = fs::read_to_string(self.path("notes")).unwrap();
        let pid = notes.lines().find_map(|line| line.strip_prefix("worker_init ")).unwrap().parse().unwrap();
        Pid::from_raw(pid).unwrap()
    }
}

/// How many children of the application have become ready; the program has others.
pub(super) fn ready(log: &str) -> usize {
    log.lines().filter(|line| line.contains("PoolWorker-") && line.contains("child process ready")).count()
}

fn is_alive(pid: Pid) -> bool {
    test_kill_process(pid).is_ok()
}

/// 10,000 tasks of a stock producer in two children, which log under their names.
async fn each_child_opens_one_connection_and_closes_it(broker: Broker) {
    let host = Host::start_on(broker, "urls", &["-c", "2"], &[], 2).await;
    host.drive("urls").await;
    host.drive("urls_are_saved").await;
    let (log, _) = host.end().await;
    assert_eq!(opened_and_closed(&log), (2, 2), "{log}");
    assert!(log.contains("/ForkPoolWorker-1]"), "{log}");
}

/// How many connections the children of `urls.py` have opened, and how many they have closed.
fn opened_and_closed(log: &str) -> (usize, usize) {
    let [opened, closed] = ["Initializing", "Closing"]
        .map(|what| log.matches(&format!("{what} database connection for worker.")).count());
    (opened, closed)
}

#[tokio::test]
async fn each_child_opens_one_connection_and_closes_it_on_redis() {
    each_child_opens_one_connection_and_closes_it(Broker::start()).await;
}

#[tokio::test]
async fn each_child_opens_one_connection_and_closes_it_on_the_embedded_store() {
    each_child_opens_one_connection_and_closes_it(Broker::embedded()).await;
}

#[tokio::test]
async fn a_child_that_is_recycled_closes_its_connection() {
    let options = ["-c", "2", "--max-tasks-per-child", "100"];
    let host = Host::start_on(Broker::embedded(), "urls", &options, &[], 2).await;
    host.drive("some_urls").await;
    let (log, _) = host.end().await;
    let (opened, closed) = opened_and_closed(&log);
    assert_eq!(opened, closed, "{log}");
    // While one is replaced, the other goes on beyond its limit, so that somebody works: how many there are is not certain.
    assert!(opened > 2, "{opened} children for 1,000 tasks, 100 each");
}

/// The package is not installed where the worker runs: children get it from the binary. They also show how tasks end to
/// those who watch.
#[tokio::test]
async fn tasks_on_the_embedded_store_end_as_they_do_elsewhere() {
    let host = Host::start_on(Broker::embedded(), "moods", &["-c", "2", "-E"], &[], 2).await;
    host.drive("outcomes").await;
    host.drive("canvas").await;
    host.drive("mixed").await;
    host.end().await;
}

#[tokio::test]
async fn tasks_end_as_they_do_in_celery() {
    let host = Host::start("moods").await;
    host.drive("outcomes").await;
    host.drive("soft_limits").await;
    host.drive("lost_and_found").await;
    host.drive("canvas").await;
    let (log, signals) = host.end().await;
    for once in [
        "celeryd_init",
        "worker_init",
        "celeryd_after_setup",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
    ] {
        assert_eq!(signals.get(once), Some(&1), "{once}: {signals:?}\n{log}");
    }
    assert_eq!(signals["worker_before_create_process"], signals["worker_process_init"], "{signals:?}");
    // Those that were killed had no time to say so.
    assert!(signals["worker_process_shutdown"] < signals["worker_process_init"], "{signals:?}");
}

#[tokio::test]
async fn a_rust_program_hosts_an_application_beside_its_own_tasks() {
    let host = Host::start("moods").await;
    host.drive("mixed").await;
    host.end().await;
}

#[tokio::test]
async fn no_short_task_waits_for_a_long_one_while_a_child_is_free() {
    let host = Host::start("moods").await;
    host.drive("a_long_one_among_short_ones").await;
    host.end().await;
}

#[tokio::test]
async fn a_template_that_dies_hurts_nobody_and_is_replaced() {
    let host = Host::start("moods").await;
    kill_process(host.template(), Signal::KILL).unwrap();
    host.drive("still_works").await;
    // The next child needs another template.
    kill_process(host.children()[0], Signal::KILL).unwrap();
    host.until("a third child is ready", |log| ready(log) >= 3).await;
    host.drive("still_works").await;
    host.end().await;
}

#[tokio::test]
async fn children_and_template_die_with_their_worker() {
    let host = Host::start("moods").await;
    let mut all = host.children();
    all.push(host.template());
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|pid| is_alive(*pid)));
    host.worker.kill_alone();
    let until = Instant::now() + DEADLINE;
    while all.iter().any(|pid| is_alive(*pid)) {
        assert!(Instant::now() < until, "some of {all:?} live on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn an_application_that_cannot_be_loaded_says_why() {
    let broker = Broker::start();
    let python = std::env::var_os("CELERIAC_TEST_PYTHON").expect("CELERIAC_TEST_PYTHON names a Python");
    let run = |app: &str, python: &std::ffi::OsStr| {
        let mut worker = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
        worker
            .args(["-A", app, "worker"])
            .env("CELERIAC_PYTHON", python)
            .env("CELERY_BROKER_URL", broker.url());
        let output = worker.current_dir(std::env::temp_dir()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = run("no_such_module_at_all", &python);
    assert_eq!(code, Some(2), "as `celery` has it");
    assert!(said.contains("Unable to load celery application."), "{said}");
    assert!(said.contains("The module no_such_module_at_all was not found."), "{said}");
    let (code, said) = run("urls", "/no/such/python".as_ref());
    assert_eq!(code, Some(1));
    assert!(said.contains("/no/such/python cannot be started"), "{said}");
}

#[tokio::test]
async fn an_application_may_send_pickles_and_what_it_prints_is_logged() {
    // CI is root, which Celery lets run pickles only if it is told to.
    let host = Host::start_with("older", &["-c", "2"], &[("C_FORCE_ROOT", "1")], 2).await;
    host.drive_with("drive_older.py", &[]).await;
    for text in ["hello", "and hello"] {
        let is_record =
            |line: &str| line.contains("WARNING/ForkPoolWorker-") && line.ends_with(&format!("] {text}"));
        assert!(host.log().lines().any(is_record), "{text}: {}", host.log());
    }
    host.end().await;
}
