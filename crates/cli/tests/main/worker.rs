//! The worker and what can be asked of it.

use celeriac_protocol::Value;
use rustix::process::Signal;

use crate::harness::Program;

#[test]
fn it_shows_a_banner_takes_tasks_and_ends_warm() {
    let program = Program::new();
    let mut worker = program.start(&["worker", "-l", "info", "-n", "one@here", "-Q", "a,b", "-c", "2"]);
    worker.wait_for("one@here v");
    for line in [
        ".> app:         demo",
        ".> transport:   sqlite:///tasks.db",
        ".> concurrency: 1000 (async), 2 (threads), 2 (prefork)",
        ".> on a crash:  a running task runs again, 3 times at most, then it is kept as failed",
        ".> a",
        ".> b",
        "  . demo.add   threads",
    ] {
        worker.wait_for(line);
    }
    worker.wait_for("ready");
    worker.signal(Signal::TERM);
    let (code, lines) = worker.end();
    assert_eq!(code, 0, "{lines:#?}");
}

#[test]
fn a_closed_terminal_ends_it_warm_unless_hangups_are_ignored() {
    // Whoever runs the tests may ignore hangups, too.
    let program = Program::new().started_by(&["env", "--default-signal=HUP"]);
    let mut worker = program.start_worker(&["-c", "1"]);
    worker.signal(Signal::HUP);
    worker.wait_for("told to stop by Some(\"SIGHUP\")");
    assert_eq!(worker.end().0, 0);

    let program = Program::new().started_by(&["nohup"]);
    let mut worker = program.start_worker(&["-c", "1"]);
    worker.signal(Signal::HUP);
    worker.signal(Signal::TERM);
    worker.wait_for("told to stop by Some(\"SIGTERM\")");
    assert_eq!(worker.end().0, 0);
}

#[test]
fn its_lines_carry_the_task_and_its_children_have_names() {
    let program = Program::new();
    let mut worker = program.start_worker(&["-c", "1"]);
    let pid = program.succeed(&["call", "demo.pid", "--task-id", "t1", "--wait"]);
    assert!(pid.parse::<u32>().is_ok(), "{pid}");
    let line = worker.wait_for("in a child");
    assert!(line.contains("WARNING/") && line.contains("demo.pid[t1]: in a child"), "{line}");
    assert!(!line.contains("MainProcess"), "{line}");
}

#[test]
fn its_lines_can_be_json() {
    let program = Program::new();
    let mut worker = program.start(&["worker", "-l", "info", "--json-logs", "-q"]);
    worker.wait_for("ready");
    program.succeed(&["call", "demo.hold", "--task-id", "t1"]);
    let line = worker.wait_for("holding");
    let record = celeriac_protocol::json::parse(line.as_bytes()).expect("a line of JSON");
    let text = |name: &str| record.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(text("task_id").as_deref(), Some("t1"), "{line}");
    assert_eq!(text("task_name").as_deref(), Some("demo.hold"), "{line}");
    assert_eq!(text("level").as_deref(), Some("INFO"), "{line}");
}

#[test]
fn inspect_shows_what_it_runs() {
    let program = Program::new();
    let ended = program.run(&["inspect"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    assert!(ended.err.starts_with("error: no worker is alive on sqlite:///tasks.db\n"), "{}", ended.err);

    let mut worker = program.start_worker(&["-n", "one@here", "-c", "1"]);
    program.succeed(&["call", "demo.hold", "--task-id", "held"]);
    worker.wait_for("holding");
    let text = program.succeed(&["inspect"]);
    assert!(text.contains("one@here") && text.contains("demo.hold") && text.contains("held"), "{text}");
    let workers = program.json(&["inspect"]);
    assert_eq!(workers.as_list().map(<[Value]>::len), Some(1), "{workers:?}");
}

#[test]
fn a_program_changes_the_settings_of_its_worker_in_signal_handlers() {
    let program = Program::new();
    for name in ["celeryd_init", "celeryd_after_setup"] {
        let mut worker = program.start(&["worker", "-n", &format!("{name}@here")]);
        worker.wait_for(".> concurrency: 1000 (async), 3 (threads), 3 (prefork)");
    }
    let refused = program.run(&["worker", "-n", "celeryd_init@bad"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for text in ["as celeryd_init left them", "worker_concurrency is 0, so no task could ever run"] {
        assert!(refused.err.contains(text), "{refused:?}");
    }
}

#[test]
fn a_program_hears_of_logging_and_may_set_it_up_itself() {
    let program = Program::new();
    let mut worker = program.start(&["worker", "-l", "info", "-n", "one@here", "-c", "1"]);
    worker.wait_for("INFO/MainProcess] logging of one@here");
    worker.wait_for("INFO/child-1] logging of one@here");
    drop(worker);

    let program = program.with_variable("DEMO_OWN_LOGGING", "1");
    let mut worker = program.start(&["worker", "-l", "info", "-n", "one@here", "-c", "1"]);
    worker.wait_for("own logging of one@here");
    worker.wait_for("  . demo.pid");
    program.succeed(&["call", "demo.pid", "--wait"]);
    worker.signal(Signal::TERM);
    let (code, lines) = worker.end();
    assert_eq!(code, 0, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("ready")), "{lines:#?}");
}
