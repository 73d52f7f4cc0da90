//! How long the steps of a shutdown may take, so that all of them together end when they should.

use std::time::Duration;

use tokio::time::Instant;

use crate::Options;

/// How long a warm shutdown goes on after its deadline: children are killed, the store takes what goes back, idle threads
/// drop their resources.
const AFTERMATH: Duration = Duration::from_millis(1500);

/// The same from the beginning of a cold shutdown.
const COLD: Duration = Duration::from_secs(5);

/// What a step gets however late it is.
const MOMENT: Duration = Duration::from_millis(100);

/// Running tasks are asked to stop in the last fifth of the time, at the earliest.
const PARTS: u32 = 5;

/// The time that a shutdown has. None of it is limited before one begins, nor where tasks may take as long as they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeLeft {
    /// When running tasks are asked to stop.
    pub(crate) ask: Option<Instant>,
    /// The deadline: when what still runs goes back.
    pub(crate) give_back: Option<Instant>,
    /// When everything is over.
    by: Option<Instant>,
}

impl TimeLeft {
    /// The time of a warm shutdown that begins now.
    pub(super) fn warm(options: &Options, now: Instant) -> Self {
        let Some(timeout) = options.shutdown_timeout else { return Self::default() };
        // A timeout beyond the end of the clock is none.
        let Some(deadline) = now.checked_add(timeout) else { return Self::default() };
        let ask = deadline - grace(options, timeout);
        Self { ask: Some(ask), give_back: Some(deadline), by: deadline.checked_add(AFTERMATH) }
    }

    /// The time of a cold shutdown before which running tasks may go on for so long.
    pub(super) fn soft(timeout: Duration, now: Instant) -> Self {
        let Some(deadline) = now.checked_add(timeout) else { return Self::default() };
        Self { ask: Some(deadline), give_back: Some(deadline), by: deadline.checked_add(AFTERMATH) }
    }

    /// The time that is left once the shutdown has become a cold one.
    pub(super) fn cold(self, now: Instant) -> Self {
        let by = now + COLD;
        Self { by: Some(self.by.map_or(by, |warm| warm.min(by))), ..self }
    }

    /// When a step that begins now and should take no longer than `most` is given up.
    pub(crate) fn step(self, now: Instant, most: Duration) -> Instant {
        let until = now + most;
        self.by.map_or(until, |by| until.min(by.max(now + MOMENT)))
    }
}

/// How long before the deadline running tasks are asked to stop.
fn grace(options: &Options, timeout: Duration) -> Duration {
    options.shutdown_grace.min(timeout / PARTS)
}

#[cfg(test)]
mod tests {
    use celeriac_app::Settings;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn after(timeout: Option<u64>, now: Instant) -> TimeLeft {
        let mut options = Options::from_settings(&Settings::default(), "w");
        if let Some(seconds) = timeout {
            options.shutdown_timeout = Some(Duration::from_secs(seconds));
        }
        TimeLeft::warm(&options, now)
    }

    #[test]
    fn with_default_settings_everything_is_over_before_an_orchestrator_kills() {
        let now = Instant::now();
        let left = after(None, now);
        assert_eq!(left.ask.unwrap() - now, Duration::from_secs(20));
        assert_eq!(left.give_back.unwrap() - now, Duration::from_secs(25));
        let over = left.step(left.give_back.unwrap(), LONG) - now;
        assert!(over <= Duration::from_secs(27), "{over:?}");
    }

    #[test]
    fn a_short_timeout_leaves_most_of_itself_to_running_tasks() {
        let now = Instant::now();
        let left = after(Some(2), now);
        assert_eq!(left.ask.unwrap() - now, Duration::from_millis(1600));
        let over = left.step(now, LONG) - now;
        assert!(over <= Duration::from_secs(4), "{over:?}");
        let none = after(Some(0), now);
        assert_eq!((none.ask, none.give_back), (Some(now), Some(now)));
    }

    #[test]
    fn steps_share_the_time_and_none_gets_nothing() {
        let now = Instant::now();
        let left = after(Some(2), now);
        let short = Duration::from_millis(10);
        assert_eq!(left.step(now, short) - now, short);
        let late = now + LONG;
        assert_eq!(left.step(late, LONG) - late, MOMENT);
        assert_eq!(TimeLeft::default().step(now, LONG) - now, LONG);
    }

    #[test]
    fn a_cold_shutdown_never_takes_longer_than_the_warm_one_would_have() {
        let now = Instant::now();
        let over = |left: TimeLeft| left.cold(now).step(now, LONG) - now;
        assert_eq!(over(TimeLeft::default()), COLD);
        assert_eq!(over(after(None, now)), COLD);
        assert_eq!(over(after(Some(0), now)), AFTERMATH);
    }

    #[test]
    fn a_timeout_without_an_end_is_none() {
        let now = Instant::now();
        let options = Options { shutdown_timeout: Some(Duration::MAX), ..Options::default() };
        assert_eq!(TimeLeft::warm(&options, now), TimeLeft::default());
    }
}
