//! What a worker says and hears while its Celery application is still being loaded.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;

use celeriac_faults::free_port;
use rustix::process::{Pid, Signal, test_kill_process};
use tokio::time::timeout;

use super::command_line::Place;
use super::harness::{DEADLINE, Program};

const LOADING: (&str, &str) = ("503", "the application is loading");

/// Where the probes of a worker are answered.
struct Probes(u16);

impl Probes {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0)
    }

    /// The status and the text of the answer at this path; none while nobody listens.
    fn ask(&self, path: &str) -> Option<(String, String)> {
        let mut stream = TcpStream::connect(self.address()).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: worker\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, text) = answer.split_once("\r\n\r\n").unwrap();
        Some((head.split(' ').nth(1).unwrap().to_owned(), text.trim_end().to_owned()))
    }

    fn is_ready(&self) -> bool {
        self.ask("ready").is_some_and(|(status, _)| status == "200")
    }

    /// The socket that listens, by the number of its inode.
    fn socket(&self) -> Option<String> {
        let local = format!("0100007F:{:04X}", self.0);
        let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut fields = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let listens = |fields: &Vec<&str>| fields.get(1) == Some(&&*local) && fields.get(3) == Some(&"0A");
        Some(fields.find(listens)?.get(9)?.to_string())
    }
}

/// A worker whose application is being imported, and the process that does so.
async fn importing(place: &Place, more: &str, variables: &[(&str, &str)]) -> (Program, Pid) {
    let line = format!("-A slow worker -c 1 -l INFO -n slow@here -q {more}");
    let worker = place.start(line.trim_end(), variables);
    let importer = || fs::read_to_string(place.path("importing")).ok()?.parse().ok().and_then(Pid::from_raw);
    (worker, place.until("the application is being imported", importer).await)
}

fn go_on(place: &Place) {
    fs::write(place.path("go on"), "").unwrap();
}

/// The flag, the variable and the file are known before the application is.
#[tokio::test]
async fn probes_are_answered_while_an_application_is_loaded() {
    for source in ["flag", "variable", "file"] {
        let (place, probes) = (Place::new(), Probes(free_port()));
        let address = probes.address();
        fs::write(place.path("own.toml"), format!("worker_metrics_address = \"{address}\"\n")).unwrap();
        let flag = format!("--metrics {address}");
        let (more, variables): (&str, &[_]) = match source {
            "flag" => (&flag, &[]),
            "variable" => ("", &[("CELERIAC_WORKER_METRICS_ADDRESS", &*address)]),
            _ => ("--config own.toml", &[]),
        };
        let (worker, _) = importing(&place, more, variables).await;
        let said = |path| probes.ask(path).unwrap_or_else(|| panic!("nobody listens: {source}, {path}"));
        assert_eq!(said("live").0, "200", "{source}");
        for path in ["ready", "startup"] {
            let (status, text) = said(path);
            assert_eq!((&*status, &*text), LOADING, "{source}, {path}");
        }
        assert_eq!(said("metrics"), (LOADING.0.to_owned(), LOADING.1.to_owned()), "{source}");
        let socket = probes.socket().expect("it listens");
        go_on(&place);
        place
            .until("it is ready", || {
                assert_eq!(said("live").0, "200", "{source}");
                probes.is_ready().then_some(())
            })
            .await;
        assert_eq!(said("startup").0, "200", "{source}");
        assert_eq!(probes.socket(), Some(socket), "it is the same one all the time");
        assert_eq!(place.log().matches(&format!("metrics and probes at http://{address}/")).count(), 1);
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().await.0.code(), Some(0), "{}", place.log());
    }
}

#[tokio::test]
async fn probes_are_answered_where_only_the_application_says_so_once_it_is_loaded() {
    let (place, probes) = (Place::new(), Probes(free_port()));
    let (_worker, _) = importing(&place, "", &[("PROBES_OF_APPLICATION", &probes.address())]).await;
    assert_eq!(probes.ask("live"), None);
    go_on(&place);
    place.until("it is ready", || probes.is_ready().then_some(())).await;
}

/// What the command line says goes before what the application says, which would be bound for nobody.
#[tokio::test]
async fn the_command_line_says_where_probes_are_answered_whatever_the_application_says() {
    let (place, probes, other) = (Place::new(), Probes(free_port()), Probes(free_port()));
    let variables = [("PROBES_OF_APPLICATION", &*other.address())];
    let (_worker, _) = importing(&place, &format!("--metrics {}", probes.address()), &variables).await;
    go_on(&place);
    place.until("it is ready", || probes.is_ready().then_some(())).await;
    assert_eq!(other.ask("live"), None);
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_before_the_application_is_loaded() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let worker = place.start(&format!("-A slow worker -c 1 --metrics {address}"), &[]);
    let said = format!("metrics and probes cannot be served at {address}");
    place.until("it says so", || place.log().contains(&said).then_some(())).await;
    assert_eq!(worker.ended().await.0.code(), Some(1), "{}", place.log());
    assert!(!place.path("importing").exists());
}

#[tokio::test]
async fn a_worker_whose_application_is_being_loaded_ends_when_it_is_told_to() {
    for (signal, code) in [(Signal::TERM, 0), (Signal::INT, 1), (Signal::QUIT, 0)] {
        let place = Place::new();
        let (worker, importer) = importing(&place, "", &[]).await;
        worker.signal(signal);
        // The import does not end before it is told to.
        let (status, _) = timeout(DEADLINE, worker.ended()).await.expect("it ends");
        assert_eq!(status.code(), Some(code), "{signal:?}: {}", place.log());
        assert!(
            place.log().contains("told to end while its application was being loaded"),
            "{}",
            place.log()
        );
        place
            .until("the application has ended too", || test_kill_process(importer).is_err().then_some(()))
            .await;
    }
}
