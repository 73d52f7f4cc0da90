//! What children share with nobody, and what becomes of what they print.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs;
use std::sync::{Arc, Mutex};

use celeriac_protocol::Value;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::harness::{Bench, text};

#[tokio::test]
async fn a_program_that_a_task_starts_is_not_a_child() {
    let mut bench = Bench::ready(1).await;
    assert_eq!(bench.value("start_myself", []).await, Value::Bool(true));
}

#[tokio::test]
async fn children_inherit_nothing_of_each_other() {
    let mut bench = Bench::ready(3).await;
    bench.value("echo", [Value::Null]).await;
    let mut seen = HashSet::new();
    for pid in bench.pids() {
        let mut own = HashSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let path = entry.unwrap().path();
            let file = fs::read_link(&path).unwrap_or_default().to_string_lossy().into_owned();
            let is_output = path.ends_with("1") || path.ends_with("2");
            own.extend((is_output || file.starts_with("socket:")).then_some(file));
        }
        assert!(own.len() >= 3, "a socket and two pipes: {own:?}");
        assert!(own.is_disjoint(&seen), "{own:?} and {seen:?}");
        seen.extend(own);
    }
}

#[tokio::test]
async fn what_a_task_prints_is_logged_with_its_child_and_its_id() {
    let log = Log::default();
    let lines = Arc::clone(&log.0);
    let _guard = tracing::subscriber::set_default(log);
    let mut bench = Bench::ready(1).await;
    for word in ["alpha", "beta"] {
        let request = bench.submit("print", [text(word)]).await;
        bench.end_of(&request).await;
        let lines = lines.lock().unwrap().clone();
        for stream in ["on stdout", "on stderr without an end"] {
            let line = lines.iter().find(|line| line.contains(&format!("{word} {stream}")));
            let line = line.unwrap_or_else(|| panic!("{word} {stream} is not in {lines:#?}"));
            assert!(line.contains(request.id.as_str()) && line.contains("child-1"), "{line}");
        }
    }
}

/// Keeps every event as a line.
#[derive(Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{field}={value:?} ").unwrap();
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
