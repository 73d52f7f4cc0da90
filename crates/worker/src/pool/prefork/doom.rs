//! What this worker had decided about a child, and the one reason that explains its death.

use std::time::Duration;

use crate::death::{DeathReason, Ending};
use crate::signum::Signum;

/// What this worker had decided about a child before it died.
///
/// `GivenUp` ends a child for its task, as the worker will not wait for that any longer; `Shutdown` kills whatever it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    Silent {
        phase: &'static str,
        silence: Duration,
        hung_in: Option<Box<str>>,
    },
    Blocked(Duration),
    HardLimit,
    /// By this signal.
    Revoked(Signum),
    RecycleTasks {
        tasks: u64,
    },
    RecycleMemory {
        grown: u64,
    },
    Surplus,
    Restarted,
    End,
    GivenUp,
    Shutdown,
    Lingering(Duration),
    Garbled(Box<str>),
}

/// What is known of a child at its death.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    pub(super) ending: Ending,
    pub(super) doom: Option<Doom>,
    pub(super) was_ready: bool,
    pub(super) said: Option<Box<str>>,
    pub(super) oom_kills_rose: bool,
}

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The one reason that explains the evidence.
///
/// What the worker decided explains a death only if the death looks like it: a child that was told to end
/// in peace and died of a segmentation fault died of that.
pub(super) fn classify(evidence: Evidence) -> DeathReason {
    let Evidence { ending, doom, was_ready, said, oom_kills_rose } = evidence;
    if ending == Ending::Signal(SIGKILL) && oom_kills_rose && !doom.as_ref().is_some_and(Doom::kills) {
        return DeathReason::OutOfMemory;
    }
    match doom {
        Some(doom) if doom.explains(ending) => return doom.into_reason(),
        _ => {}
    }
    match (ending, said) {
        (_, said) if !was_ready => DeathReason::StartFailed { ending, said },
        (_, Some(said)) => DeathReason::Failed { ending, said },
        (Ending::Exit(code), None) => DeathReason::Exit(code),
        (Ending::Signal(signal), None) => DeathReason::Signal(signal),
        (Ending::Unknown, None) => DeathReason::StatusTaken,
    }
}

/// The severity of a sentence by which the child is killed at once.
pub(super) const DEADLY: u8 = 2;

impl Doom {
    /// Which of two sentences wins: 0 lets the child end its task, 1 kills it for its task, 2 kills it.
    pub(super) fn severity(&self) -> u8 {
        match self {
            Doom::RecycleTasks { .. }
            | Doom::RecycleMemory { .. }
            | Doom::Surplus
            | Doom::Restarted
            | Doom::End => 0,
            Doom::HardLimit | Doom::Revoked(_) | Doom::GivenUp => 1,
            Doom::Silent { .. }
            | Doom::Blocked(_)
            | Doom::Shutdown
            | Doom::Lingering(_)
            | Doom::Garbled(_) => DEADLY,
        }
    }

    /// Whether the child is to die only if it still runs the task that this is about.
    pub(super) fn is_of_its_task(&self) -> bool {
        self.severity() == 1
    }

    /// Whether the worker sends signals because of it.
    pub(super) fn kills(&self) -> bool {
        self.severity() > 0
    }

    /// What the child gets first.
    pub(super) fn signal(&self) -> Signum {
        if let Doom::Revoked(signal) = self { *signal } else { Signum::TERM }
    }

    fn explains(&self, ending: Ending) -> bool {
        match ending {
            Ending::Unknown => true,
            // A child that is being killed may also end by itself in its last moment.
            Ending::Exit(_) if self.kills() => true,
            Ending::Exit(code) => code == 0,
            Ending::Signal(signal) => {
                self.kills() && [SIGKILL, SIGTERM, self.signal().number()].contains(&signal)
            }
        }
    }

