//! The way to a server, which the connections of one store go one after the other.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep_until};

/// From one failed attempt to the next it is about this long at first; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// It grows no further than this: work goes on within 5 seconds after the server is back.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Lets one attempt to connect through at a time, so that a store whose server is away knocks once and not once for each
/// of its connections.
#[derive(Default)]
pub(super) struct Door {
    attempts: Mutex<Attempts>,
    /// How many requests went through.
    round_trips: AtomicU64,
}

/// Attempts that fail, with pauses between them. The pauses differ from process to process, so that a server that
/// comes back does not meet all of them at once.
#[derive(Default)]
pub(super) struct Attempts {
    failures: u32,
    not_before: Option<Instant>,
}

impl Door {
    /// Waits until nobody else tries. Cancel safe.
    pub(super) async fn approach(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().await
    }

    /// A request goes to the server.
    pub(super) fn count_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }

    /// How many went until now.
    pub(super) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }
}

impl Attempts {
    /// Waits until the next attempt may be made, and counts it as failed until it succeeds: its time is a part of the
    /// pause, and who gives it up in the middle must not begin at once again. Cancel safe.
    pub(super) async fn begin(&mut self) {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.not_before = Some(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.failures = self.failures.saturating_add(1);
    }

    /// The attempt succeeded; says how many had failed before.
    pub(super) fn succeeded(&mut self) -> u32 {
        std::mem::take(self).failures.saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_to_three_seconds_and_no_further() {
        let door = Door::default();
        let began = Instant::now();
        for _ in 0..6 {
            door.approach().await.begin().await;
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "the first attempts are soon: {:?}",
            began.elapsed()
        );
        for _ in 0..20 {
            let began = Instant::now();
            door.approach().await.begin().await;
            assert!(began.elapsed() <= LONGEST_PAUSE, "{:?}", began.elapsed());
        }
        assert_eq!(door.approach().await.succeeded(), 25);
        let began = Instant::now();
        door.approach().await.begin().await;
        assert_eq!(began.elapsed(), Duration::ZERO, "after a success the next is at once");
    }
}
