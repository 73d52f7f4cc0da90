//! What the log of a worker says of a server that is away.

use std::io::{BufRead, BufReader};
use std::process::ChildStderr;
use std::time::{Duration, Instant};

use celeriac_faults::Server;
use celeriac_recovery::patient::on_runtime;

use crate::harness::Ward;

const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "geheim";

/// What the parts of a worker say, at level DEBUG, of a server that is away.
const EACH: [&str; 3] =
    ["leases could not be renewed", "revocations are not watched", "nobody can ask for this worker"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_once_and_once_that_it_is_back() {
    let mut server = Server::with(&["--save", "", "--appendonly", "yes", "--requirepass", PASSWORD]);
    let url = server.url(0).replace("redis://", &format!("redis://:{PASSWORD}@"));
    let mut ward = Ward::on(url.clone(), url).set("worker_lease", "6").set("store_timeout", "0.5");
    let (_worker, log) = ward.start_worker_with_log("warning,celeriac_worker=debug");
    let mut log = Log::of(log);
    on_runtime.delay(&ward.app(), 1u32).await.unwrap().get(PATIENCE).await.expect("the worker works");

    tokio::task::block_in_place(|| {
        server.kill();
        log.read_until(|lines| EACH.iter().all(|what| lines.iter().any(|line| line.contains(what))));
        server.start_again();
        log.read_until(|lines| lines.iter().any(|line| line.contains("the store is back")));
    });

    let told: Vec<&String> =
        log.0.iter().filter(|line| line.contains(": ERROR/") || line.contains(": WARNING/")).collect();
    let [away, back] = told[..] else { panic!("{told:#?}") };
    let place = format!("127.0.0.1:{}/0", server.port());
    assert!(away.contains("trying again") && away.contains(&place), "{away}");
    assert!(back.contains("after=") && back.contains(&place), "{back}");
    assert!(log.0.iter().all(|line| !line.contains(PASSWORD)), "{:#?}", log.0);
}

/// The lines of a log that were read.
struct Log(Vec<String>, BufReader<ChildStderr>);

impl Log {
    fn of(log: ChildStderr) -> Self {
        Self(Vec::new(), BufReader::new(log))
    }

    /// Reads on until the lines are as they should be. A worker that waits says something at least every second.
    fn read_until(&mut self, enough: impl Fn(&[String]) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !enough(&self.0) {
            assert!(Instant::now() < until, "{:#?}", self.0);
            let mut line = String::new();
            let read = self.1.read_line(&mut line).expect("a log is text");
            assert!(read > 0, "the worker has ended: {:#?}", self.0);
            self.0.push(line);
        }
    }
}
