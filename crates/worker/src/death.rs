//! Why a child process died: one record per death, and no two reasons share a message.

use std::fmt;
use std::time::Duration;

use celeriac_protocol::{TaskId, TaskName};

/// The end of one child process: logged once, and the evidence when a task died with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ChildDeath {
    /// The name of the child, as its log lines carry it.
    pub child: Box<str>,
    /// Its process id, free for others from now on.
    pub pid: u32,
    /// Why it ended.
    pub reason: DeathReason,
    /// The task that it was running.
    pub task_id: Option<TaskId>,
    /// The name of that task.
    pub task_name: Option<TaskName>,
    /// How long that task had been running; zero without one.
    pub runtime: Duration,
    /// The most memory it ever held, in bytes.
    pub resident_bytes: Option<u64>,
    /// How long the child had lived.
    pub lived: Duration,
}

/// The exit codes that a child has a reason for.
pub(crate) mod exit_code {
    /// It could not do what it was started for. Source: `EX_SOFTWARE`, sysexits.h(3head).
    pub(crate) const FAILED: u8 = 70;
    /// It could not reach its parent any more. Source: `EX_IOERR`, sysexits.h(3head).
    pub(crate) const CUT_OFF: u8 = 74;
    /// It panicked outside of a task, as a program of Rust then ends.
    pub(crate) const PANICKED: u8 = 101;
}

/// The class of reason for the end of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeathReason {
    /// The kernel killed it for want of memory.
    OutOfMemory,
    /// A signal that this worker did not send.
    Signal(i32),
    /// It ended by itself while it should have gone on.
    Exit(i32),
    /// It ended because it could not go on, and said why.
    Failed {
        /// How it ended.
        ending: Ending,
        /// What it said of it.
        said: Box<str>,
    },
    /// It ended before it was ready for its first task.
    StartFailed {
        /// How it ended.
        ending: Ending,
        /// What it said of it, if it could.
        said: Option<Box<str>>,
    },
    /// It gave no sign of life for so long, and was killed.
    Silent {
        /// What it was doing when last heard of.
        phase: &'static str,
        /// How long it had been silent.
        silence: Duration,
        /// Where it hung, as far as the system tells.
        hung_in: Option<Box<str>>,
    },
    /// One of its tasks was to stop, and kept all others waiting for so long instead.
    Blocked(Duration),
    /// Its task ran beyond the hard time limit, and it was killed.
    HardLimit,
    /// Its task was revoked with terminate, and it was killed.
    Revoked,
    /// It had run as many tasks as a child may.
    RecycledTasks {
        /// How many it ran.
        tasks: u64,
    },
    /// It had grown by more memory than a child may.
    RecycledMemory {
        /// By how many bytes it had grown since its start.
        grown: u64,
    },
    /// The pool was made smaller.
    Surplus,
    /// The pool was told to start anew.
    Restarted,
    /// It was told to end because the worker ended, and did.
    Ended,
    /// It was killed because the worker ended and it did not, in time.
    Shutdown,
    /// It was told to end, did not within this time, and was killed.
    Lingering(Duration),
    /// What it wrote on its socket was no frame, and it was killed.
    Garbled(Box<str>),
    /// Something else in this process waited for it and took its exit status.
    StatusTaken,
}

/// How a process ended, as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// Nobody knows: its status was taken by something else in this process.
    Unknown,
}

impl ChildDeath {
    /// The one line of the log about it, where so many other tasks died with the child.
    pub(crate) fn log(&self, others: usize) {
        let (child, task_id) = (&*self.child, self.task_id.as_ref().map(TaskId::as_str));
        let task_name = self.task_name.as_ref().map(TaskName::as_str);
        let (pid, code, lived, resident_bytes) =
            (self.pid, self.reason.code(), self.lived, self.resident_bytes);
        if !self.is_trouble() {
            tracing::info!(child, pid, code, ?lived, resident_bytes, "child process {}", self.reason);
        } else {
            tracing::error!(
                child,
                pid,
                code,
                task_id,
                task_name,
                others = (others > 0).then_some(others),
                ?lived,
                resident_bytes,
                "Process '{child}' pid:{pid} exited with '{}': it {}",
                self.reason.human_status(),
                self.reason
            );
        }
    }

    /// Whether somebody should look into it: not where an idle child went as it was meant to, or as its worker decided.
    fn is_trouble(&self) -> bool {
        let decided = self.reason.is_orderly() || self.reason == DeathReason::Shutdown;
        self.task_id.is_some() || !decided
    }
}

