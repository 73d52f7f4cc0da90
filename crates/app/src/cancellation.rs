//! Telling a running task that it should stop.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Why a task is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Its soft time limit has passed.
    SoftTimeLimit,
    /// It was revoked with `terminate`.
    Revoked,
    /// The worker ends and will not wait any longer; the task will be delivered again.
    Shutdown,
    /// Its hard time limit has passed.
    HardTimeLimit,
    /// Its lease was lost: somebody else runs it by now, and nothing of this run will count.
    LeaseLost,
}

impl Reason {
    const ALL: [Self; 5] =
        [Self::SoftTimeLimit, Self::Revoked, Self::Shutdown, Self::HardTimeLimit, Self::LeaseLost];

    fn code(self) -> u8 {
        match self {
            Self::SoftTimeLimit => 1,
            Self::Revoked => 2,
            Self::Shutdown => 3,
            Self::HardTimeLimit => 4,
            Self::LeaseLost => 5,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SoftTimeLimit => "soft time limit exceeded",
            Self::Revoked => "revoked",
            Self::Shutdown => "worker is shutting down",
            Self::HardTimeLimit => "time limit exceeded",
            Self::LeaseLost => "lease lost",
        })
    }
}

/// A task ended early because it was asked to. With `?` it ends the task in the way the reason calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the task was asked to stop: {0}")]
pub struct Cancelled(pub Reason);

/// Asks one run of one task to stop. Cheap to clone; every clone is the same token.
///
/// The first reason stays. A task looks at it where stopping is convenient:
///
/// ```
/// use celeriac_app::{CancellationToken, Cancelled, Reason};
///
/// fn sum(numbers: &[u64], cancellation: &CancellationToken) -> Result<u64, Cancelled> {
///     let mut sum = 0;
///     for number in numbers {
///         cancellation.check()?;
///         sum += number;
///     }
///     Ok(sum)
/// }
///
/// let token = CancellationToken::new();
/// assert_eq!(sum(&[1, 2], &token), Ok(3));
/// token.cancel(Reason::Revoked);
/// assert_eq!(sum(&[1, 2], &token), Err(Cancelled(Reason::Revoked)));
/// ```
#[derive(Clone, Default)]
pub struct CancellationToken {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// 0, or the code of the reason.
    reason: AtomicU8,
    /// Wakes tasks that wait on a runtime.
    notify: Notify,
    /// Wakes tasks that wait on a thread.
    lock: Mutex<()>,
    condvar: Condvar,
}

impl CancellationToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks the task to stop. Says whether this was the first time; later reasons change nothing.
    pub fn cancel(&self, reason: Reason) -> bool {
        let first =
            self.inner.reason.compare_exchange(0, reason.code(), Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            self.inner.notify.notify_waiters();
            let _guard = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.inner.condvar.notify_all();
        }
        first
    }

    /// Why the task should stop, if it should.
    pub fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.inner.reason.load(Ordering::Acquire))
    }

    /// Whether the task should stop.
    pub fn is_cancelled(&self) -> bool {
        self.reason().is_some()
    }

    /// Fails if the task should stop.
    ///
    /// # Errors
    /// [`Cancelled`] with the reason.
    pub fn check(&self) -> Result<(), Cancelled> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(Cancelled(reason)),
        }
    }

    /// Waits until the task should stop, and says why. Cancel safe.
    pub async fn cancelled(&self) -> Reason {
        loop {
            let notified = self.inner.notify.notified();
            if let Some(reason) = self.reason() {
                return reason;
            }
            notified.await;
        }
    }

    /// Waits on this thread for `duration`, or until the task should stop: what a blocking task calls to sleep.
    ///
    /// # Errors
    /// [`Cancelled`] with the reason, as soon as there is one.
    pub fn sleep_blocking(&self, duration: Duration) -> Result<(), Cancelled> {
        let started = Instant::now();
        let mut guard = self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            self.check()?;
            let left = duration.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            guard = self.inner.condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancellationToken").field(&self.reason()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays() {
        let token = CancellationToken::new();
        assert!(token.cancel(Reason::Shutdown));
        assert!(!token.cancel(Reason::Revoked));
        assert_eq!(token.reason(), Some(Reason::Shutdown));
    }

    #[test]
    fn every_reason_survives_its_code() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
    }

    #[tokio::test]
    async fn waiting_ends_with_the_reason() {
        let token = CancellationToken::new();
        let waiting = tokio::spawn({
            let token = token.clone();
            async move { token.cancelled().await }
        });
        tokio::task::yield_now().await;
        token.cancel(Reason::SoftTimeLimit);
        assert_eq!(waiting.await.unwrap(), Reason::SoftTimeLimit);
    }

    #[test]
    fn a_sleeping_thread_is_woken() {
        let token = CancellationToken::new();
        let sleeper = std::thread::spawn({
            let token = token.clone();
            move || token.sleep_blocking(Duration::from_secs(60))
        });
        token.cancel(Reason::Revoked);
        assert_eq!(sleeper.join().unwrap(), Err(Cancelled(Reason::Revoked)));
    }
}
