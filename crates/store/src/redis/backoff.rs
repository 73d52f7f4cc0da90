//! When to try again.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// After a failed attempt, the next waits about this long; each failure doubles it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// It grows no further than this: work goes on within 5 seconds after the server is back.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// Attempts that fail, with pauses between them. The pauses differ from process to process, so that a server that
/// comes back does not meet all of them at once.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    /// Waits until the next attempt may be made. Cancel safe.
    pub(super) async fn wait(&self) {
        if let Some(not_before) = self.not_before {
            sleep_until(not_before).await;
        }
    }

    /// The attempt failed.
    pub(super) fn failed(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.not_before = Some(Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0));
        self.failures = self.failures.saturating_add(1);
    }

    /// How many attempts have failed in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
}
