//! The logical clock that control messages carry.

/// Counts events so that what follows from a message has a higher number than the message.
///
/// Source: `LamportClock`, `kombu/clocks.py`, kombu 5.7.0.
#[derive(Debug, Default)]
pub(crate) struct LogicalClock(u64);

impl LogicalClock {
    /// A message of another process had this number.
    pub(crate) fn adjust(&mut self, other: u64) {
        self.0 = self.0.max(other).saturating_add(1);
    }

    /// The number of the next message.
    pub(crate) fn forward(&mut self) -> u64 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// The number of the last event.
    pub(crate) fn value(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_has_a_higher_number() {
        let mut clock = LogicalClock::default();
        clock.adjust(7);
        assert_eq!((clock.value(), clock.forward()), (8, 9));
        clock.adjust(2);
        assert_eq!(clock.forward(), 11);
        clock.adjust(u64::MAX);
        assert_eq!(clock.forward(), u64::MAX);
    }
}
