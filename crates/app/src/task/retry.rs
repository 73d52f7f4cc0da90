//! Whether and when a failed task is tried again. Pure: the retry count and the dice are arguments.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::task::Failure;

/// Decides by the error whether a failure belongs to some group, as `retry_for = [io::Error]` says.
pub type ErrorFilter = fn(&(dyn Error + 'static)) -> bool;

/// What happens after a failure.
///
/// Source for names, defaults and arithmetic: `celery/app/task.py`, `Task`, and `celery/app/autoretry.py`, Celery 5.7.0.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// How often a task is tried again; `None` is without end. Default 3.
    pub max_retries: Option<u32>,
    /// How long to wait where there is no back-off. Default 3 minutes.
    pub default_retry_delay: Duration,
    /// The first delay of an exponential back-off; `None` is [`RetryPolicy::default_retry_delay`] each time.
    pub backoff: Option<Duration>,
    /// The longest delay of the back-off. Default 10 minutes.
    pub backoff_max: Duration,
    /// Whether each delay is drawn from zero to its full length. Default true.
    pub jitter: bool,
    /// Which errors are tried again without the task asking for it.
    pub retry_for: RetryFor,
    /// Which errors never are.
    pub dont_retry_for: Option<ErrorFilter>,
}

/// Which errors are tried again without the task asking for it.
#[derive(Clone, Copy, Default)]
pub enum RetryFor {
    /// None: only [`crate::Context::retry`] retries, as in Celery.
    #[default]
    Nothing,
    /// Every error the function returns.
    Everything,
    /// Those that the filter knows.
    Matching(ErrorFilter),
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_retries: Some(3),
            default_retry_delay: Duration::from_secs(180),
            backoff: None,
            backoff_max: Duration::from_secs(600),
            jitter: true,
            retry_for: RetryFor::Nothing,
            dont_retry_for: None,
        }
    }
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again after this time.
    Retry(Duration),
    /// It failed for good.
    Fail,
}

impl RetryPolicy {
    /// What to do after `failure`, when the task has been retried `retries` times. `dice` is any random number.
    pub fn after_failure(&self, failure: &Failure, retries: u32, dice: u64) -> Verdict {
        if !self.wants_retry(failure) || self.is_exhausted(retries, None) {
            return Verdict::Fail;
        }
        Verdict::Retry(self.delay(retries, dice))
    }

    /// Whether no further retry is allowed after `retries`; `max_retries` of the call goes before the task's own.
    pub fn is_exhausted(&self, retries: u32, max_retries: Option<u32>) -> bool {
        max_retries.or(self.max_retries).is_some_and(|max| retries >= max)
    }

    /// How long to wait before the retry that follows `retries` earlier ones.
    pub fn delay(&self, retries: u32, dice: u64) -> Duration {
        match self.backoff {
            None => self.default_retry_delay,
            Some(factor) => {
                exponential_backoff(factor, retries, self.backoff_max, self.jitter.then_some(dice))
            }
        }
    }

    fn wants_retry(&self, failure: &Failure) -> bool {
        let Some(error) = failure.source_error() else {
            return matches!(self.retry_for, RetryFor::Everything) && !failure.is_permanent();
        };
        if failure.is_permanent() || self.dont_retry_for.is_some_and(|never| never(error)) {
            return false;
        }
        match self.retry_for {
            RetryFor::Nothing => false,
            RetryFor::Everything => true,
            RetryFor::Matching(filter) => filter(error),
        }
    }
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryPolicy")
            .field("max_retries", &self.max_retries)
            .field("default_retry_delay", &self.default_retry_delay)
            .field("backoff", &self.backoff)
            .field("backoff_max", &self.backoff_max)
            .field("jitter", &self.jitter)
            .finish_non_exhaustive()
    }
}

/// The delay before the retry that follows `retries` earlier ones: `factor` doubled each time, at most `maximum`;
/// with `dice`, a random delay between zero and that ("full jitter").
///
/// Source: `celery/utils/time.py`, `get_exponential_backoff_interval`, Celery 5.7.0, which draws whole seconds;
/// here the draw is in microseconds, so that retries of short back-offs spread too.
///
/// ```
/// use std::time::Duration;
/// use celeriac_app::task::exponential_backoff;
///
/// let second = Duration::from_secs(1);
/// let delays: Vec<u64> =
///     (0..5).map(|retries| exponential_backoff(second, retries, 10 * second, None).as_secs()).collect();
/// assert_eq!(delays, [1, 2, 4, 8, 10]);
/// ```
pub fn exponential_backoff(factor: Duration, retries: u32, maximum: Duration, dice: Option<u64>) -> Duration {
    let doubled = 1u32.checked_shl(retries).and_then(|power| factor.checked_mul(power));
    let full = doubled.unwrap_or(Duration::MAX).min(maximum);
    match dice {
        None => full,
        Some(seed) => {
            let micros = u64::try_from(full.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(fastrand::Rng::with_seed(seed).u64(0..=micros))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::TaskError;
    use crate::task::Ending;

    fn failure(error: impl Error + Send + Sync + 'static) -> Failure {
        match TaskError::from(error).into_ending() {
            Ending::Failure(failure) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    fn only_io() -> RetryPolicy {
        RetryPolicy {
            backoff: Some(Duration::from_secs(1)),
            jitter: false,
            retry_for: RetryFor::Matching(<dyn Error>::is::<io::Error>),
            ..RetryPolicy::default()
        }
    }

    #[test]
    fn a_chosen_error_is_retried_with_growing_delays() {
        let failure = failure(io::Error::other("connection lost"));
        let verdicts: Vec<_> = (0..4).map(|retries| only_io().after_failure(&failure, retries, 0)).collect();
        let seconds = |n| Verdict::Retry(Duration::from_secs(n));
        assert_eq!(verdicts, [seconds(1), seconds(2), seconds(4), Verdict::Fail]);
    }

    #[test]
    fn another_error_is_not_retried() {
        assert_eq!(only_io().after_failure(&failure(fmt::Error), 0, 0), Verdict::Fail);
    }

    #[test]
    fn an_excluded_error_is_not_retried() {
        let policy = RetryPolicy {
            retry_for: RetryFor::Everything,
            dont_retry_for: Some(<dyn Error>::is::<fmt::Error>),
            ..RetryPolicy::default()
        };
        assert_eq!(policy.after_failure(&failure(fmt::Error), 0, 0), Verdict::Fail);
        assert!(matches!(policy.after_failure(&failure(io::Error::other("")), 0, 0), Verdict::Retry(_)));
    }

    #[test]
    fn without_backoff_the_default_delay_counts() {
        let policy = RetryPolicy { retry_for: RetryFor::Everything, ..RetryPolicy::default() };
        let verdict = policy.after_failure(&failure(fmt::Error), 2, 7);
        assert_eq!(verdict, Verdict::Retry(Duration::from_secs(180)));
    }

    #[test]
    fn jitter_stays_below_the_full_delay_and_follows_its_seed() {
        let delay =
            |seed| exponential_backoff(Duration::from_secs(1), 40, Duration::from_secs(600), Some(seed));
        assert!((0..1000).all(|seed| delay(seed) <= Duration::from_secs(600)));
        assert_eq!(delay(3), delay(3));
        assert_ne!(delay(3), delay(4));
    }
}
