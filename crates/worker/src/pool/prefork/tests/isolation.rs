//! What children share with nobody, and what becomes of what they print.

use std::collections::HashSet;
use std::fs;

use celeriac_protocol::Value;

use super::harness::{Bench, text};
use super::log;

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
    let mut bench = Bench::ready(1).await;
    for word in ["alpha", "beta"] {
        let request = bench.submit("print", [text(word)]).await;
        bench.end_of(&request).await;
        for stream in ["on stdout", "on stderr without an end"] {
            let lines = log::lines_of(&request.id);
            let line = lines.iter().find(|line| line.contains(&format!("{word} {stream}")));
            let line = line.unwrap_or_else(|| panic!("{word} {stream} is not in {lines:#?}"));
            for part in ["task_name=\"print\"", "child-1"] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}
