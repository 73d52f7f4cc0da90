//! Celery's own remote control towards our workers: one that hosts an application, and one in Rust alone.
//! `python/drive_control.py` is the client, by the scenarios in `python/steering`.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{Broker, DEADLINE, Program, on_each_store};

const NODE: &str = "apps@control";

/// A worker, and whose tasks it runs.
struct Controlled {
    broker: Broker,
    folder: tempfile::TempDir,
    worker: Program,
    family: &'static str,
}

impl Controlled {
    /// A worker that hosts `apps/held.py`.
    async fn of_python(broker: Broker) -> Self {
        Self::start(broker, "held", OF_PYTHON).await
    }

    /// A worker whose tasks are in Rust.
    async fn of_rust(broker: Broker) -> Self {
        Self::start(broker, "shared", &[]).await
    }

    async fn start(broker: Broker, family: &'static str, app: &[&str]) -> Self {
        let worker = Self::worker(&broker, app);
        let (folder, worker) = worker;
        let controlled = Self { broker, folder, worker, family };
        controlled.drive("ping").await;
        controlled
    }

    fn worker(broker: &Broker, app: &[&str]) -> (tempfile::TempDir, Program) {
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let python = std::env::var_os("CELERIAC_TEST_PYTHON").expect("CELERIAC_TEST_PYTHON names a Python");
        let mut worker = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
        worker
            .args(app)
            .args((!app.contains(&"worker")).then_some("worker"))
            .args(["-c", "2", "-l", "debug", "-n", NODE])
            .current_dir(folder.path())
            .env("CELERIAC_PYTHON", python)
            .env("CELERIAC_BROKER_URL", broker.url())
            .env("CELERY_BROKER_URL", broker.url())
            .env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("python/apps"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        (folder, Program::start(worker))
    }

    /// Ends the worker, and starts another one on the same server.
    async fn restart(&mut self, app: &[&str]) {
        self.worker.signal(Signal::TERM);
        let (folder, worker) = Self::worker(&self.broker, app);
        let before = std::mem::replace(&mut self.worker, worker);
        self.folder = folder;
        let (status, _) = before.ended().await;
        assert!(status.success(), "{status}");
        self.drive("ping").await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn until(&self, what: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.log().contains(what) {
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs one scenario of the client.
    async fn drive(&self, scenario: &str) {
        self.until(if self.family != "shared" { "child process ready" } else { "ready" }).await;
        let client = self.broker.run("drive_control.py", &[scenario, NODE, self.family]);
        let (status, said) = client.ended().await;
        assert!(status.success(), "{scenario}: {status}: its errors are above\n{said}\n{}", self.log());
    }
}

on_each_store! {
    a_worker_of_an_application_tells_what_it_does,
    a_worker_in_rust_tells_what_it_does,
    an_application_is_limited_and_sized_from_afar,
    tasks_in_rust_are_limited_and_sized_from_afar,
    an_application_gets_what_is_sent_to_exchanges,
    tasks_in_rust_get_what_is_sent_to_exchanges,
    queues_are_bound_as_the_settings_say,
    a_worker_of_an_application_tells_of_itself,
    a_worker_in_rust_tells_of_itself,
    what_was_changed_of_an_application_survives_restarts,
    what_was_changed_of_tasks_in_rust_survives_restarts,
    an_application_has_commands_of_its_own,
    a_program_in_rust_has_commands_of_its_own,
    a_worker_is_shut_down_from_afar,
    tasks_of_an_application_are_revoked_by_celery,
    tasks_in_rust_are_revoked_by_celery,
    no_cancel_ever_hits_another_task,
}

async fn a_worker_of_an_application_tells_what_it_does(broker: Broker) {
    let worker = Controlled::of_python(broker).await;
    worker.drive("tasks").await;
    worker.drive("errors").await;
    assert!(worker.log().contains("No such control command: 'no_such_command'"), "{}", worker.log());
}

async fn a_worker_in_rust_tells_what_it_does(broker: Broker) {
    let worker = Controlled::of_rust(broker).await;
    worker.drive("command_line").await;
    worker.drive("tasks").await;
    worker.drive("errors").await;
}

/// Only on Redis: a stock worker asks nobody on the embedded store.
#[tokio::test]
async fn a_stock_worker_that_starts_is_told_what_is_revoked() {
    let worker = Controlled::of_rust(Broker::start()).await;
    worker.drive("mingle").await;
}

/// What a worker of either kind tells of itself.
const OF_ITSELF: [&str; 5] = ["stats", "settings", "registered", "revocations", "memory"];

async fn an_application_is_limited_and_sized_from_afar(broker: Broker) {
    let worker = Controlled::of_python(broker).await;
    worker.drive("limits").await;
    worker.drive("queues").await;
    worker.drive("sizes").await;
}

async fn tasks_in_rust_are_limited_and_sized_from_afar(broker: Broker) {
    let worker = Controlled::of_rust(broker).await;
    worker.drive("limits").await;
    worker.drive("queues").await;
    worker.drive("sizes").await;
}

async fn an_application_gets_what_is_sent_to_exchanges(broker: Broker) {
    let mut worker = Controlled::of_python(broker).await;
    worker.drive("exchanges").await;
    worker.restart(OF_PYTHON).await;
    worker.drive("exchanges_are_kept").await;
}

async fn tasks_in_rust_get_what_is_sent_to_exchanges(broker: Broker) {
    let mut worker = Controlled::of_rust(broker).await;
    worker.drive("exchanges").await;
    worker.restart(&[]).await;
    worker.drive("exchanges_are_kept").await;
}

async fn queues_are_bound_as_the_settings_say(broker: Broker) {
    let worker =
        Controlled::start(broker, "bound", &["-A", "bound", "worker", "-Q", "celery,videos,letters,news"])
            .await;
    worker.drive("exchanges_of_settings").await;
}

async fn a_worker_of_an_application_tells_of_itself(broker: Broker) {
    let worker = Controlled::of_python(broker).await;
    for scenario in OF_ITSELF {
        worker.drive(scenario).await;
    }
}

async fn a_worker_in_rust_tells_of_itself(broker: Broker) {
    let worker = Controlled::of_rust(broker).await;
    for scenario in OF_ITSELF {
        worker.drive(scenario).await;
    }
}

async fn what_was_changed_of_an_application_survives_restarts(broker: Broker) {
    let mut worker = Controlled::of_python(broker).await;
    for scenario in ["change", "still_changed"] {
        worker.drive(scenario).await;
        worker.restart(OF_PYTHON).await;
    }
    worker.drive("partly_changed").await;
}

async fn what_was_changed_of_tasks_in_rust_survives_restarts(broker: Broker) {
    let mut worker = Controlled::of_rust(broker).await;
    worker.drive("change").await;
    worker.restart(&[]).await;
    let line = "as remote control has changed it earlier: pause {'queue': 'celery'}";
    worker.until(line).await;
    worker.drive("still_changed").await;
    worker.restart(&[]).await;
    worker.drive("partly_changed").await;
    assert!(!worker.log().contains(line), "{}", worker.log());
}

async fn an_application_has_commands_of_its_own(broker: Broker) {
    let mut worker = Controlled::of_python(broker).await;
    worker.drive("commands").await;
    assert!(worker.log().contains("pidbox command error: ValueError('as it does')"), "{}", worker.log());
    worker.drive("command_about_queues").await;
    worker.restart(OF_PYTHON).await;
    worker.drive("command_about_queues_is_kept").await;
    worker.drive("command_that_ends").await;
    let (status, _) = worker.worker.ended().await;
    assert!(status.success(), "{status}");
}

async fn a_program_in_rust_has_commands_of_its_own(broker: Broker) {
    let worker = Controlled::of_rust(broker).await;
    worker.drive("own_commands").await;
    assert!(worker.log().contains("as it does"), "{}", worker.log());
}

async fn a_worker_is_shut_down_from_afar(broker: Broker) {
    let worker = Controlled::of_rust(broker).await;
    worker.drive("shutdown").await;
    let log = worker.folder.path().join("log");
    let (status, _) = worker.worker.ended().await;
    assert!(status.success(), "{status}");
    assert!(fs::read_to_string(log).unwrap().contains("Got shutdown from remote"));
}

const OF_PYTHON: &[&str] = &["-A", "held"];

async fn tasks_of_an_application_are_revoked_by_celery(broker: Broker) {
    let mut worker = Controlled::of_python(broker).await;
    worker.drive("revoke").await;
    assert!(
        worker.log().contains("Discarding revoked task: held.add[not-yet-sent]"),
        "users look for this line: {}",
        worker.log()
    );
    worker.drive("terminate").await;
    worker.drive("signals").await;
    worker.drive("stamps").await;
    assert!(
        worker.log().contains(" (revoked by header: {'monitoring_id': 'stamp-1'})"),
        "users look for this line: {}",
        worker.log()
    );
    worker.drive("workflows").await;
    worker.restart(OF_PYTHON).await;
    worker.drive("sent_again").await;
}

async fn tasks_in_rust_are_revoked_by_celery(broker: Broker) {
    let mut worker = Controlled::of_rust(broker).await;
    worker.drive("revoke").await;
    worker.drive("terminate").await;
    worker.drive("stamps").await;
    worker.drive("workflows").await;
    worker.restart(&[]).await;
    worker.drive("sent_again").await;
}

/// `CANCELS` sets how many; each that hits costs the start of a process.
async fn no_cancel_ever_hits_another_task(broker: Broker) {
    let worker = Controlled::of_python(broker).await;
    worker.drive("races").await;
    assert!(!worker.log().contains("WorkerLostError"), "{}", worker.log());
}
