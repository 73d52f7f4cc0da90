//! How a worker is asked to stop, and the phases in which it does.

use tokio::sync::watch;

use crate::Exit;

/// Asks a worker to stop. Cheap to clone; tests drive a worker with it, and processes with their signals.
///
/// The first ask begins a warm shutdown: nothing more is fetched, what waits goes back at once, what runs may end.
/// A second one begins a cold shutdown: what runs is given up and goes back too.
#[derive(Clone, Debug)]
pub struct Stopper(watch::Sender<Asked>);

/// The worker's end of a [`Stopper`].
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Asked>);

/// How often, and how first, a shutdown was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    times: u32,
    interrupted: bool,
    cold: bool,
    /// Whether a cold shutdown begins with a time in which running tasks may end.
    soft: bool,
    /// The first signal, if it was one.
    signal: Option<StopSignal>,
}

/// A signal of the operating system that asks a worker to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopSignal {
    Terminate,
    Interrupt,
    Quit,
    Hangup,
}

impl StopSignal {
    /// Its name, as people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Terminate => "SIGTERM",
            Self::Interrupt => "SIGINT",
            Self::Quit => "SIGQUIT",
            Self::Hangup => "SIGHUP",
        }
    }
}

impl Asked {
    /// Asked for once, by whatever it was.
    pub(crate) const ONCE: Self =
        Self { times: 1, interrupted: false, cold: false, soft: false, signal: None };

    /// Whether it is to end cold.
    pub(crate) fn is_cold(self) -> bool {
        self.cold || self.times > 1
    }

    /// How a worker ends that has nothing to end first.
    pub(crate) fn exit(self) -> Exit {
        Phase::Working.next(Turn::Asked(self)).exit().unwrap_or(Exit::Warm)
    }

    /// The name of the signal that began the shutdown, if it was one.
    pub(crate) fn signal(self) -> Option<&'static str> {
        self.signal.map(StopSignal::name)
    }
}

impl Shutdown {
    /// A shutdown that nobody has asked for yet, and the means to do so.
    pub fn new() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(Asked::default());
        (Stopper(sender), Self(receiver))
    }

    /// Waits until it is asked for, and says how a worker ends then that has not begun to start. Cancel safe.
    pub async fn before_start(&mut self) -> Exit {
        self.asked().await.exit()
    }

    /// Waits until it is asked for (again). For ever, once every [`Stopper`] is gone. Cancel safe.
    pub(crate) async fn asked(&mut self) -> Asked {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        *self.0.borrow_and_update()
    }
}

impl Stopper {
    /// As SIGTERM: warm the first time, cold the second.
    pub fn terminate(&self) {
        self.0.send_modify(|asked| asked.times += 1);
    }

    /// As SIGINT: the same, but the exit code of a warm shutdown is 1.
    pub fn interrupt(&self) {
        self.0.send_modify(|asked| {
            asked.interrupted |= asked.times == 0;
            asked.times += 1;
        });
    }

    /// As SIGQUIT: cold at once.
    pub fn quit(&self) {
        self.0.send_modify(|asked| {
            asked.times += 1;
            asked.cold = true;
        });
    }

    /// From now on, running tasks may go on for a while when a cold shutdown is asked for.
    ///
    /// Source: `celery/worker/worker.py`, `WorkController.wait_for_soft_shutdown`, Celery 5.7.0.
    pub fn soften(&self) {
        self.0.send_if_modified(|asked| {
            asked.soft = true;
            false
        });
    }

    /// The operating system has sent this signal. A closed terminal is as good as SIGTERM.
    pub(crate) fn heard(&self, signal: StopSignal) {
        self.0.send_if_modified(|asked| {
            if asked.times == 0 {
                asked.signal = Some(signal);
            }
            false
        });
        match signal {
            StopSignal::Terminate | StopSignal::Hangup => self.terminate(),
            StopSignal::Interrupt => self.interrupt(),
            StopSignal::Quit => self.quit(),
        }
    }
}

/// Where a worker is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It fetches and runs tasks.
    Working,
    /// It fetches no more; what runs may end.
    Draining(Exit),
    /// The deadline is near: what runs was told to stop and may clean up.
    Cancelling(Exit),
    /// What still runs is given up and goes back to its queue without counting.
    Returning(Exit),
    /// Nothing is left.
    Over(Exit),
}

/// What moves a worker from phase to phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// A shutdown was asked for.
    Asked(Asked),
    /// The time of this phase is over.
    TimeUp,
    /// Nothing runs, and every outcome is durable.
    Empty,
}

