//! Stores that cannot be used: each is named with what to do about it.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;

use crate::harness::Program;

#[test]
fn a_url_that_means_nothing_says_what_would() {
    let ended = Program::new().run(&["queues", "-b", "mongodb://me:secret@host/db"]);
    assert_eq!(ended.code, 1);
    let expected = "\
error: the store cannot be opened
  cause: store URL mongodb://me:***@host/db: no such kind of store here: use redis://host:6379/0 (or rediss, redis+socket, sentinel), sqlite:///tasks.db or memory://NAME
";
    assert_eq!(ended.err, expected);
}

#[test]
fn a_corrupt_file_is_named_and_left_as_it_is() {
    let program = Program::new();
    let junk = "this is no database, but a text of some length. ".repeat(100);
    let path = program.write("tasks.db", &junk);
    for args in [&["queues"][..], &["call", "demo.add"], &["worker"]] {
        let ended = program.run(args);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.err.starts_with("error: the store cannot be opened\n  cause: "), "{}", ended.err);
        assert!(ended.err.contains("tasks.db is not a usable database"), "{}", ended.err);
        assert!(ended.err.contains("move it away, or restore it from a backup"), "{}", ended.err);
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), junk);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    // A superuser may write everywhere but to what is no real folder.
    let program = Program::new();
    let read_only = program.folder().join("read-only");
    std::fs::create_dir(&read_only).unwrap();
    std::fs::set_permissions(&read_only, std::fs::Permissions::from_mode(0o500)).unwrap();
    let superuser = std::fs::write(read_only.join("probe"), "").is_ok();
    let url = if superuser { "sqlite:////proc/tasks.db" } else { "sqlite:///read-only/tasks.db" };
    let ended = program.run(&["queues", "-b", url]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("error: the store cannot be opened\n  cause: "), "{}", ended.err);
    assert!(ended.err.contains("tasks.db"), "{}", ended.err);
}

#[test]
fn commands_and_a_warm_worker_close_the_files_of_the_store() {
    let program = Program::new();
    let files = || {
        let names = std::fs::read_dir(program.folder()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        // The folder of the pipes stays.
        names.retain(|name| name != "tasks.db-wake");
        names
    };
    for args in [&["call", "demo.add", "-a", "[1, 2]"][..], &["queues"], &["failed", "list"]] {
        program.run(args);
        assert_eq!(files(), ["tasks.db"], "{args:?}");
    }
    let worker = program.start_worker(&["-c", "1"]);
    program.succeed(&["call", "demo.pid", "--wait", "60"]);
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, 0);
    assert_eq!(files(), ["tasks.db"]);
}

#[test]
fn a_store_of_a_newer_version_is_not_touched() {
    let program = Program::new();
    program.succeed(&["call", "demo.add", "--task-id", "kept"]);
    let path = program.folder().join("tasks.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 4711).unwrap();
    drop(database);
    let ended = program.run(&["worker"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("has schema version 4711, this program knows up to"), "{}", ended.err);
    assert!(ended.err.contains("use a newer celeriac"), "{}", ended.err);
}
