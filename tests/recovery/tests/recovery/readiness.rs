//! What probes say of a worker whose server goes away: not ready within five seconds, ready again, live all the time.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use celeriac_faults::{Proxy, Server, Weather, free_port};
use celeriac_recovery::patient::{kills_its_process, on_runtime, on_thread, spins};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::harness::{Patient, Ward};

/// How soon a worker that cannot fetch says so.
const TELLS: Duration = Duration::from_secs(5);

/// How soon one is ready that has started, or can fetch again.
const RECOVERS: Duration = Duration::from_secs(30);

/// How long an answer may take. The worker needs less than 10 ms for it; the rest is for a busy machine.
const ANSWERS: Duration = Duration::from_secs(1);

/// How long 99 of 100 answers take at most, without waiting for a processor.
const NEARLY_ALWAYS_ANSWERS: Duration = Duration::from_millis(10);

/// How often that is measured before it counts as missed: a machine may stand still for a while.
const ROUNDS: usize = 10;

/// How many children a worker has.
const CHILDREN: u32 = 4;

const OK: u16 = 200;
const UNAVAILABLE: u16 = 503;

/// The thread of a worker that answers, by the name that the system cuts it to.
const ANSWERING_THREAD: &str = "celeriac-monito";

/// How long a thread has waited for a processor while it wanted to run.
struct Delays(PathBuf);

impl Delays {
    fn of_this_thread() -> Self {
        Self("/proc/thread-self/schedstat".into())
    }

