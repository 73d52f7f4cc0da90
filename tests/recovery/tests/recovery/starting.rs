//! Workers that start while their server is away: they wait for it.

use std::io::Read;
use std::path::Path;
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use celeriac_faults::{Server, free_port};
use celeriac_recovery::patient::on_runtime;
use rusqlite::Connection;
use rustix::process::Signal;
use tokio::runtime::Runtime;

use crate::harness::{Patient, Ward};
use crate::readiness::Asked;

/// Longer than a client tries to reach its store.
const AWAY: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon a worker ends that waits: it has nothing to end first.
const ENDS: Duration = Duration::from_secs(3);

const OK: u16 = 200;
const UNAVAILABLE: u16 = 503;

/// A worker whose server is not there yet.
struct Waiting {
    port: u16,
    asked: Asked,
    ward: Ward,
    worker: Patient,
    log: ChildStderr,
}

impl Waiting {
    /// Once it answers probes.
    fn start(set: &[(&str, &str)]) -> Self {
        Self::start_before(free_port(), set)
    }

    /// The same before a server at this port.
    fn start_before(port: u16, set: &[(&str, &str)]) -> Self {
        let probes = free_port();
        let url = format!("redis://127.0.0.1:{port}/0");
        let ward = Ward::on(url.clone(), url).set("worker_metrics_address", &format!("127.0.0.1:{probes}"));
        let mut ward = set.iter().fold(ward, |ward, (name, value)| ward.set(name, value));
        let (worker, log) = ward.start_worker_with_log("warning");
        let asked = Asked(probes);
        asked.until_ready_is(UNAVAILABLE, PATIENCE);
        Self { port, asked, ward, worker, log }
    }

    /// Asserts for a while that it lives and is not ready.
    #[expect(clippy::disallowed_methods, reason = "nothing happens while a worker waits")]
    fn waits_for(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            let [live, ready, startup] = ["live", "ready", "startup"].map(|path| self.asked.ask(path));
            assert_eq!([live, ready, startup], [Some(OK), Some(UNAVAILABLE), Some(UNAVAILABLE)]);
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Asserts that it works once its server is there, and returns its log.
    fn works(self) -> String {
        self.asked.until_ready_is(OK, PATIENCE);
        let runtime = Runtime::new().unwrap();
        let doubled = runtime
            .block_on(async { on_runtime.delay(&self.ward.app(), 21u32).await.unwrap().get(PATIENCE).await });
        assert_eq!(doubled.unwrap(), 42);
        self.worker.kill();
        read(self.log)
    }
}

fn read(mut log: ChildStderr) -> String {
    let mut text = String::new();
    log.read_to_string(&mut text).expect("a log is text");
    text
}

fn times(log: &str, what: &str) -> usize {
    log.lines().filter(|line| line.contains(what)).count()
}

#[test]
fn a_worker_that_starts_before_its_redis_waits_for_it_and_works() {
    let waiting = Waiting::start(&[]);
    waiting.waits_for(AWAY);
    let _server = Server::on(waiting.port, &["--save", ""], |_: &Path| {});
    let place = format!("127.0.0.1:{}/0", waiting.port);
    let log = waiting.works();
    assert_eq!(times(&log, "the worker cannot start; trying again until it works"), 1, "{log}");
    assert_eq!(times(&log, "the store is back"), 1, "{log}");
    assert!(log.contains(&place), "{log}");
}

#[test]
fn a_worker_that_starts_while_its_redis_loads_waits_for_it_and_works() {
    let delay =
        ["--save", "", "--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024"];
    let mut server = Server::with(&delay);
    let fill = "for number = 1, 400 do redis.call('SET', number, number) end";
    redis::cmd("EVAL").arg(&[fill, "0"]).exec(&mut server.connection()).unwrap();
    redis::cmd("SAVE").exec(&mut server.connection()).unwrap();
    server.kill();
    let waiting = Waiting::start_before(server.port(), &[]);
    // It returns when everything is loaded.
    server.start_again();
    waiting.works();
}

#[test]
fn a_worker_that_waits_for_its_redis_ends_when_it_is_told_to() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 1), (Signal::QUIT, 0)] {
        let waiting = Waiting::start(&[]);
        let began = Instant::now();
        assert_eq!(waiting.worker.end(signal), Some(code), "{signal:?}");
        assert!(began.elapsed() < ENDS, "{signal:?} took {:?}", began.elapsed());
    }
}

#[test]
fn a_worker_that_waits_for_a_locked_file_ends_when_it_is_told_to() {
    let probes = free_port();
    let mut ward = Ward::new().set("worker_metrics_address", &format!("127.0.0.1:{probes}")).quiet();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async { drop(ward.store().await) });
    let other = Connection::open(ward.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 1), (Signal::QUIT, 0)] {
        let worker = ward.start_worker();
        Asked(probes).until_ready_is(UNAVAILABLE, PATIENCE);
        let began = Instant::now();
        assert_eq!(worker.end(signal), Some(code), "{signal:?}");
        assert!(began.elapsed() < ENDS, "{signal:?} took {:?}", began.elapsed());
    }
}

#[test]
fn a_worker_that_is_told_not_to_wait_fails() {
    let mut waiting = Waiting::start(&[("broker_connection_retry_on_startup", "false")]);
    assert_eq!(waiting.worker.wait(), Some(1));
    let log = read(waiting.log);
    assert!(log.contains("error: the store cannot be opened"), "{log}");
}

#[test]
fn a_worker_with_a_wrong_password_fails_at_once() {
    let server = Server::with(&["--save", "", "--requirepass", "right"]);
    let url = format!("redis://:wrong@127.0.0.1:{}/0", server.port());
    let (mut worker, log) = Ward::on(url.clone(), url).start_worker_with_log("warning");
    assert_eq!(worker.wait(), Some(1));
    let log = read(log);
    assert!(log.contains("error: the store cannot be opened") && !log.contains("trying again"), "{log}");
}
