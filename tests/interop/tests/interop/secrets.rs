//! The password of a URL is seen by nobody: not in logs, errors, process titles, environments, or on the server.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, PipeReader, pipe};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use celeriac::prelude::*;
use celeriac::store::ConnectOptions;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Attendant, Broker, DEADLINE};

/// Stands in every part of the password.
const SECRET: &str = "q7z";
const PASSWORD: &str = "q7z/q7z@q7z:q7z%";
/// The password as a URL has it: encoded, and as people write it.
const WRITTEN: [&str; 2] = ["q7z%2Fq7z%40q7z%3Aq7z%25", "q7z/q7z@q7z:q7z%25"];
/// Wrong ones, some of which are no part of a URL as they stand.
const WRONG: [&str; 6] = ["q7z", "%71%37z-q7z", "q7z/q7z?q7z", "q7z@q7z/1", "1/2?q7z=q7z&q7z", "q7z%zz:q7z"];

/// A run of the program that goes on. Killed when dropped.
struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: String,
}

impl Running {
    fn start(args: &[&str]) -> Self {
        let (reader, writer) = pipe().unwrap();
        let mut command = program(args);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        let child = command.spawn().unwrap();
        Self { child, lines: lines_of(reader), seen: String::new() }
    }

    /// Waits for a line with this text.
    fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { panic!("no {text:?} in {}", self.seen) };
            self.seen += &format!("{line}\n");
            if line.contains(text) {
                return;
            }
        }
    }

    /// Everything it has printed, after its end by this signal.
    fn end(mut self, signal: Signal) -> String {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let mut printed = std::mem::take(&mut self.seen);
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            printed += &format!("{line}\n");
        }
        printed
    }

    /// What the system shows of it, once the password is hidden.
    fn title(&self) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let title = shown_of(self.child.id(), "cmdline");
            if title.contains("***") {
                return title;
            }
            assert!(Instant::now() < until, "the title stays {title}");
            thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(reader: PipeReader) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        BufReader::new(reader).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn program(args: &[&str]) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
    program.args(args).stdin(Stdio::null());
    program
}

/// All that a run prints, and whether it did what it was asked.
fn run(args: &[&str]) -> (String, bool) {
    let Output { status, stdout, stderr } = program(args).output().unwrap();
    let printed = [stdout, stderr].concat();
    (String::from_utf8_lossy(&printed).into_owned(), status.success())
}