    fn of_thread(process: u32, name: &str) -> Self {
        let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
        let mut folders = threads.map(|thread| thread.unwrap().path());
        let is_it = |folder: &PathBuf| {
            std::fs::read_to_string(folder.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        Self(folders.find(is_it).expect("the worker has that thread").join("schedstat"))
    }

    /// Nothing where the kernel does not count it.
    fn until_now(&self) -> Duration {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        let nanos = text.split(' ').nth(1).and_then(|nanos| nanos.parse().ok());
        Duration::from_nanos(nanos.unwrap_or(0))
    }
}

/// A worker that is asked how it is.
pub(crate) struct Asked(pub(crate) u16);

impl Asked {
    /// The status of the answer at this path; none while nobody listens.
    pub(crate) fn ask(&self, path: &str) -> Option<u16> {
        self.answer(path)?.split(' ').nth(1)?.parse().ok()
    }

    fn answer(&self, path: &str) -> Option<String> {
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).ok()?;
        stream.set_read_timeout(Some(ANSWERS)).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: worker\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap_or_else(|error| panic!("/{path}: {error}"));
        assert!(began.elapsed() < ANSWERS, "/{path} took {:?}", began.elapsed());
        Some(answer)
    }

    /// Asserts that 99 of 100 answers of this worker come within ten milliseconds, apart from what they wait for a processor:
    /// that is the machine's and not the worker's, and no number holds for it. `begin` is called before each round, and
    /// one round must hold: none would, if an answer waited for the loop, a task or the store.
    fn answers_soon(&self, worker: &Patient, mut begin: impl FnMut()) {
        let delays = [Delays::of_this_thread(), Delays::of_thread(worker.process_id(), ANSWERING_THREAD)];
        let mut slowest = Vec::new();
        while slowest.len() < ROUNDS {
            begin();
            let took = self.slowest_of_a_round(&delays);
            if took <= NEARLY_ALWAYS_ANSWERS {
                return;
            }
            slowest.push(took);
        }
        panic!("one of 100 answers took longer than {NEARLY_ALWAYS_ANSWERS:?} in each round: {slowest:?}");
    }

    /// How long 99 of 100 answers take at most without waiting for a processor.
    #[expect(clippy::disallowed_methods, reason = "probes come at intervals")]
    fn slowest_of_a_round(&self, delays: &[Delays]) -> Duration {
        let delayed = || delays.iter().map(Delays::until_now).sum::<Duration>();
        let (mut all, mut own) = (Vec::new(), Vec::new());
        for path in ["live", "ready", "startup"].repeat(40) {
            let (before, began) = (delayed(), Instant::now());
            self.answer(path).expect("the worker listens");
            all.push(began.elapsed());
            own.push(began.elapsed().saturating_sub(delayed() - before));
            std::thread::sleep(Duration::from_millis(5));
        }
        let [all, own] = [all, own].map(|mut took: Vec<Duration>| {
            took.sort_unstable();
            [took[took.len() / 2], took[took.len() * 99 / 100]]
        });
        println!("answers, 50 and 99 of 100: {all:.2?}, without waiting for a processor {own:.2?}");
        own[1]
    }

    /// Waits until `/ready` says no for this reason.
    #[expect(clippy::disallowed_methods, reason = "a probe tells nobody when its answer changes")]
    fn until_it_says(&self, reason: &str) {
        let began = Instant::now();
        while !self.answer("ready").is_some_and(|answer| answer.contains(reason)) {
            assert!(began.elapsed() < RECOVERS, "/ready does not say: {reason}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until `/ready` says that; until then and after it the worker lives.
    #[expect(clippy::disallowed_methods, reason = "a probe tells nobody when its answer changes")]
    pub(crate) fn until_ready_is(&self, status: u16, within: Duration) {
        let began = Instant::now();
        while self.ask("ready") != Some(status) {
            assert!(began.elapsed() < within, "/ready is not {status} after {within:?}");
            assert!(matches!(self.ask("live"), None | Some(OK)));
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(self.ask("live"), Some(OK));
        println!("/ready was {status} after {:.1?}", began.elapsed());
    }
}

/// A worker on the server at this URL, once it is ready.
fn start(url: &str) -> (Asked, Ward, Patient) {
    start_with(Ward::on(url.to_owned(), url.to_owned()))
}

fn start_with(ward: Ward) -> (Asked, Ward, Patient) {
    let port = free_port();
    let mut ward = ward.set("worker_metrics_address", &format!("127.0.0.1:{port}")).quiet();
    let worker = ward.start_worker();
    let asked = Asked(port);
    asked.until_ready_is(OK, RECOVERS);
    (asked, ward, worker)
}

#[test]
fn a_worker_whose_redis_is_killed_is_not_ready_until_it_is_back() {
    let mut server = Server::start();
    let (asked, _ward, _worker) = start(&server.url(0));
    for _ in 0..2 {
        server.kill();
        asked.until_ready_is(UNAVAILABLE, TELLS);
        assert_eq!(asked.ask("startup"), Some(OK), "it has been ready once");
        server.start_again();
        asked.until_ready_is(OK, RECOVERS);
    }
}

#[test]
fn a_worker_whose_redis_says_nothing_is_not_ready_until_it_does() {
    let server = Server::start();
    let (asked, _ward, worker) = start(&server.url(0));
    for _ in 0..2 {
        server.pause();
        asked.until_ready_is(UNAVAILABLE, TELLS);
        asked.answers_soon(&worker, || {});
        server.go_on();
        asked.until_ready_is(OK, RECOVERS);
    }
}

#[test]
fn a_worker_whose_network_swallows_everything_is_not_ready_until_it_lets_it_through() {
    let server = Server::start();
    let proxy = Proxy::before(server.port());
    let (asked, _ward, _worker) = start(&proxy.url());
    proxy.weather(Weather::BlackHole);
    asked.until_ready_is(UNAVAILABLE, TELLS);
    proxy.weather(Weather::Fair);
    asked.until_ready_is(OK, RECOVERS);
}

#[test]
fn a_worker_whose_password_counts_no_more_is_not_ready_until_it_does() {
    let server = Server::with(&["--save", "", "--requirepass", "old"]);
    let (asked, _ward, _worker) = start(&format!("redis://:old@127.0.0.1:{}/0", server.port()));
    for _ in 0..2 {
        server.change_password("old", "new");
        asked.until_ready_is(UNAVAILABLE, TELLS);
        server.change_password("new", "old");
        asked.until_ready_is(OK, RECOVERS);
    }
}

#[test]
fn a_worker_whose_queue_is_paused_is_not_ready_until_it_goes_on() {
    let server = Server::start();
    let (asked, mut ward, mut worker) = start(&server.url(0));
    let runtime = Runtime::new().unwrap();
    let app = ward.app();
    let tell = |method: &str| {
        let call = app.control().call(method).argument("queue", "celery").limit(1);
        let began = Instant::now();
        // A worker that starts may not listen yet.
        while runtime.block_on(call.clone().replies()).unwrap().is_empty() {
            assert!(began.elapsed() < RECOVERS, "nobody obeys {method} after {RECOVERS:?}");
        }
    };
    tell("pause");
    asked.until_ready_is(UNAVAILABLE, TELLS);
    // The next one finds it paused.
    worker.kill();
    worker = ward.start_worker();
    asked.until_it_says("the worker takes from no queue");
    tell("resume");
    asked.until_ready_is(OK, RECOVERS);
    drop(worker);
}

#[test]
fn a_worker_whose_children_are_all_stuck_at_their_start_is_not_ready_until_they_are_not() {
    let server = Server::start();
    let url = server.url(0);
    let (asked, ward, _worker) = start_with(Ward::on(url.clone(), url).set("worker_delivery_limit", "1"));
    std::fs::write(ward.stuck(), "").unwrap();
    let (runtime, app) = (Runtime::new().unwrap(), ward.app());
    let deadly = (0..CHILDREN).map(|number| kills_its_process.s(number));
    runtime.block_on(app.send_many(deadly)).unwrap();
    asked.until_ready_is(UNAVAILABLE, TELLS);
    std::fs::remove_file(ward.stuck()).unwrap();
    asked.until_ready_is(OK, RECOVERS);
}

#[test]
fn a_worker_whose_file_another_process_keeps_to_itself_is_not_ready_until_it_lets_go() {
    let (asked, ward, _worker) = start_with(Ward::new());
    let other = Connection::open(ward.file()).unwrap();
    for _ in 0..2 {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        asked.until_ready_is(UNAVAILABLE, TELLS);
        asked.until_it_says("the store has not answered for");
        assert_eq!(asked.ask("startup"), Some(OK), "it has been ready once");
        other.execute_batch("COMMIT").unwrap();
        asked.until_ready_is(OK, RECOVERS);
    }
}

#[test]
fn a_worker_whose_processors_are_all_busy_answers_in_ten_milliseconds() {
    let (asked, ward, worker) = start_with(Ward::new());
    let (runtime, app) = (Runtime::new().unwrap(), ward.app());
    let spinning = (0..CHILDREN).map(|number| spins.s(number, 60_000));
    runtime.block_on(app.send_many(spinning)).unwrap();
    asked.answers_soon(&worker, || {
        let small = (0..200).flat_map(|number| [on_runtime.s(number), on_thread.s(number)]);
        runtime.block_on(app.send_many(small)).unwrap();
    });
}
