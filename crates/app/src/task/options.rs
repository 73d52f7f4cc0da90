//! How a task is sent, run and retried, under Celery's names.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use celeriac_protocol::QueueName;

use crate::task::RetryPolicy;

/// The options of a task. What is `None` is decided by the settings.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct TaskOptions {
    /// `queue`: where it is sent, unless the call says otherwise.
    pub queue: Option<QueueName>,
    /// `priority`: 0 (lowest) to 9 (highest).
    pub priority: Option<u8>,
    /// `countdown`: how long after sending it may start.
    pub countdown: Option<Duration>,
    /// `expires`: how long after sending it may still start.
    pub expires: Option<Duration>,
    /// `max_retries`, `default_retry_delay`, `retry_backoff`, ...: what happens after a failure.
    pub retry: RetryPolicy,
    /// `time_limit`: it is stopped after this time.
    pub time_limit: Option<Duration>,
    /// `soft_time_limit`: it is told after this time, through its cancellation token.
    pub soft_time_limit: Option<Duration>,
    /// `acks_late`, or `acks = "early" | "late"`: when its message is acknowledged.
    pub acks: Option<Acks>,
    /// `reject_on_worker_lost`: whether a message that is acknowledged late goes back when the process of its task dies, until
    /// it has been delivered too often; else the task has failed. It goes back unless this says no.
    pub reject_on_worker_lost: Option<bool>,
    /// `ignore_result`: whether its result is not stored.
    pub ignore_result: Option<bool>,
    /// `store_errors_even_if_ignored`: whether a failure is stored although results are ignored.
    pub store_errors_even_if_ignored: Option<bool>,
    /// `track_started`: whether `STARTED` is stored when it starts.
    pub track_started: Option<bool>,
    /// `rate_limit`: how often it may start on one worker.
    pub rate_limit: Option<RateLimit>,
    /// `serializer`: how its arguments are written: `json` or `msgpack`.
    pub serializer: Option<Box<str>>,
    /// `compression`: how its body is compressed: `gzip`, `bzip2`, `zstd`.
    pub compression: Option<Box<str>>,
    /// `isolation`: whether it runs in a process of its own.
    pub isolation: Isolation,
}

/// When the message of a task is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Before it runs: at most once. What dies with its worker does not run again and leaves no trace: no result, and no
    /// failed task. Only with `track_started` its state stays `STARTED`.
    Early,
    /// Together with its outcome: at least once. A crash repeats it.
    Late,
}

/// Where a blocking task runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// In the worker process.
    #[default]
    None,
    /// In a prefork child, which a hard time limit or a crash ends without hurting the others.
    ///
    /// A child leads a process group of its own. When it is killed or crashes, the programs that its task has started and
    /// that are still in the group are killed with it. When the worker itself is killed (SIGKILL), its children are too, but
    /// nobody is left to kill what they had started: that runs on.
    Process,
}

/// How often a task may start: Celery's `"10/m"`.
///
/// ```
/// use celeriac_app::task::RateLimit;
///
/// let limit: RateLimit = "30/m".parse()?;
/// assert_eq!(limit.per_second(), 0.5);
/// assert_eq!(limit.to_string(), "30/m");
/// # Ok::<(), celeriac_app::task::InvalidRateLimit>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    count: f64,
    unit: char,
}

impl RateLimit {
    /// Starts per second; zero is no limit, as in Celery.
    pub fn per_second(self) -> f64 {
        match self.unit {
            'h' => self.count / 3600.0,
            'm' => self.count / 60.0,
            _ => self.count,
        }
    }
}

impl FromStr for RateLimit {
    type Err = InvalidRateLimit;

    /// Source: `celery/utils/time.py`, `rate`, Celery 5.7.0.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRateLimit { text: text.into() };
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let unit = match unit {
            "s" | "" => 's',
            "m" => 'm',
            "h" => 'h',
            _ => return Err(invalid()),
        };
        let count: f64 = count.trim().parse().map_err(|_| invalid())?;
        if !count.is_finite() || count < 0.0 {
            return Err(invalid());
        }
        Ok(Self { count, unit })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.unit)
    }
}

/// A rate limit that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rate limit {text:?} is not a number with an optional unit, such as \"10/s\", \"10/m\" or \"10/h\"")]
pub struct InvalidRateLimit {
    /// What was given.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_counts_per_second() {
        assert_eq!("4".parse::<RateLimit>().unwrap().per_second(), 4.0);
    }

    #[test]
    fn an_hourly_limit_is_spread_over_the_hour() {
        assert_eq!("7200/h".parse::<RateLimit>().unwrap().per_second(), 2.0);
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "ten/m", "10/d", "-1/s", "NaN"] {
            let error = text.parse::<RateLimit>().unwrap_err();
            assert!(error.to_string().contains("10/m"), "{error}");
        }
    }
}
