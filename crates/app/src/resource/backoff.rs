//! When to try a failed build again. Pure: the dice is an argument.

use std::time::Duration;

use crate::task::exponential_backoff;

/// The delays between failed builds of one resource: from a tenth of a second up to half a minute, with jitter, so
/// that a fleet of workers does not knock on a restarted server all at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(30);

    /// Counts one more failure and says how long to wait: between half and the whole of the present delay.
    pub fn after_failure(&mut self, dice: u64) -> Duration {
        let full = exponential_backoff(Self::FIRST, self.failures, Self::LONGEST, None);
        self.failures = self.failures.saturating_add(1);
        full / 2 + exponential_backoff(full / 2, 0, Self::LONGEST, Some(dice))
    }

    /// How many builds in a row have failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_limit_and_start_over_after_success() {
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..20).map(|dice| backoff.after_failure(dice)).collect();
        assert!(delays[0] >= Backoff::FIRST / 2 && delays[0] <= Backoff::FIRST);
        assert!(delays[19] >= Backoff::LONGEST / 2 && delays[19] <= Backoff::LONGEST);
        backoff.reset();
        assert!(backoff.after_failure(0) <= Backoff::FIRST);
    }
}
