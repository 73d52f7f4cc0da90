//! One child process as its parent holds it: a pidfd to watch and signal it, and what `/proc` tells of it.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;

use super::sys::{self, Remains};

/// A child that has not been reaped.
///
/// Signals go through its pidfd, so they cannot reach another process that was given its number.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    pidfd: OwnedFd,
}

impl Process {
    /// Takes charge of a child that was just started and is not waited for by anyone else.
    pub(super) fn adopt(child: &std::process::Child) -> io::Result<Self> {
        Self::adopt_pid(Pid::from_child(child))
    }

    /// The same for one that another process has started and left to this one.
    pub(super) fn adopt_pid(pid: Pid) -> io::Result<Self> {
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK)?;
        Ok(Self { pid, pidfd })
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to the child alone. A child that is already dead is no error.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = rustix::process::pidfd_send_signal(&self.pidfd, signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::error!(pid = self.id(), %error, "cannot signal a child process");
        }
    }

    /// Lets the runtime watch for the death of the child: its pidfd then becomes readable.
    pub(super) fn watch(&self) -> io::Result<AsyncFd<OwnedFd>> {
        sys::watch(self.pidfd.try_clone()?)
    }

    /// Takes the exit status of the dead child, or nothing if it lives.
    ///
    /// With `group`, what the child's task had started in the child's process group is killed first: until
    /// the child is reaped its number, which is also the group's, cannot belong to anyone else.
    pub(super) fn reap(&self, group: bool) -> Option<Remains> {
        if group {
            // Fails when the group has no other member, which is the common case.
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        }
        sys::reap(self.pid)
    }

    /// Where the process hangs, for people: its state, and the kernel function it waits in.
    pub(super) fn hung_in(&self) -> Option<Box<str>> {
        let root = format!("/proc/{}", self.id());
        let status = fs::read_to_string(format!("{root}/status")).ok()?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:"))?.trim();
        let place = fs::read_to_string(format!("{root}/wchan")).unwrap_or_default();
        let stack = fs::read_to_string(format!("{root}/stack")).unwrap_or_default();
        let frames: Vec<&str> = stack.lines().filter_map(|line| line.split("] ").nth(1)).take(6).collect();
        let text = match (frames.is_empty(), place.as_str()) {
            (false, _) => format!("state {state}, {}", frames.join(" < ")),
            (true, "" | "0") => format!("state {state}"),
            (true, place) => format!("state {state}, {place}"),
        };
        Some(text.into_boxed_str())
    }
}

/// The memory this process holds now, in bytes, or zero where the system does not tell.
pub(crate) fn resident_memory() -> u64 {
    let pages = || fs::read_to_string("/proc/self/statm").ok()?.split(' ').nth(1)?.parse::<u64>().ok();
    pages().unwrap_or(0) * rustix::param::page_size() as u64
}
