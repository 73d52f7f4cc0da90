//! Reaping what others leave behind: the duty of the first process of a container.
//!
//! A process whose parent has ended becomes a child of process 1, or of its nearest ancestor that has asked for it
//! (`PR_SET_CHILD_SUBREAPER`, prctl(2)). When it ends it stays a zombie until that one waits for it, and where that is
//! a worker nobody would.
//!
//! Waiting for whatever has ended would steal the exit statuses that other code of this process waits for. What tells
//! orphans from its own children:
//!
//! - the kernel gives orphans to the main thread, and a process that any other thread started stays with that thread;
//! - a process of another session, or of a group that is neither this process's nor its own, was started elsewhere;
//! - nobody waits for what has been a zombie for long.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, child_subreaper, getpid, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, timeout};

/// How long a zombie that may be a child of this process's own is left to whoever started it.
const OWNERS_TURN: Duration = Duration::from_secs(10);

/// Whether orphans become children of this process.
pub(crate) fn come_here() -> bool {
    getpid().as_raw_nonzero().get() == 1 || child_subreaper().is_ok_and(|set| set.is_some())
}

/// Reaps orphans whenever something has ended, for ever.
pub(crate) async fn reap() {
    let mut ended = match signal(SignalKind::child()) {
        Ok(ended) => ended,
        Err(error) => return tracing::warn!(%error, "orphaned processes stay zombies: SIGCHLD is not heard"),
    };
    let mut orphans = Orphans::default();
    loop {
        match orphans.sweep(Instant::now()) {
            Err(error) => {
                return tracing::warn!(%error, "orphaned processes stay zombies: the kernel does not list them");
            }
            Ok(true) => drop(timeout(OWNERS_TURN, ended.recv()).await),
            Ok(false) => drop(ended.recv().await),
        }
    }
}

/// The zombies that may be of this process's own, and since when.
#[derive(Debug, Default)]
struct Orphans {
    doubtful: HashMap<Stat, Instant>,
}

impl Orphans {
    /// Reaps every orphan that has ended. Says whether zombies are left of which that is not sure yet.
    ///
    /// # Errors
    /// What the system says of a kernel without `CONFIG_PROC_CHILDREN`.
    fn sweep(&mut self, now: Instant) -> io::Result<bool> {
        let this = Stat::read("self").ok_or_else(|| io::Error::other("/proc is not what it should be"))?;
        let adopted = fs::read_to_string(format!("/proc/self/task/{0}/children", this.pid))?;
        let mut doubtful = HashMap::new();
        for zombie in adopted.split_whitespace().filter_map(Stat::read).filter(|child| child.is_zombie) {
            let since = self.doubtful.get(&zombie).copied().unwrap_or(now);
            if zombie.was_started_elsewhere(&this) || now.duration_since(since) >= OWNERS_TURN {
                zombie.reap();
            } else {
                doubtful.insert(zombie, since);
            }
        }
        self.doubtful = doubtful;
        Ok(!self.doubtful.is_empty())
    }
}

/// What `/proc/PID/stat` says of a process. Source: proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq, Hash)]
struct Stat {
    pid: i32,
    is_zombie: bool,
    group: i32,
    session: i32,
    /// When it started, in ticks since the machine did: tells it from a later process of the same number.
    started: u64,
}

impl Stat {
    fn read(process: &str) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
    }

    fn parse(line: &str) -> Option<Self> {
        // The name of the program, in parentheses, may hold anything.
        let (start, rest) = (line.split_once(' ')?.0, line.rsplit_once(") ")?.1);
        let fields: Vec<&str> = rest.split(' ').collect();
        Some(Self {
            pid: start.parse().ok()?,
            is_zombie: *fields.first()? == "Z",
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// Whether it cannot be a child that `this` process started.
    fn was_started_elsewhere(&self, this: &Self) -> bool {
        self.session != this.session || (self.group != this.group && self.group != self.pid)
    }

    fn reap(&self) {
        let Some(pid) = Pid::from_raw(self.pid) else { return };
        match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(_) => tracing::debug!(pid = self.pid, "an orphaned process was reaped"),
            Err(error) => tracing::debug!(pid = self.pid, %error, "an orphaned process is gone already"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;

    use super::*;

    /// Starts a process that ends at once, and waits until it is a zombie.
    fn zombie() -> std::process::Child {
        let child = Command::new("true").spawn().unwrap();
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).unwrap();
        child
    }

    fn exists(child: &std::process::Child) -> bool {
        Stat::read(&child.id().to_string()).is_some()
    }

    #[test]
    fn children_of_other_threads_are_left_to_them() {
        let on_another_thread = || {
            let mut child = zombie();
            let mut orphans = Orphans::default();
            orphans.sweep(Instant::now()).unwrap();
            orphans.sweep(Instant::now() + OWNERS_TURN).unwrap();
            assert!(child.wait().unwrap().success());
        };
        thread::spawn(on_another_thread).join().unwrap();
    }

    #[test]
    fn what_may_be_a_child_of_ours_is_reaped_only_after_a_while() {
        // Its thread has ended, so it has come to the main thread, as orphans do.
        let mut child = thread::spawn(zombie).join().unwrap();
        let (mut orphans, now) = (Orphans::default(), Instant::now());
        assert!(orphans.sweep(now).unwrap());
        assert!(exists(&child), "its owner may want its status");
        orphans.sweep(now + OWNERS_TURN).unwrap();
        assert!(!exists(&child));
        assert!(child.wait().is_err());
    }

    #[test]
    fn what_was_started_elsewhere_is_told_by_its_group_and_session() {
        let stat = |pid, group, session| Stat { pid, is_zombie: true, group, session, started: 0 };
        let this = stat(1, 1, 1);
        for (pid, group, session, elsewhere) in
            [(7, 1, 1, false), (7, 7, 1, false), (7, 5, 1, true), (7, 7, 7, true), (7, 0, 0, true)]
        {
            assert_eq!(
                stat(pid, group, session).was_started_elsewhere(&this),
                elsewhere,
                "{group} {session}"
            );
        }
    }

    #[test]
    fn a_program_may_have_any_name() {
        let line = "42 (a) Z (b) Z 1 5 6 0 -1 4 0 0 0 0 1 2 0 0 20 0 1 0 777 0 0";
        let stat = Stat { pid: 42, is_zombie: true, group: 5, session: 6, started: 777 };
        assert_eq!(Stat::parse(line), Some(stat));
    }
}
