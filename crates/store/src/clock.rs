//! The one place that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celeriac_protocol::Timestamp;
use tokio::time::Instant;

/// Tells wall-clock time. Cheap to copy.
///
/// Elapsed time is measured with [`Instant`] instead.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clock {
    /// For tests: this moment at this instant, and from there on with Tokio's own (pausable) clock.
    pinned: Option<(Timestamp, Instant)>,
}

impl Clock {
    /// The clock of this machine.
    pub const fn system() -> Self {
        Self { pinned: None }
    }

    /// A clock that shows `at` now and goes on with Tokio's clock, which a test can pause and advance.
    pub fn starting_at(at: Timestamp) -> Self {
        Self { pinned: Some((at, Instant::now())) }
    }

    /// The wall-clock time now.
    pub fn now(&self) -> Timestamp {
        match self.pinned {
            Some((at, since)) => at.saturating_add(since.elapsed()),
            None => system_time(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
fn system_time() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_micros(0).saturating_add(since_epoch)
}
