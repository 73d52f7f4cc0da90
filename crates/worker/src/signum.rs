//! Signals by their names, as Celery's clients send them.

use std::fmt;

use celeriac_protocol::Value;

/// A signal of the operating system, for a process that runs a revoked task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signum(i32);

/// Every signal that has a name on every Linux.
const NAMES: [(&str, i32); 29] = [
    ("ABRT", libc::SIGABRT),
    ("ALRM", libc::SIGALRM),
    ("BUS", libc::SIGBUS),
    ("CHLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("FPE", libc::SIGFPE),
    ("HUP", libc::SIGHUP),
    ("ILL", libc::SIGILL),
    ("INT", libc::SIGINT),
    ("IO", libc::SIGIO),
    ("KILL", libc::SIGKILL),
    ("PIPE", libc::SIGPIPE),
    ("PROF", libc::SIGPROF),
    ("QUIT", libc::SIGQUIT),
    ("SEGV", libc::SIGSEGV),
    ("STOP", libc::SIGSTOP),
    ("SYS", libc::SIGSYS),
    ("TERM", libc::SIGTERM),
    ("TRAP", libc::SIGTRAP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
    ("VTALRM", libc::SIGVTALRM),
    ("WINCH", libc::SIGWINCH),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
];

/// Signals by which somebody means that the process shall end; one that does not is killed.
const FINAL: [i32; 5] = [libc::SIGABRT, libc::SIGHUP, libc::SIGKILL, libc::SIGQUIT, libc::SIGTERM];

impl Signum {
    pub(crate) const TERM: Self = Self(libc::SIGTERM);
    pub(crate) const KILL: Self = Self(libc::SIGKILL);
    pub(crate) const USR1: Self = Self(libc::SIGUSR1);

    /// The signal of a number, or of a name with or without `SIG`.
    ///
    /// Source: `Signals.signum`, `celery/platforms.py`, Celery 5.7.0.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let known = |found: &dyn Fn(&(&str, i32)) -> bool| {
            NAMES.iter().find(|signal| found(signal)).map(|(_, number)| Self(*number))
        };
        match value {
            Value::String(name) => {
                let name = name.strip_prefix("SIG").unwrap_or(name);
                known(&|(known, _)| *known == name)
            }
            number => {
                let number = number.as_i64()?;
                known(&|(_, known)| i64::from(*known) == number)
            }
        }
    }

    /// As the operating system has it.
    pub(crate) fn number(self) -> i32 {
        self.0
    }

    /// Whether the process is meant to end by it.
    pub(crate) fn is_final(self) -> bool {
        FINAL.contains(&self.0)
    }
}

impl fmt::Display for Signum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_known_by_name_and_number() {
        for value in [Value::from("SIGKILL"), "KILL".into(), Value::Int(9)] {
            assert_eq!(Signum::of(&value), Some(Signum::KILL), "{value:?}");
        }
        for value in [Value::from("kill"), "SIGSIGKILL".into(), "".into(), Value::Int(0), Value::Null] {
            assert_eq!(Signum::of(&value), None, "{value:?}");
        }
        assert!(Signum::TERM.is_final() && !Signum::USR1.is_final());
    }
}
