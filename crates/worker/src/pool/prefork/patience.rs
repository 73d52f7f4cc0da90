//! When a child is read: at once, unless it says so much that a little patience saves most of the work.
//!
//! A child that has its next jobs ahead does not wait for its parent. Where it ends one after the other within moments, being
//! woken for each would cost the parent as much as all else that it does for the task. Then it reads on a beat, which is the
//! same for all children, so that one awakening serves them all.

use std::time::Duration;

use tokio::time::Instant;

/// What comes sooner after the last reading than this follows it briskly.
const BRISK: Duration = Duration::from_micros(500);

/// After how many brisk readings in a row the next one waits for the beat.
const ENOUGH: u8 = 16;

/// The time between two beats: less than what the child has ahead takes it, and no more than it takes anyway until a start is
/// acknowledged. What a killed worker has not acknowledged runs again, although it was to run once at most.
const BEAT: Duration = Duration::from_millis(1);

/// How many frames on a beat show that the child is as quick as before: two for each task.
const WORTH_IT: usize = 4;

/// Whether and until when a child is left alone.
#[derive(Debug)]
pub(super) struct Patience {
    /// Whether the child is one that goes on meanwhile.
    may_rest: bool,
    /// From when the beats are counted.
    origin: Instant,
    last: Instant,
    brisk: u8,
    until: Option<Instant>,
}

impl Patience {
    /// For a child that may be left alone, or one that waits for its parent after each task.
    pub(super) fn new(may_rest: bool, origin: Instant) -> Self {
        Self { may_rest, origin, last: origin, brisk: 0, until: None }
    }

    /// The child has been read, and has said so much.
    pub(super) fn has_read(&mut self, now: Instant, frames: usize) {
        if self.until.is_some() {
            self.until = (frames >= WORTH_IT).then(|| self.next_beat(now));
            self.brisk = 0;
        } else {
            let is_brisk = self.may_rest && frames > 0 && now.duration_since(self.last) < BRISK;
            self.brisk = if is_brisk { self.brisk + 1 } else { 0 };
            self.until = (self.brisk == ENOUGH).then(|| self.next_beat(now));
        }
        self.last = now;
    }

    /// Until when the child is left alone, if it is.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The child is not left alone any more.
    pub(super) fn end(&mut self) {
        (self.until, self.brisk) = (None, 0);
    }

    /// The child is left alone once more.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.until = Some(self.next_beat(now));
    }

    /// The first beat that is not too near.
    fn next_beat(&self, now: Instant) -> Instant {
        let beats = (now + BEAT / 2).duration_since(self.origin).as_micros() / BEAT.as_micros();
        self.origin + BEAT * (u32::try_from(beats).unwrap_or(u32::MAX).saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that has been read so often, with this between.
    fn read(may_rest: bool, readings: u32, between: Duration) -> (Patience, Instant) {
        let start = Instant::now();
        let mut patience = Patience::new(may_rest, start);
        (1..=readings).for_each(|reading| patience.has_read(start + between * reading, 2));
        (patience, start + between * readings)
    }

    const OFTEN: Duration = Duration::from_micros(200);

    #[test]
    fn only_a_child_that_says_much_and_goes_on_meanwhile_is_left_alone() {
        let rests = |may_rest, readings, between| read(may_rest, readings, between).0.until().is_some();
        assert!(rests(true, 16, OFTEN));
        assert!(!rests(false, 16, OFTEN));
        assert!(!rests(true, 4, OFTEN), "a task or two");
        assert!(!rests(true, 200, BRISK), "tasks that take longer");
    }

    #[test]
    fn a_child_that_sends_something_large_is_no_quick_one() {
        let start = Instant::now();
        let mut patience = Patience::new(true, start);
        (1..=100).for_each(|piece| patience.has_read(start + OFTEN * piece, 0));
        assert!(patience.until().is_none());
    }

    #[test]
    fn it_is_left_alone_as_long_as_it_says_much() {
        let (mut patience, now) = read(true, 16, OFTEN);
        patience.has_read(now + BEAT, WORTH_IT);
        assert!(patience.until().is_some());
        patience.has_read(now + BEAT * 2, WORTH_IT - 1);
        assert!(patience.until().is_none());
        patience.has_read(now + BEAT * 2 + OFTEN, WORTH_IT);
        assert!(patience.until().is_none(), "it has to show again how quick it is");
    }

    #[test]
    fn all_children_are_read_on_the_same_beats() {
        let start = Instant::now();
        let beats: Vec<_> = (0..20)
            .map(|child| {
                let mut patience = Patience::new(true, start);
                let begins = start + Duration::from_secs(1) + Duration::from_micros(child * 100);
                (0..=16).for_each(|_| patience.has_read(begins, 2));
                let until = patience.until().unwrap();
                assert!((BEAT / 2..=BEAT * 3 / 2).contains(&(until - begins)), "{:?}", until - begins);
                (until - start).as_micros() % BEAT.as_micros()
            })
            .collect();
        assert_eq!(beats, [0; 20]);
    }
}
