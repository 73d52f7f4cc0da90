//! How many deliveries to fetch: enough to keep every pool busy, no more than others could use meanwhile.

use std::time::Duration;

use tokio::time::Instant;

/// What one pool holds of its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many jobs it runs at once.
    pub slots: usize,
    /// How many requests wait for one of its slots.
    pub waiting: usize,
    /// How many it runs.
    pub running: usize,
    /// How many it has lately run in a tenth of a second; see [`Pace`].
    pub pace: usize,
}

/// How fast a pool works, as far as fetching is concerned: the jobs that it ended within the last full [`SPAN`].
///
/// With short tasks the multiplier alone would mean a round trip to the store for every few of them. Holding what runs in
/// a tenth of a second keeps nothing from others for longer than that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    since: Instant,
    ended: usize,
    last: usize,
}

const SPAN: Duration = Duration::from_millis(100);

impl Pace {
    /// Of a pool that has not run anything yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, ended: 0, last: 0 }
    }

    /// Counts jobs that ended.
    pub(crate) fn count(&mut self, ended: usize, now: Instant) {
        let spans = now.saturating_duration_since(self.since).as_millis() / SPAN.as_millis();
        if spans > 0 {
            self.last = if spans == 1 { self.ended } else { 0 };
            self.ended = 0;
            self.since = now;
        }
        self.ended += ended;
    }

    /// Whether so many jobs were ended within the last span, or the one that has begun.
    pub(crate) fn is_at_least(&self, jobs: usize, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < SPAN * 2 && self.last.max(self.ended) >= jobs
    }

    /// The jobs of the last span.
    pub(crate) fn per_span(&self) -> usize {
        self.last
    }
}

/// The limits on unsettled deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefetch {
    slots: usize,
    multiplier: usize,
    most: usize,
}

/// How far the sum of unsettled deliveries may go beyond the shares of all pools.
///
/// A queue does not say which pool its next message is for. So that a full pool does not starve an idle one, fetching goes
/// on while any pool has room, and what comes for the full one waits here, up to this factor.
const OVERFLOW: usize = 2;

/// The most deliveries that a pool may hold because it is fast. Not with a multiplier of one, which asks for no more than
/// can run.
const MOST_BY_PACE: usize = 1024;

impl Prefetch {
    /// Limits for pools with `slots` slots in all.
    ///
    /// A multiplier of zero is taken as one: a worker without any limit would empty the queue into its memory.
    pub(crate) fn new(slots: usize, multiplier: usize) -> Self {
        let (slots, multiplier) = (slots.max(1), multiplier.max(1));
        let most = slots.saturating_mul(multiplier).saturating_mul(OVERFLOW);
        Self { slots, multiplier, most: if multiplier > 1 { most.max(MOST_BY_PACE) } else { most } }
    }

    /// The share of all pools, as long as none is fast: the `prefetch_count` of Celery.
    pub(crate) fn count(&self) -> usize {
        self.slots.saturating_mul(self.multiplier)
    }

    /// The most deliveries that may be unsettled at once, those included whose outcome is on its way to the store.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// As many as the store is to lend at most, should pools grow.
    pub(crate) fn ceiling(&self) -> usize {
        self.most.max(MOST_BY_PACE)
    }

    /// The same limits for another number of slots.
    pub(crate) fn resized(self, slots: usize) -> Self {
        Self::new(slots, self.multiplier)
    }

    /// How many deliveries to fetch now; zero for none yet.
    ///
    /// A pool asks for its room when a quarter of its share is free or nothing waits for its slots, because fetching
    /// one by one costs a round trip each.
    pub(crate) fn room(&self, loads: &[Load], unsettled: usize) -> usize {
        let wanted = loads.iter().map(|load| self.room_of(*load)).max().unwrap_or(0);
        wanted.min(self.most.saturating_sub(unsettled))
    }

    fn room_of(&self, load: Load) -> usize {
        let by_pace = if self.multiplier > 1 { load.pace.min(MOST_BY_PACE) } else { 0 };
        let share = load.slots.saturating_mul(self.multiplier).max(by_pace);
        let room = share.saturating_sub(load.waiting + load.running);
        if load.waiting == 0 || room >= share.div_ceil(4) { room } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(slots: usize, waiting: usize, running: usize) -> Load {
        Load { slots, waiting, running, pace: 0 }
    }

    #[test]
    fn a_fast_pool_holds_what_it_runs_in_a_tenth_of_a_second() {
        let fast = |multiplier| {
            let load = Load { pace: 300, ..load(2, 0, 2) };
            Prefetch::new(2, multiplier).room(&[load], 2)
        };
        assert_eq!(fast(4), 298);
        assert_eq!(fast(1), 0, "a multiplier of one asks for no more than can run");
    }

    #[test]
    fn the_count_is_the_share_of_all_pools_and_the_most_is_beyond_it() {
        let counts = |slots, multiplier| {
            let prefetch = Prefetch::new(slots, multiplier);
            (prefetch.count(), prefetch.most())
        };
        assert_eq!(counts(4, 4), (16, MOST_BY_PACE));
        assert_eq!(counts(1000, 4), (4000, 8000));
        assert_eq!(counts(4, 1), (4, 8));
        assert_eq!(counts(4, 0), counts(4, 1), "no limit is not to be had");
        assert_eq!(Prefetch::new(4, 4).resized(6).count(), 24);
    }

    #[test]
    fn the_pace_is_that_of_the_last_full_span() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.count(50, start);
        assert_eq!(pace.per_span(), 0);
        pace.count(1, start + SPAN);
        assert_eq!(pace.per_span(), 50);
        assert!(pace.is_at_least(50, start + SPAN) && !pace.is_at_least(51, start + SPAN));
        assert!(!pace.is_at_least(50, start + SPAN * 3), "nothing has ended since");
        pace.count(1, start + SPAN * 5);
        assert_eq!(pace.per_span(), 0, "long ago");
    }

    #[test]
    fn an_idle_worker_asks_for_the_share_of_its_largest_pool() {
        let prefetch = Prefetch::new(12, 4);
        assert_eq!(prefetch.room(&[load(10, 0, 0), load(2, 0, 0)], 0), 40);
    }

    #[test]
    fn a_full_pool_does_not_starve_an_idle_one() {
        let prefetch = Prefetch::new(12, 4);
        assert_eq!(prefetch.room(&[load(10, 0, 0), load(2, 6, 2)], 8), 40);
    }

    #[test]
    fn overflow_of_a_full_pool_has_an_end() {
        let prefetch = Prefetch::new(12, 4);
        assert_eq!(prefetch.room(&[load(10, 0, 0), load(2, 1022, 2)], 1024), 0);
    }

    #[test]
    fn a_multiplier_of_one_fetches_only_for_free_slots() {
        let prefetch = Prefetch::new(4, 1);
        assert_eq!(prefetch.room(&[load(4, 0, 3)], 3), 1);
        assert_eq!(prefetch.room(&[load(4, 0, 4)], 4), 0);
    }

    #[test]
    fn small_room_waits_until_a_round_trip_pays() {
        let prefetch = Prefetch::new(10, 4);
        assert_eq!(prefetch.room(&[load(10, 29, 10)], 39), 0);
        assert_eq!(prefetch.room(&[load(10, 20, 10)], 30), 10);
    }

    #[test]
    fn outcomes_on_their_way_to_the_store_count_against_the_most() {
        let prefetch = Prefetch::new(10, 4);
        assert_eq!(prefetch.room(&[load(10, 0, 0)], 1024), 0);
    }
}
