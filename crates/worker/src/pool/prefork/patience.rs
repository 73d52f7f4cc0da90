//! When a child is read: at once, unless it says so much that a little patience saves most of the work.
//!
//! A child that has its next jobs ahead does not wait for its parent. Where it ends one after the other within
//! moments, being woken for each would cost the parent as much as all else that it does for the task.

use std::time::Duration;

use tokio::time::Instant;

/// What comes sooner after the last reading than this follows it briskly.
const BRISK: Duration = Duration::from_millis(2);

/// After how many brisk readings in a row the next one waits.
const ENOUGH: u8 = 16;

/// For how long it waits: less than what the child has ahead takes it.
const REST: Duration = Duration::from_millis(1);

/// Whether and until when a child is left alone.
#[derive(Debug)]
pub(super) struct Patience {
    /// Whether the child is one that goes on meanwhile.
    may_rest: bool,
    last: Instant,
    brisk: u8,
    until: Option<Instant>,
}

impl Patience {
    pub(super) fn new(may_rest: bool, now: Instant) -> Self {
        Self { may_rest, last: now, brisk: 0, until: None }
    }

    /// The child has been read.
    pub(super) fn has_read(&mut self, now: Instant) {
        let is_brisk = now.duration_since(self.last) < BRISK;
        self.brisk = if is_brisk { self.brisk.saturating_add(1) } else { 0 };
        self.last = now;
        self.until = (self.may_rest && self.brisk >= ENOUGH).then_some(now + REST);
    }

    /// Until when the child is not read.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// That time has come.
    pub(super) fn is_over(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a child that is read so often, with this between, is left alone after that.
    fn rests(may_rest: bool, readings: usize, between: Duration) -> bool {
        let start = Instant::now();
        let mut patience = Patience::new(may_rest, start);
        for reading in 1..=readings {
            patience.has_read(start + between * u32::try_from(reading).unwrap());
        }
        patience.until().is_some()
    }

    #[test]
    fn only_a_child_that_says_much_and_goes_on_meanwhile_is_left_alone() {
        let brisk = Duration::from_micros(200);
        assert!(rests(true, 20, brisk));
        assert!(!rests(false, 20, brisk));
        assert!(!rests(true, 4, brisk), "a task or two");
        assert!(!rests(true, 200, BRISK), "tasks that take longer");
    }

    #[test]
    fn it_is_read_again_soon() {
        let now = Instant::now();
        let mut patience = Patience::new(true, now);
        (0..ENOUGH).for_each(|_| patience.has_read(now));
        assert_eq!(patience.until(), Some(now + REST));
        patience.is_over();
        assert_eq!(patience.until(), None);
    }
}
