//! The one place that reads the clock.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celeriac_protocol::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;

/// A sleep asks the wall clock again after this time at the latest, because an administrator may set it.
const LONGEST_NAP: Duration = Duration::from_secs(30);

/// Tells wall-clock time. Cheap to clone.
///
/// Elapsed time is measured with [`Instant`] instead.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// `None` is the clock of this machine.
    test: Option<Arc<TestClock>>,
}

/// Time as a test wants it.
#[derive(Debug)]
struct TestClock {
    /// It was this moment at this instant, and goes on from there with Tokio's own (pausable) clock.
    start: (Timestamp, Instant),
    /// How far its [`Hand`] has moved it.
    moved: watch::Sender<Duration>,
    /// Whether servers go by it too, and not by clocks of their own.
    #[cfg(feature = "redis")]
    of_servers: bool,
}

/// Moves a test clock and all its clones forward.
#[derive(Clone, Debug)]
pub struct Hand(Arc<TestClock>);

/// Whether both always show the same time.
impl PartialEq for Clock {
    fn eq(&self, other: &Self) -> bool {
        match (&self.test, &other.test) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Clock {
    /// The clock of this machine.
    pub const fn system() -> Self {
        Self { test: None }
    }

    /// A clock that shows `at` now and goes on with Tokio's clock, which a test can pause and advance.
    pub fn starting_at(at: Timestamp) -> Self {
        Self::with_hand(at).0
    }

    /// As [`Clock::starting_at`], with a hand to move it at once, in whatever thread it is read.
    pub fn with_hand(at: Timestamp) -> (Self, Hand) {
        let moved = watch::Sender::new(Duration::ZERO);
        let test = Arc::new(TestClock {
            start: (at, Instant::now()),
            moved,
            #[cfg(feature = "redis")]
            of_servers: true,
        });
        (Self { test: Some(Arc::clone(&test)) }, Hand(test))
    }

    /// As [`Clock::starting_at`], of a machine whose servers have other clocks.
    #[cfg(all(test, feature = "redis"))]
    pub(crate) fn differing(at: Timestamp) -> Self {
        let moved = watch::Sender::new(Duration::ZERO);
        Self { test: Some(Arc::new(TestClock { start: (at, Instant::now()), moved, of_servers: false })) }
    }

    /// The time now, if a test has set it: for servers that have a clock of their own.
    #[cfg(feature = "redis")]
    pub(crate) fn set_by_test(&self) -> Option<Timestamp> {
        self.test.as_ref().filter(|test| test.of_servers).map(|test| test.now())
    }

    /// The wall-clock time now.
    pub fn now(&self) -> Timestamp {
        match &self.test {
            Some(test) => test.now(),
            None => system_time(),
        }
    }

    /// Waits until this moment; returns at once if it has passed. Follows the clock when that is set or moved.
    ///
    /// Cancel safe.
    pub async fn sleep_until(&self, moment: Timestamp) {
        let mut moved = self.test.as_ref().map(|test| test.moved.subscribe());
        loop {
            let left = moment.saturating_since(self.now());
            if left.is_zero() {
                return;
            }
            let nap = tokio::time::sleep(left.min(LONGEST_NAP));
            match &mut moved {
                None => nap.await,
                Some(moved) => tokio::select! {
                    () = nap => {}
                    // It cannot fail: the sender lives in the clock that `self` holds.
                    _ = moved.changed() => {}
                },
            }
        }
    }
}

impl TestClock {
    fn now(&self) -> Timestamp {
        let (at, since) = self.start;
        at.saturating_add(since.elapsed()).saturating_add(*self.moved.borrow())
    }
}

impl Hand {
    /// Moves the clock forward; whoever sleeps until a moment passed by this wakes.
    pub fn advance(&self, by: Duration) {
        self.0.moved.send_modify(|moved| *moved += by);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_micros(0).saturating_add(since_epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_micros(1_000_000);

    #[tokio::test]
    async fn its_hand_moves_every_clone_and_wakes_who_sleeps() {
        let (clock, hand) = Clock::with_hand(START);
        let hour = Duration::from_secs(3600);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(START.saturating_add(hour)).await }
        });
        hand.advance(hour);
        tokio::time::timeout(Duration::from_secs(10), sleeper).await.unwrap().unwrap();
        assert!(clock.now() >= START.saturating_add(hour));
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_clock_goes_with_tokio_time() {
        let clock = Clock::starting_at(START);
        clock.sleep_until(START.saturating_add(Duration::from_secs(90))).await;
        assert_eq!(clock.now().saturating_since(START), Duration::from_secs(90));
    }
}
