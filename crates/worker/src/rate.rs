//! Rate limits: one token bucket for each limited task, counted by this worker alone.
//!
//! As in Celery, the limit is what one worker starts; two workers start twice as many.

use std::time::Duration;

use tokio::time::Instant;

/// A bucket that holds one token and is refilled at the rate of the limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    every: Duration,
    full_at: Instant,
    /// How far into the future requests were put back into the schedule.
    deferred_until: Instant,
}

/// What to do with the next request of a limited task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It may start.
    Now,
    /// It waits here until then.
    At(Instant),
}

/// How far ahead of its turn a limited request waits in the worker. One that would wait longer goes back to the
/// store's schedule, so that it does not occupy the prefetch of others.
const HOLD: Duration = Duration::from_secs(1);

/// How far ahead requests are put into the schedule; beyond it they come back to be asked again.
const HORIZON: Duration = Duration::from_secs(60);

impl Bucket {
    /// A full bucket for one start in every `every`.
    pub(crate) fn new(every: Duration, now: Instant) -> Self {
        Self { every, full_at: now, deferred_until: now }
    }

    /// Takes a token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Turn {
        if self.full_at > now {
            return Turn::At(self.full_at);
        }
        self.full_at = now + self.every;
        Turn::Now
    }

    /// For how long one more request, behind `waiting` others, should go back into the schedule; `None` to keep it here.
    pub(crate) fn defer(&mut self, waiting: usize, now: Instant) -> Option<Duration> {
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let turn = self.full_at.max(now) + self.every.saturating_mul(waiting).min(HORIZON);
        if waiting == 0 || turn <= now + HOLD {
            return None;
        }
        self.deferred_until = (self.deferred_until.max(turn) + self.every.min(HORIZON)).min(now + HORIZON);
        Some(self.deferred_until - now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    #[test]
    fn starts_are_spaced_by_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, start);
        assert_eq!(bucket.take(start), Turn::Now);
        assert_eq!(bucket.take(start), Turn::At(start + EVERY));
        assert_eq!(bucket.take(start + EVERY), Turn::Now);
    }

    #[test]
    fn an_idle_bucket_saves_one_token_and_no_more() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, start);
        let later = start + EVERY * 50;
        assert_eq!(bucket.take(later), Turn::Now);
        assert_eq!(bucket.take(later), Turn::At(later + EVERY));
    }

    #[test]
    fn requests_whose_turn_is_far_go_back_to_the_schedule_one_after_the_other() {
        let start = Instant::now();
        let mut bucket = Bucket::new(EVERY, start);
        assert_eq!(bucket.defer(5, start), None);
        let first = bucket.defer(20, start).unwrap();
        let second = bucket.defer(20, start).unwrap();
        assert!(first >= EVERY * 20 && second == first + EVERY, "{first:?} {second:?}");
    }

    #[test]
    fn nothing_is_put_off_beyond_the_horizon() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Duration::from_secs(3600), start);
        assert_eq!(bucket.defer(1, start), Some(HORIZON));
    }

    #[test]
    fn the_first_waiting_request_is_kept_however_slow_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(Duration::from_secs(3600), start);
        bucket.take(start);
        assert_eq!(bucket.defer(0, start), None);
    }
}
