//! One structure for the deadlines of all requests, where a timer of the runtime for each would cost every task.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The longest wait there is. Times come from messages and settings, and a sum with any of them must not overflow.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The moment this long after `now`, a hundred years at most.
pub(crate) fn after(now: Instant, time: Duration) -> Instant {
    now + time.min(LONGEST)
}

/// Deadlines, each with what is to be done then.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    by_time: BTreeMap<TimerId, T>,
    set: u64,
}

/// Names one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId(Instant, u64);

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { by_time: BTreeMap::new(), set: 0 }
    }
}

impl<T> Timers<T> {
    /// Sets a deadline.
    pub(crate) fn set(&mut self, at: Instant, what: T) -> TimerId {
        self.set += 1;
        let id = TimerId(at, self.set);
        self.by_time.insert(id, what);
        id
    }

    /// Drops a deadline, if it has not passed.
    pub(crate) fn cancel(&mut self, id: TimerId) {
        self.by_time.remove(&id);
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first_key_value().map(|(id, _)| id.0)
    }

    /// Takes the earliest deadline that has passed.
    pub(crate) fn due(&mut self, now: Instant) -> Option<T> {
        let earliest = self.by_time.first_entry()?;
        (earliest.key().0 <= now).then(|| earliest.remove())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_end_is_a_moment_too() {
        let now = Instant::now();
        assert!(after(now, Duration::MAX) > after(now, Duration::from_secs(1 << 30)));
    }

    #[test]
    fn deadlines_come_in_the_order_of_time() {
        let start = Instant::now();
        let mut timers = Timers::default();
        timers.set(start + Duration::from_secs(2), "second");
        timers.set(start + Duration::from_secs(1), "first");
        assert_eq!(timers.due(start), None);
        let late = start + Duration::from_secs(3);
        assert_eq!(
            (timers.due(late), timers.due(late), timers.due(late)),
            (Some("first"), Some("second"), None)
        );
    }

    #[test]
    fn a_cancelled_deadline_never_comes() {
        let start = Instant::now();
        let mut timers = Timers::default();
        let first = timers.set(start, "cancelled");
        timers.set(start, "kept");
        timers.cancel(first);
        assert_eq!((timers.due(start), timers.due(start)), (Some("kept"), None));
    }
}
