//! The logical clock that control messages and events carry. Clones share it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what happens so that what follows from a message has a higher number than the message.
///
/// Source: `LamportClock`, `kombu/clocks.py`, kombu 5.7.0.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogicalClock(Arc<AtomicU64>);

impl LogicalClock {
    /// A message of another process had this number.
    pub(crate) fn adjust(&self, other: u64) {
        self.set(|own| own.max(other).saturating_add(1));
    }

    /// The number of the next message.
    pub(crate) fn forward(&self) -> u64 {
        self.set(|own| own.saturating_add(1))
    }

    /// The number of the last event.
    pub(crate) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, next: impl Fn(u64) -> u64) -> u64 {
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |own| Some(next(own)));
        next(before.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_has_a_higher_number() {
        let clock = LogicalClock::default();
        clock.adjust(7);
        assert_eq!((clock.value(), clock.forward()), (8, 9));
        clock.adjust(2);
        assert_eq!(clock.forward(), 11);
        clock.adjust(u64::MAX);
        assert_eq!(clock.forward(), u64::MAX);
    }
}