impl DeathReason {
    /// A stable word for the class, as logs and the failed store carry it.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            DeathReason::OutOfMemory => "oom",
            DeathReason::Signal(_) => "signal",
            DeathReason::Exit(_) => "exit",
            DeathReason::Failed { .. } => "failed",
            DeathReason::StartFailed { .. } => "start-failed",
            DeathReason::Silent { .. } => "silent",
            DeathReason::Blocked(_) => "blocked",
            DeathReason::HardLimit => "hard-time-limit",
            DeathReason::Revoked => "revoked",
            DeathReason::RecycledTasks { .. } => "recycled-tasks",
            DeathReason::RecycledMemory { .. } => "recycled-memory",
            DeathReason::Surplus => "surplus",
            DeathReason::Restarted => "restarted",
            DeathReason::Ended => "ended",
            DeathReason::Shutdown => "shutdown",
            DeathReason::Lingering(_) => "lingering",
            DeathReason::Garbled(_) => "garbled",
            DeathReason::StatusTaken => "status-taken",
        }
    }

    /// How the process ended, in the words of billiard, which has none for why.
    ///
    /// Source: billiard/common.py, `human_status`, billiard 4.3.2.
    pub(crate) fn human_status(&self) -> String {
        let ending = match self {
            DeathReason::Exit(code) => Ending::Exit(*code),
            DeathReason::Signal(signal) => Ending::Signal(*signal),
            DeathReason::Failed { ending, .. } | DeathReason::StartFailed { ending, .. } => *ending,
            orderly if orderly.is_orderly() => Ending::Exit(0),
            DeathReason::StatusTaken => Ending::Unknown,
            _ => Ending::Signal(9),
        };
        match ending {
            Ending::Exit(code) => format!("exitcode {code}"),
            other => other.to_string(),
        }
    }

    /// Whether the child ended as it was meant to.
    pub(crate) fn is_orderly(&self) -> bool {
        matches!(
            self,
            DeathReason::RecycledTasks { .. }
                | DeathReason::RecycledMemory { .. }
                | DeathReason::Surplus
                | DeathReason::Restarted
                | DeathReason::Ended
        )
    }
}

impl fmt::Display for DeathReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeathReason::OutOfMemory => f.write_str("was killed by the kernel for want of memory (OOM)"),
            DeathReason::Signal(signal) => {
                write!(f, "was killed by {}, not sent by this worker", Signal(*signal))
            }
            DeathReason::Exit(code) => {
                write!(f, "ended by itself with exit code {code}")?;
                meaning(*code).map_or(Ok(()), |meaning| write!(f, ", {meaning}"))
            }
            DeathReason::Failed { ending, said } => write!(f, "could not go on: {said} ({ending})"),
            DeathReason::StartFailed { ending, said: None } => write!(f, "died while it started: {ending}"),
            DeathReason::StartFailed { ending, said: Some(said) } => {
                write!(f, "died while it started: {said} ({ending})")
            }
            DeathReason::Silent { phase, silence, hung_in } => {
                write!(f, "was killed after {:.1} s of silence while {phase}", silence.as_secs_f64())?;
                hung_in.iter().try_for_each(|place| write!(f, ", hanging in {place}"))
            }
            DeathReason::Blocked(time) => write!(
                f,
                "was killed because a task that was to stop kept all others waiting for {:.1} s",
                time.as_secs_f64()
            ),
            DeathReason::HardLimit => f.write_str("was killed at the hard time limit of its task"),
            DeathReason::Revoked => f.write_str("was killed to terminate its revoked task"),
            DeathReason::RecycledTasks { tasks } => write!(f, "was recycled after {tasks} tasks"),
            DeathReason::RecycledMemory { grown } => {
                write!(f, "was recycled after growing by {:.1} MiB", *grown as f64 / f64::from(1 << 20))
            }
            DeathReason::Surplus => f.write_str("ended because the pool was made smaller"),
            DeathReason::Restarted => f.write_str("was replaced because the pool was told to start anew"),
            DeathReason::Ended => f.write_str("ended with the worker"),
            DeathReason::Shutdown => {
                f.write_str("was killed because the worker ended without waiting for it")
            }
            DeathReason::Lingering(time) => {
                write!(
                    f,
                    "was killed because it had not ended {:.1} s after it was told to",
                    time.as_secs_f64()
                )
            }
            DeathReason::Garbled(error) => {
                write!(f, "was killed because its socket carried no frames: {error}")
            }
            DeathReason::StatusTaken => {
                f.write_str("ended, and its status was taken by other code of this process")
            }
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Exit(code) => write!(f, "exit code {code}"),
            Ending::Signal(signal) => write!(f, "{}", Signal(*signal)),
            Ending::Unknown => f.write_str("status unknown"),
        }
    }
}

/// What an exit code means if it is that of a child itself, and not of the code in it.
fn meaning(code: i32) -> Option<&'static str> {
    match u8::try_from(code).ok()? {
        exit_code::FAILED => Some("as when it cannot go on"),
        exit_code::CUT_OFF => Some("as when its connection to the worker is broken"),
        exit_code::PANICKED => Some("as after a panic outside of a task"),
        _ => None,
    }
}

/// A signal by number and, where it has one everywhere, by name.
struct Signal(i32);

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => " (SIGHUP)",
            2 => " (SIGINT)",
            3 => " (SIGQUIT)",
            4 => " (SIGILL)",
            6 => " (SIGABRT)",
            8 => " (SIGFPE)",
            9 => " (SIGKILL)",
            11 => " (SIGSEGV)",
            13 => " (SIGPIPE)",
            14 => " (SIGALRM)",
            15 => " (SIGTERM)",
            _ => "",
        };
        write!(f, "signal {}{name}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_child_that_is_killed_with_its_worker_is_no_trouble() {
        let idle = |reason| ChildDeath {
            child: "child-1".into(),
            pid: 7,
            reason,
            task_id: None,
            task_name: None,
            runtime: Duration::ZERO,
            resident_bytes: None,
            lived: Duration::ZERO,
        };
        assert!(!idle(DeathReason::Shutdown).is_trouble() && !idle(DeathReason::Ended).is_trouble());
        assert!(idle(DeathReason::Signal(9)).is_trouble());
        let busy = ChildDeath { task_id: Some("t".into()), ..idle(DeathReason::Shutdown) };
        assert!(busy.is_trouble());
    }
}