/// A file of `/proc`, whose parts end with NUL.
fn shown_of(process: u32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

fn children_of(parent: u32) -> Vec<u32> {
    let all =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let is_child = |process: &u32| {
        let stat = shown_of(*process, "stat");
        let parent_of = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent_of == Some(parent)
    };
    all.filter(is_child).collect()
}

/// All keys of the server with what is in them, as one text.
fn dump(redis: &mut redis::Connection) -> String {
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query(redis).unwrap();
    let mut text = String::new();
    for key in keys {
        text += &String::from_utf8_lossy(&key);
        let content: Option<Vec<u8>> = redis::cmd("DUMP").arg(&key).query(redis).unwrap();
        text += &String::from_utf8_lossy(&content.unwrap_or_default());
    }
    text
}

/// A server with [`PASSWORD`], and a connection that may do everything.
fn guarded() -> (Broker, redis::Connection) {
    let broker = Broker::start();
    let mut redis = broker.redis();
    // So that a dump can be read.
    for (name, value) in [("rdbcompression", "no"), ("requirepass", PASSWORD)] {
        redis::cmd("CONFIG").arg("SET").arg(name).arg(value).exec(&mut redis).unwrap();
    }
    (broker, redis)
}

fn with_password(broker: &Broker, password: &str) -> String {
    broker.url().replace("redis://", &format!("redis://:{password}@"))
}

#[track_caller]
fn assert_no_secret(what: &str, text: &str) {
    assert!(!text.contains(SECRET), "{what}: {text}");
}

/// A worker and every command with the right password, and what is left when the server dies.
async fn nobody_sees(written: &str) {
    let (broker, mut redis) = guarded();
    let url = with_password(&broker, written);
    let backend = format!("--result-backend={}", url.replace("/0", "/1"));
    let mut worker = Running::start(&["worker", "-b", &url, &backend, "-l", "debug", "-c", "1"]);
    worker.wait_for("ready");
    let slow = Attendant::listen().await;
    let address = format!("[{:?}]", slow.address());
    let mut said = vec![run(&["call", "shared.slow", "--args", &address, "-b", &url, &backend])];
    let running = slow.run().await;

    let children = children_of(worker.child.id());
    assert!(!children.is_empty(), "{}", worker.seen);
    for process in children.into_iter().chain([worker.child.id()]) {
        assert!(shown_of(process, "cmdline").contains("redis://:***@127.0.0.1:"));
        assert_no_secret("title", &shown_of(process, "cmdline"));
        assert_no_secret("environment", &shown_of(process, "environ"));
    }
    let waiting = Running::start(&["result", "nobody", "--wait", "-b", &url, &backend]);
    assert_no_secret("title", &waiting.title());
    drop(waiting);

    for args in [
        &["call", "rust.add", "--args", "[1, 2]", "--wait", "60"][..],
        &["inspect"],
        &["inspect", "--json"],
        &["queues"],
        &["tasks"],
        &["failed", "list"],
        &["revoke", "nobody"],
        &["--version"],
    ] {
        said.push(run(&[args, &["-b", &url, &backend]].concat()));
    }
    assert!(said.iter().all(|(_, succeeded)| *succeeded), "{said:?}");
    said.push(run(&["call", "rust.fail", "--args", "[\"no tea\"]", "--wait", "60", "-b", &url, &backend]));
    assert_no_secret("commands", &format!("{said:?}"));
    running.end().await;
    for database in ["0", "1"] {
        redis::cmd("SELECT").arg(database).exec(&mut redis).unwrap();
        assert_no_secret("server", &dump(&mut redis));
    }

    drop(broker);
    worker.wait_for("unreachable");
    let (refused, succeeded) = run(&["queues", "-b", &url]);
    assert!(!succeeded && refused.contains("redis://:***@127.0.0.1:"), "{refused}");
    assert_no_secret("error", &refused);
    assert_no_secret("log", &worker.end(Signal::QUIT));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_the_password_of_a_worker_and_its_commands() {
    nobody_sees(WRITTEN[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sees_a_password_that_should_have_been_encoded() {
    nobody_sees(WRITTEN[1]).await;
}

#[test]
fn errors_do_not_show_a_wrong_password() {
    let (broker, _redis) = guarded();
    for wrong in WRONG {
        let url = with_password(&broker, wrong);
        for command in [&["worker", "-l", "debug"][..], &["queues"], &["call", "rust.later"], &["inspect"]] {
            let (printed, succeeded) = run(&[command, &["-b", &url]].concat());
            assert!(!succeeded && printed.contains("***"), "{command:?}: {printed}");
            assert_no_secret(wrong, &printed);
        }
    }
}

#[test]
fn wrong_usage_does_not_show_a_password() {
    let url = "redis://:q7z/q7z@host/0";
    let joined = format!("--brokr={url}");
    for args in [&[url, "queues"][..], &["tasks", url], &["queues", &joined], &["-broker", url, "queues"]] {
        let (printed, succeeded) = run(args);
        assert!(!succeeded && !printed.is_empty(), "{args:?}: {printed}");
        assert_no_secret("usage", &printed);
    }
}

#[tokio::test]
async fn debug_shows_no_password() {
    let (broker, _redis) = guarded();
    let mut shown = HashSet::new();
    for written in WRITTEN {
        let app = App::new("debug").settings(|settings| {
            settings.broker_url = with_password(&broker, written);
            settings.result_backend = Some(with_password(&broker, written).replace("/0", "/1"));
            let options = r#"{"sentinel_kwargs": {"password": "q7z"}}"#;
            settings.set("broker_transport_options", options).unwrap();
        });
        let mut options = ConnectOptions::default();
        let login = r#"{"password": "q7z"}"#;
        options
            .redis
            .set("sentinel_kwargs", &celeriac::protocol::json::parse(login.as_bytes()).unwrap())
            .unwrap();
        let store = app.store().await.unwrap();
        shown.insert(format!("{app:?} {:?} {options:?} {store:?}", app.config()));
    }
    for wrong in WRONG {
        let app = App::new("debug").settings(|settings| settings.broker_url = with_password(&broker, wrong));
        let error = app.store().await.unwrap_err();
        shown.insert(format!("{error:?} {error} {:?}", app.config()));
    }
    assert_eq!(shown.len(), 1 + WRONG.len());
    shown.iter().for_each(|text| assert_no_secret("debug", text));
}
