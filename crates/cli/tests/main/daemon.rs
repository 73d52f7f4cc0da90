//! A worker in the background, as another user, and the file with its number.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process, test_kill_process};

use crate::harness::{DEADLINE, Program};

/// Waits until this is there.
#[expect(clippy::disallowed_methods, reason = "nothing tells of what a process that has left us does")]
fn until<T>(what: &str, mut find: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = find() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(10));
    }
}

fn pid_in(path: &Path) -> Option<Pid> {
    fs::read_to_string(path).ok()?.trim().parse().ok().and_then(Pid::from_raw)
}

/// A process that is killed when its test ends.
struct Killed(Pid);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[test]
fn in_the_background_it_works_until_it_is_told_to_end() {
    let program = Program::new();
    let (pid_file, log) = (program.folder().join("w.pid"), program.folder().join("w.log"));
    let start = ["worker", "-D", "-l", "info", "--pidfile", "w.pid", "-f", "w.log", "--umask", "077"];
    let said = program.succeed(&start);
    assert_eq!(said, "", "it has left its terminal");
    let worker = until("the file with its number", || pid_in(&pid_file));
    let _killed = Killed(worker);
    until("it is ready", || fs::read_to_string(&log).ok()?.contains("ready").then_some(()));
    let status = fs::read_to_string(format!("/proc/{}/status", worker.as_raw_nonzero())).unwrap();
    assert!(status.contains("Umask:\t0077"), "{status}");
    let session = rustix::process::getsid(Some(worker)).unwrap();
    assert_eq!(session, worker, "it has a session of its own");

    let again = program.run(&["worker", "--pidfile", "w.pid"]);
    assert_eq!(again.code, 73, "{again:?}");
    assert!(again.err.contains("Seems we're already running? (pid: "), "{}", again.err);
    let again = program.run(&start);
    assert_eq!(again.code, 73, "what is said in time is heard: {again:?}");

    assert_eq!(program.succeed(&["call", "demo.add", "-a", "[20, 22]", "--wait", "60"]), "42");
    kill_process(worker, Signal::TERM).unwrap();
    until("its file is gone", || (!pid_file.exists()).then_some(()));
    until("it has ended", || test_kill_process(worker).is_err().then_some(()));
}

#[test]
fn a_fake_fork_stays_in_the_foreground() {
    let program = Program::new().with_variable("C_FAKEFORK", "1");
    let mut worker = program.start(&["worker", "-D", "-l", "info", "--pidfile", "w.pid"]);
    worker.wait_for("ready");
    assert!(program.folder().join("w.pid").exists());
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, 0);
    assert!(!program.folder().join("w.pid").exists());
}

#[test]
fn it_runs_as_who_it_is_told_to_or_not_at_all() {
    let program = Program::new();
    let refused = program.run(&["worker", "--uid", "no-such-user-here"]);
    assert_eq!(refused.code, 1);
    assert!(
        refused.err.starts_with("error: there is no user no-such-user-here on this machine"),
        "{refused:?}"
    );
    if !geteuid().is_root() {
        let refused = program.run(&["worker", "--uid", "0"]);
        assert!(refused.err.contains("only root may do that"), "{refused:?}");
        return;
    }
    fs::set_permissions(program.folder(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut worker = program.start(&["worker", "-l", "info", "--uid", "12345", "--gid", "54321"]);
    worker.wait_for("ready");
    let owner = fs::metadata(program.folder().join("tasks.db")).unwrap();
    let (uid, gid) =
        (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
    assert_eq!((uid, gid), (12345, 54321));
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, 0);
}

#[test]
fn what_waits_can_be_removed_first() {
    let program = Program::new();
    program.succeed(&["call", "demo.add", "-a", "[1, 2]"]);
    program.succeed(&["call", "demo.add", "-a", "[1, 2]", "--queue", "other"]);
    let mut worker = program.start(&["worker", "-l", "info", "--purge", "-Q", "celery,other", "-X", "other"]);
    worker.wait_for("purge: Erased 1 message from the queue.");
    worker.wait_for("ready");
    worker.signal(Signal::TERM);
    assert_eq!(worker.end().0, 0);
}