    pub(super) fn into_reason(self) -> DeathReason {
        match self {
            Doom::Silent { phase, silence, hung_in } => DeathReason::Silent { phase, silence, hung_in },
            Doom::Blocked(time) => DeathReason::Blocked(time),
            Doom::HardLimit => DeathReason::HardLimit,
            Doom::Revoked(_) => DeathReason::Revoked,
            Doom::RecycleTasks { tasks } => DeathReason::RecycledTasks { tasks },
            Doom::RecycleMemory { grown } => DeathReason::RecycledMemory { grown },
            Doom::Surplus => DeathReason::Surplus,
            Doom::Restarted => DeathReason::Restarted,
            Doom::End => DeathReason::Ended,
            Doom::Shutdown | Doom::GivenUp => DeathReason::Shutdown,
            Doom::Lingering(time) => DeathReason::Lingering(time),
            Doom::Garbled(error) => DeathReason::Garbled(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(ending: Ending) -> Evidence {
        Evidence { ending, doom: None, was_ready: true, said: None, oom_kills_rose: false }
    }

    #[test]
    fn each_evidence_has_its_own_reason_and_message() {
        let silent = Doom::Silent { phase: "init", silence: Duration::from_secs(30), hung_in: None };
        let kill = Ending::Signal(SIGKILL);
        let doomed = |doom, ending| Evidence { doom: Some(doom), ..evidence(ending) };
        let cases = [
            (Evidence { oom_kills_rose: true, ..evidence(kill) }, "oom"),
            (evidence(kill), "signal"),
            (evidence(Ending::Exit(3)), "exit"),
            (evidence(Ending::Exit(101)), "exit"),
            (Evidence { said: Some("why".into()), ..evidence(Ending::Exit(3)) }, "failed"),
            (Evidence { was_ready: false, ..evidence(Ending::Exit(3)) }, "start-failed"),
            (doomed(silent, kill), "silent"),
            (doomed(Doom::Blocked(Duration::from_secs(5)), kill), "blocked"),
            (doomed(Doom::HardLimit, Ending::Signal(SIGTERM)), "hard-time-limit"),
            (doomed(Doom::Revoked(Signum::TERM), kill), "revoked"),
            (doomed(Doom::RecycleTasks { tasks: 7 }, Ending::Exit(0)), "recycled-tasks"),
            (doomed(Doom::RecycleMemory { grown: 1 << 20 }, Ending::Exit(0)), "recycled-memory"),
            (doomed(Doom::Surplus, Ending::Exit(0)), "surplus"),
            (doomed(Doom::Restarted, Ending::Exit(0)), "restarted"),
            (doomed(Doom::End, Ending::Exit(0)), "ended"),
            (doomed(Doom::Shutdown, kill), "shutdown"),
            (doomed(Doom::Lingering(Duration::from_secs(30)), Ending::Signal(SIGTERM)), "lingering"),
            (doomed(Doom::Garbled("no".into()), kill), "garbled"),
            (evidence(Ending::Unknown), "status-taken"),
        ];
        let mut messages = std::collections::HashSet::new();
        for (evidence, code) in cases {
            let reason = classify(evidence);
            assert_eq!(reason.code(), code);
            assert!(messages.insert(reason.to_string()), "{code} shares its message: {reason}");
        }
    }

    #[test]
    fn a_crash_during_an_orderly_end_is_a_crash() {
        let crashed = Evidence { doom: Some(Doom::End), ..evidence(Ending::Signal(11)) };
        assert_eq!(classify(crashed), DeathReason::Signal(11));
        let failed = Evidence { doom: Some(Doom::RecycleTasks { tasks: 1 }), ..evidence(Ending::Exit(101)) };
        assert_eq!(classify(failed), DeathReason::Exit(101));
    }

    #[test]
    fn the_kill_of_this_worker_is_not_blamed_on_the_kernel() {
        let ours = Evidence {
            doom: Some(Doom::HardLimit),
            oom_kills_rose: true,
            ..evidence(Ending::Signal(SIGKILL))
        };
        assert_eq!(classify(ours), DeathReason::HardLimit);
    }
}
