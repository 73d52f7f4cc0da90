//! Probes and metrics of a live worker.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use celeriac_protocol::Value;
use rustix::process::Signal;

use crate::harness::{DEADLINE, Program, Running};
use crate::openmetrics::{Parsed, Sample, parse, samples};

/// The answer to a GET of this path: its status, and the text after the headers.
fn get(address: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).expect("the worker listens");
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, head.to_ascii_lowercase(), body.to_owned())
}

/// Starts a worker that chooses its port, and waits until it takes tasks.
fn start(program: &Program, args: &[&str]) -> (Running, String) {
    let mut worker = program.start(&[&["worker", "-l", "info", "--metrics", "127.0.0.1:0"], args].concat());
    let line = worker.wait_for("metrics and probes at http://");
    worker.wait_for("ready.");
    let (_, after) = line.split_once("http://").unwrap();
    let address = after.split('/').next().unwrap().to_owned();
    until_ready(&address);
    (worker, address)
}

#[expect(clippy::disallowed_methods, reason = "a probe tells nobody when its answer changes")]
fn until_ready(address: &str) {
    let deadline = Instant::now() + DEADLINE;
    while get(address, "/ready").0 != 200 {
        assert!(Instant::now() < deadline, "{:?}", get(address, "/ready"));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn metrics(address: &str) -> Vec<Sample> {
    let (status, head, body) = get(address, "/metrics");
    assert_eq!(status, 200, "{body}");
    let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert!(head.contains(kind), "{head}");
    samples(&body)
}

fn value(samples: &[Sample], name: &str, labels: &[(&str, &str)]) -> f64 {
    let found = samples.iter().find(|sample| sample.name == name && sample.has(labels));
    found.unwrap_or_else(|| panic!("no {name} {labels:?} in {samples:#?}")).value
}

#[test]
fn a_live_worker_tells_what_it_has_done() {
    let program = Program::new();
    let (_worker, address) = start(&program, &["-n", "one@here", "-c", "2"]);
    program.succeed(&["call", "demo.add", "--args", "[1, 2]", "--wait"]);
    program.succeed(&["call", "demo.pid", "--wait"]);
    assert_eq!(program.run(&["call", "demo.nobody"]).code, 0);
    let deadline = Instant::now() + DEADLINE;
    let mut samples = metrics(&address);
    while value(&samples, "celeriac_deliveries_refused_total", &[("code", "unknown-task")]) != 1.0 {
        assert!(Instant::now() < deadline, "{samples:#?}");
        samples = metrics(&address);
    }
    let add = ("task", "demo.add");
    assert_eq!(value(&samples, "celeriac_tasks_ended_total", &[add, ("state", "success")]), 1.0);
    for histogram in ["runtime", "response", "resolution"] {
        let count = format!("celeriac_task_{histogram}_seconds_count");
        assert_eq!(value(&samples, &count, &[add]), 1.0);
    }
    assert_eq!(value(&samples, "celeriac_pool_slots", &[("pool", "prefork")]), 2.0);
    assert_eq!(value(&samples, "celeriac_queue_consumers", &[("queue", "celery")]), 1.0);
    assert_eq!(value(&samples, "celeriac_worker_ready", &[]), 1.0);
    let idle = |sample: &Sample| sample.name != "celeriac_queue_oldest_age_seconds";
    assert!(samples.iter().all(idle), "nothing waits");
    let names: BTreeSet<&str> =
        samples.iter().filter_map(|sample| sample.labels.get("task")).map(String::as_str).collect();
    assert_eq!(names, BTreeSet::from(["demo.add", "demo.pid"]), "what nobody knows is no label");
}

#[test]
fn tasks_are_held_to_their_objectives() {
    let objectives = r#"{ "demo.*" = { response = 3600, resolution = 0 } }"#;
    let program = Program::new().with_variable("CELERIAC_TASK_OBJECTIVES", objectives);
    let (_worker, address) = start(&program, &["-c", "1"]);
    program.succeed(&["call", "demo.add", "--args", "[1, 2]", "--wait"]);
    let samples = metrics(&address);
    let count = |objective, met| {
        let labels = [("task", "demo.add"), ("objective", objective), ("met", met)];
        value(&samples, "celeriac_task_objectives_total", &labels)
    };
    assert_eq!((count("response", "true"), count("response", "false")), (1.0, 0.0));
    assert_eq!((count("resolution", "true"), count("resolution", "false")), (0.0, 1.0));
}

#[test]
fn what_waits_in_a_queue_has_a_number_and_an_age() {
    let program = Program::new();
    let one = ["-c", "1", "--async-concurrency", "1", "--prefetch-multiplier", "1"];
    let (_worker, address) = start(&program, &one);
    let held = value(&metrics(&address), "celeriac_deliveries_limit", &[]) as usize;
    for _ in 0..held + 2 {
        program.succeed(&["call", "demo.hold"]);
    }
    let deadline = Instant::now() + DEADLINE;
    let mut samples = metrics(&address);
    while value(&samples, "celeriac_queue_ready", &[("queue", "celery")]) != 2.0 {
        assert!(Instant::now() < deadline, "{samples:#?}");
        samples = metrics(&address);
    }
    let age = value(&samples, "celeriac_queue_oldest_age_seconds", &[("queue", "celery")]);
    assert!(age > 0.0 && age < DEADLINE.as_secs_f64(), "{age}");
    assert_eq!(value(&samples, "celeriac_deliveries_unsettled", &[]) as usize, held);
    assert_eq!(value(&samples, "celeriac_pool_slots_busy", &[("pool", "async")]), 1.0);
    assert_eq!(get(&address, "/ready").0, 200, "being busy is no hindrance");
}

#[test]
fn the_prefetch_limit_is_the_count_that_stats_tells() {
    let program = Program::new();
    for multiplier in ["0", "4"] {
        let (_worker, address) = start(&program, &["-c", "2", "--prefetch-multiplier", multiplier]);
        let stats = program.json(&["inspect", "stats"]);
        let [(_, stats)] = stats.as_map().expect("a reply of each worker") else { panic!("{stats:?}") };
        let count = stats.get("prefetch_count").and_then(Value::as_i64).expect("a number");
        let samples = metrics(&address);
        assert_eq!(value(&samples, "celeriac_prefetch_limit", &[]), count as f64);
        assert!(value(&samples, "celeriac_deliveries_limit", &[]) > count as f64);
    }
}

#[test]
fn probes_are_answered_at_once_and_a_worker_that_stops_is_not_ready() {
    let program = Program::new();
    let (mut worker, address) = start(&program, &["-c", "1"]);
    let began = Instant::now();
    for path in ["/live", "/ready", "/startup"] {
        assert_eq!(get(&address, path).0, 200, "{path}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(get(&address, "/").0, 404);
    for (what, said) in [("live", "live"), ("ready", "ready"), ("startup", "started")] {
        assert_eq!(program.succeed(&["probe", what, "--address", &address]), said);
    }

    program.succeed(&["call", "demo.hold"]);
    worker.wait_for("holding");
    worker.signal(Signal::TERM);
    let deadline = Instant::now() + DEADLINE;
    while get(&address, "/ready").0 != 503 {
        assert!(Instant::now() < deadline);
    }
    let ended = program.run(&["probe", "ready", "--address", &address]);
    assert_eq!((ended.code, ended.err.as_str()), (1, "error: the worker is stopping\n"));
    assert_eq!((get(&address, "/live").0, get(&address, "/startup").0), (200, 200));
}

#[test]
fn a_worker_whose_probes_nobody_could_reach_does_not_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let program = Program::new();
    let ended = program.run(&["worker", "--metrics", &address]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.err.contains(&format!("metrics and probes cannot be served at {address}")),
        "{}",
        ended.err
    );
    drop(taken);
    let ended = program.run(&["probe", "live", "--address", &address]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with(&format!("error: no answer from {address}: ")), "{}", ended.err);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn systemd_is_told_that_the_worker_is_ready_lives_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let wait_for = |news: &str| {
        let mut bytes = [0; 256];
        loop {
            let length = manager.recv(&mut bytes).unwrap_or_else(|error| panic!("no {news}: {error}"));
            if String::from_utf8_lossy(&bytes[..length]).lines().any(|line| line == news) {
                return;
            }
        }
    };
    let socket: &'static str = path.to_str().unwrap().to_owned().leak();
    let program =
        Program::new().with_variable("NOTIFY_SOCKET", socket).with_variable("WATCHDOG_USEC", "2000000");
    let mut worker = program.start(&["worker", "-l", "info", "-c", "1"]);
    wait_for("READY=1");
    worker.wait_for("ready.");
    wait_for("WATCHDOG=1");
    wait_for("WATCHDOG=1");
    program.succeed(&["call", "demo.hold"]);
    worker.wait_for("holding");
    worker.signal(Signal::TERM);
    wait_for("STOPPING=1");
}

#[test]
fn the_dashboard_and_the_alerts_ask_for_what_a_worker_serves() {
    let program = Program::new();
    let (_worker, address) = start(&program, &["-c", "1"]);
    let served: BTreeSet<String> =
        parse(&get(&address, "/metrics").2).iter().flat_map(Parsed::names).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/monitoring");
    for name in ["grafana.json", "alerts.yaml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let asked: BTreeSet<&str> = text
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .filter(|word| word.starts_with("celeriac_"))
            .collect();
        assert!(asked.len() > 5, "{name}: {asked:?}");
        let missing: Vec<_> = asked.iter().filter(|metric| !served.contains(**metric)).collect();
        assert!(missing.is_empty(), "{name} asks for {missing:?}, which no worker serves");
    }
    let dashboard = std::fs::read(folder.join("grafana.json")).unwrap();
    assert!(celeriac_protocol::json::parse(&dashboard).is_ok());
}
