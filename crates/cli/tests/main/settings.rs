//! The layers of the settings, and what is said about a wrong one.

use crate::harness::Program;

#[test]
fn a_bad_settings_file_is_named_with_line_and_key() {
    let program = Program::new();
    program.write("demo.toml", "task_default_queue = \"demo\"\n\nworker_concurency = 4\n");
    let ended = program.run(&["queues", "--config", "demo.toml"]);
    assert_eq!(ended.code, 1);
    let expected = "\
error: the settings cannot be used
  cause: demo.toml:3: there is no setting worker_concurency; did you mean worker_concurrency?
  next: correct it; settings are named as in Celery
";
    assert_eq!(ended.err, expected);
}

#[test]
fn a_settings_file_that_is_not_there_is_named_without_a_line() {
    let ended = Program::new().run(&["queues", "--config", "none.toml"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("  cause: none.toml: this file does not exist\n"), "{}", ended.err);
    assert!(ended.err.contains("  next: name another file with --config or "), "{}", ended.err);
}

#[test]
fn the_file_the_environment_and_the_flags_are_layers() {
    let program = Program::new();
    program
        .write("demo.toml", "broker_url = \"sqlite:///from-file.db\"\ntask_default_queue = \"from-file\"\n");
    // The environment of the harness names tasks.db.
    program.succeed(&["call", "demo.add", "--config", "demo.toml"]);
    assert!(program.folder().join("tasks.db").exists());
    assert!(program.succeed(&["queues"]).contains("from-file"));
    program.succeed(&["queues", "--config", "demo.toml", "--broker", "sqlite:///from-flag.db"]);
    assert!(program.folder().join("from-flag.db").exists());
    assert!(!program.folder().join("from-file.db").exists());
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_right() {
    let program = Program::new();
    let ended = program.run(&["call", "demo.add", "--args", "1"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("expected a JSON array such as '[1, \"two\"]', found a int"), "{}", ended.err);
    let ended = program.run(&["worker", "-P", "threads"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("every task chooses its pool itself"), "{}", ended.err);
    let ended = program.run(&["worker", "-n", "bad name %q"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("a name of a worker has no spaces"), "{}", ended.err);
    for countdown in ["-5", "-5m"] {
        let ended = program.run(&["call", "demo.add", "--countdown", countdown]);
        assert_eq!(ended.code, 2);
        assert!(ended.err.contains("is negative: a duration is 0 or more"), "{}", ended.err);
    }
}

#[test]
fn a_name_that_is_empty_is_refused_wherever_one_is_taken() {
    let program = Program::new();
    let lines: [&[&str]; 7] = [
        &["call", ""],
        &["call", "demo.add", "--queue", ""],
        &["call", "demo.add", "--task-id", ""],
        &["worker", "-Q", ""],
        &["worker", "-Q", "a,,b"],
        &["queues", ""],
        &["purge", "--force", ""],
    ];
    for line in lines {
        let ended = program.run(line);
        assert_eq!(ended.code, 2, "{line:?}: {ended:?}");
        assert!(ended.err.contains("a value is required for"), "{line:?}: {ended:?}");
    }
}