impl Phase {
    /// The phase after `turn`. Pure: the caller does what entering the new phase asks for.
    pub(crate) fn next(self, turn: Turn) -> Self {
        match (self, turn) {
            (Self::Over(_), _) | (Self::Working, Turn::TimeUp | Turn::Empty) => self,
            (Self::Returning(exit), Turn::Asked(_)) => Self::Returning(exit),
            (Self::Returning(exit), Turn::TimeUp) => Self::Over(exit),
            (
                Self::Working | Self::Draining(Exit::Warm | Exit::Interrupted) | Self::Cancelling(_),
                Turn::Asked(asked),
            ) if asked.soft && asked.is_cold() => Self::Draining(Exit::Cold),
            (_, Turn::Asked(asked)) if asked.is_cold() => Self::Returning(Exit::Cold),
            (Self::Working, Turn::Asked(asked)) if asked.interrupted => Self::Draining(Exit::Interrupted),
            (Self::Working, Turn::Asked(_)) => Self::Draining(Exit::Warm),
            (Self::Draining(_) | Self::Cancelling(_), Turn::Asked(_)) => self,
            (Self::Draining(exit), Turn::TimeUp) => Self::Cancelling(exit),
            (Self::Cancelling(exit), Turn::TimeUp) => Self::Returning(exit),
            (Self::Draining(exit) | Self::Cancelling(exit) | Self::Returning(exit), Turn::Empty) => {
                Self::Over(exit)
            }
        }
    }

    /// How the worker will have ended, once it has been told to.
    pub(crate) fn exit(self) -> Option<Exit> {
        match self {
            Self::Working => None,
            Self::Draining(exit) | Self::Cancelling(exit) | Self::Returning(exit) | Self::Over(exit) => {
                Some(exit)
            }
        }
    }

    /// Whether the worker takes new work.
    pub(crate) fn is_working(self) -> bool {
        self == Self::Working
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Asked = Asked::ONCE;
    const TWICE: Asked = Asked { times: 2, ..ONCE };

    #[test]
    fn the_second_ask_is_cold() {
        let draining = Phase::Working.next(Turn::Asked(ONCE));
        assert_eq!(draining, Phase::Draining(Exit::Warm));
        assert_eq!(draining.next(Turn::Asked(TWICE)), Phase::Returning(Exit::Cold));
    }

    #[tokio::test]
    async fn the_first_signal_is_remembered_and_a_hangup_is_warm() {
        let (stopper, mut shutdown) = Shutdown::new();
        stopper.heard(StopSignal::Hangup);
        let asked = shutdown.asked().await;
        assert_eq!(asked.signal(), Some("SIGHUP"));
        assert_eq!(Phase::Working.next(Turn::Asked(asked)), Phase::Draining(Exit::Warm));
        stopper.heard(StopSignal::Quit);
        let asked = shutdown.asked().await;
        assert_eq!(asked.signal(), Some("SIGHUP"));
        assert_eq!(Phase::Draining(Exit::Warm).next(Turn::Asked(asked)), Phase::Returning(Exit::Cold));
    }

    #[test]
    fn a_soft_shutdown_waits_before_it_is_cold() {
        let soft = Asked { soft: true, ..ONCE };
        let quit = Asked { cold: true, ..soft };
        let again = Asked { times: 2, ..soft };
        assert_eq!(Phase::Working.next(Turn::Asked(soft)), Phase::Draining(Exit::Warm));
        for phase in [
            Phase::Working.next(Turn::Asked(quit)),
            Phase::Draining(Exit::Interrupted).next(Turn::Asked(again)),
            Phase::Draining(Exit::Warm).next(Turn::Asked(quit)),
        ] {
            assert_eq!(phase, Phase::Draining(Exit::Cold));
            assert_eq!(phase.next(Turn::Empty), Phase::Over(Exit::Cold));
            assert_eq!(phase.next(Turn::Asked(Asked { times: 3, ..quit })), Phase::Returning(Exit::Cold));
        }
    }

    #[test]
    fn two_asks_at_once_are_cold() {
        assert_eq!(Phase::Working.next(Turn::Asked(TWICE)), Phase::Returning(Exit::Cold));
    }

    #[test]
    fn tasks_are_told_before_they_are_given_up() {
        let draining = Phase::Working.next(Turn::Asked(ONCE));
        let cancelling = draining.next(Turn::TimeUp);
        assert_eq!(cancelling, Phase::Cancelling(Exit::Warm));
        assert_eq!(cancelling.next(Turn::TimeUp), Phase::Returning(Exit::Warm));
    }

    #[test]
    fn what_cannot_be_given_up_does_not_hold_the_worker() {
        assert_eq!(Phase::Returning(Exit::Cold).next(Turn::TimeUp), Phase::Over(Exit::Cold));
    }

    #[test]
    fn a_worker_without_work_ends_at_once() {
        assert_eq!(Phase::Draining(Exit::Interrupted).next(Turn::Empty), Phase::Over(Exit::Interrupted));
    }

    #[test]
    fn an_idle_worker_goes_on_working() {
        assert_eq!(Phase::Working.next(Turn::Empty), Phase::Working);
    }

    #[test]
    fn exit_codes_are_those_of_celery() {
        assert_eq!([Exit::Warm, Exit::Interrupted, Exit::Cold].map(Exit::code), [0, 1, 0]);
    }
}
