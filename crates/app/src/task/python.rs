//! What a Celery application says of ends that none of its tasks decides itself.

use std::time::Duration;

/// What a Celery application says of ends that a task does not decide itself, because its process is gone or its time is up.
///
/// The defaults are those of Celery. Source: `celery/app/task.py`, `Task`, Celery 5.7.0.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PythonRules {
    /// `acks_on_failure`: whether a late message is acknowledged when its task has failed. Otherwise it is refused, and goes
    /// to the failed tasks.
    pub acks_on_failure: bool,
    /// `acks_on_timeout`: whether a late message is acknowledged when its task went beyond the hard time limit. Otherwise it
    /// goes back to its queue.
    pub acks_on_timeout: bool,
    /// `retry_on_worker_lost`: whether the task is sent again, as a retry, when its process dies.
    pub retry_on_worker_lost: bool,
    /// `max_retries`: how often it is sent again at most; `None` is without end.
    pub max_retries: Option<u32>,
    /// `default_retry_delay`: how long after that it is due.
    pub default_retry_delay: Duration,
    /// Whether it is an `async def`, which runs on the event loop of a child.
    pub is_coroutine: bool,
    /// Whether its results are kept where this worker keeps results; otherwise only its application knows where.
    pub keeps_results_here: bool,
    /// Whether it has an `on_failure` or an `after_return` of its own.
    pub hears_of_its_end: bool,
    /// `send_events`: whether there are events of it.
    pub sends_events: bool,
}

impl Default for PythonRules {
    fn default() -> Self {
        Self {
            acks_on_failure: true,
            acks_on_timeout: true,
            retry_on_worker_lost: false,
            max_retries: Some(3),
            default_retry_delay: Duration::from_secs(180),
            is_coroutine: false,
            keeps_results_here: true,
            hears_of_its_end: true,
            sends_events: true,
        }
    }
}
