//! Whether a worker lives, whether it is ready, and whether it ever was.
//!
//! A worker is ready while fetching makes progress: its loop turns and wants deliveries, something can run, the store
//! answers, and no fetch fails. It is not ready within five seconds after that has stopped, whatever the cause. That all its
//! slots are busy does not make it unready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long the loop may leave a question unanswered before the process counts as hung.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// How long the loop, the store or a pool may be silent before the worker is not ready. The store is asked every second and
/// has two to answer, so one lost answer does not count.
const SILENT_AFTER: Duration = Duration::from_millis(3500);

/// How long fetching may fail before the worker is not ready.
const FAILING_AFTER: Duration = Duration::from_secs(1);

/// A fetch that waits for this long, or a little longer than the last one that failed, has not failed.
const LEAST_WAIT: Duration = Duration::from_millis(1500);

/// Why a worker is not ready whose application is being loaded.
const LOADING: &str = "the application is loading";

/// What the loop says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is none yet: the application is being loaded.
    Loading,
    /// It waits for its pools and resources.
    Starting,
    /// It fetches whenever it has room.
    Working,
    /// It has been told to take from no queue.
    Paused,
    /// No task can run, because each lacks a resource or its pool.
    Unable,
    /// Nothing can run in this pool.
    Closed(&'static str),
    /// It fetches no more.
    Stopping,
}

/// Why the answer to a probe is no; `Ok` is yes.
pub(crate) type Verdict = Result<(), String>;

/// What is known of the life of a worker, and what follows from it. Pure: every step is told what time it is.
#[derive(Debug)]
pub(crate) struct Vitals {
    standing: Standing,
    /// Since when.
    standing_since: Instant,
    /// The oldest question to the loop that it has not answered.
    asked: Option<Instant>,
    /// Whether the loop has begun to turn, and has not ended.
    turns: bool,
    /// The last answer of the store.
    answered: Option<Instant>,
    /// When the fetch began that is under way.
    fetching: Option<Instant>,
    /// Fetching fails since then.
    failing: Option<Failing>,
    was_ready: bool,
    /// How many requests went to the store until it was asked last.
    round_trips: u64,
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    since: Instant,
    /// How long the last fetch took to fail.
    took: Duration,
}

impl Vitals {
    /// Those of a worker that begins to start.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            standing: Standing::Starting,
            standing_since: now,
            asked: None,
            turns: false,
            answered: None,
            fetching: None,
            failing: None,
            was_ready: false,
            round_trips: 0,
        }
    }

    /// The application is being loaded.
    pub(crate) fn load_begins(&mut self) {
        self.standing = Standing::Loading;
    }

    /// The application has been loaded: the loop is still to come.
    pub(crate) fn loaded(&mut self) {
        self.standing = Standing::Starting;
    }

    /// Whether there is a loop that tells how the worker fares.
    pub(crate) fn has_loop(&self) -> Verdict {
        match self.standing {
            _ if self.turns => Ok(()),
            Standing::Loading => Err(LOADING.to_owned()),
            Standing::Stopping => Err("the worker is stopping".to_owned()),
            _ => Err("the worker is starting".to_owned()),
        }
    }

    /// The loop is asked how it stands. False while it has not answered the last question.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let may = self.asked.is_none();
        self.asked.get_or_insert(now);
        may
    }

    /// The loop says how it stands.
    pub(crate) fn turned(&mut self, standing: Standing, now: Instant) {
        (self.asked, self.turns) = (None, true);
        if std::mem::replace(&mut self.standing, standing) != standing {
            self.standing_since = now;
        }
    }

    /// The loop has ended in order: what is left of the shutdown has its own deadlines.
    pub(crate) fn ended(&mut self) {
        (self.turns, self.standing) = (false, Standing::Stopping);
    }

    /// The store has answered.
    pub(crate) fn answered(&mut self, now: Instant) {
        self.answered = Some(now);
    }

    /// So many requests have gone to the store until now.
    pub(crate) fn count_round_trips(&mut self, round_trips: u64) {
        self.round_trips = round_trips;
    }

    /// How many requests went to the store, as of the last second.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips
    }

    /// A fetch begins.
    pub(crate) fn fetch_begins(&mut self, now: Instant) {
        self.fetching = Some(now);
    }

    /// The fetch has brought something.
    pub(crate) fn fetched(&mut self, now: Instant) {
        (self.fetching, self.failing) = (None, None);
        self.answered = Some(now);
    }

    /// The fetch has failed.
    pub(crate) fn fetch_failed(&mut self, now: Instant) {
        let began = self.fetching.take().unwrap_or(now);
        let since = self.failing(now).map_or(now, |failing| failing.since);
        let took = match self.failing {
            Some(_) => now.saturating_duration_since(began),
            // It may have waited for long before anything was wrong.
            None => Duration::ZERO,
        };
        self.failing = Some(Failing { since, took });
    }

    /// How fetching fails, unless the fetch that is under way waits as one does that has nothing to take.
    fn failing(&self, now: Instant) -> Option<Failing> {
        self.failing.filter(|failing| {
            let enough = LEAST_WAIT.max(failing.took + failing.took / 4);
            self.fetching.is_none_or(|began| now.saturating_duration_since(began) < enough)
        })
    }

    /// Whether the loop turns.
    pub(crate) fn live(&self, now: Instant) -> Verdict {
        match self.asked.map(|asked| now.saturating_duration_since(asked)) {
            Some(silent) if self.turns && silent > HUNG_AFTER => {
                Err(format!("the loop of the worker has not turned for {} s", silent.as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Whether fetching makes progress.
    pub(crate) fn ready(&mut self, now: Instant) -> Verdict {
        let verdict = self.judge(now);
        self.was_ready |= verdict.is_ok();
        verdict
    }

    fn judge(&self, now: Instant) -> Verdict {
        let silent = |since: Instant| now.saturating_duration_since(since) > SILENT_AFTER;
        let for_seconds = |since: Instant| now.saturating_duration_since(since).as_secs();
        match self.standing {
            Standing::Stopping => return Err("the worker is stopping".to_owned()),
            Standing::Loading => return Err(LOADING.to_owned()),
            Standing::Starting => return Err("the worker is starting".to_owned()),
            Standing::Paused => return Err("the worker takes from no queue".to_owned()),
            Standing::Unable => return Err("no task can run: its pool or a resource is not there".to_owned()),
            Standing::Closed(pool) if silent(self.standing_since) => {
                return Err(format!("nothing can run in the {pool} pool"));
            }
            Standing::Closed(_) | Standing::Working => {}
        }
        if let Some(asked) = self.asked.filter(|asked| silent(*asked)) {
            return Err(format!("the loop of the worker has not turned for {} s", for_seconds(asked)));
        }
        match self.answered {
            None => return Err("the store has not answered yet".to_owned()),
            Some(answered) if silent(answered) => {
                return Err(format!("the store has not answered for {} s", for_seconds(answered)));
            }
            Some(_) => {}
        }
        match self.failing(now) {
            Some(failing) if now.saturating_duration_since(failing.since) >= FAILING_AFTER => {
                Err(format!("nothing could be fetched for {} s", for_seconds(failing.since)))
            }
            _ => Ok(()),
        }
    }

    /// Whether it has been ready once.
    pub(crate) fn started(&mut self, now: Instant) -> Verdict {
        let verdict = self.ready(now);
        if self.was_ready { Ok(()) } else { verdict }
    }

    /// Whether the store has answered lately.
    pub(crate) fn store_answers(&self, now: Instant) -> bool {
        self.answered.is_some_and(|answered| now.saturating_duration_since(answered) <= SILENT_AFTER)
    }

    /// Whether it fetches no more.
    pub(crate) fn is_stopping(&self) -> bool {
        self.standing == Standing::Stopping
    }
}

/// The vitals of this worker, as all its parts note them down. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Signs(Arc<Mutex<Vitals>>);

impl Default for Signs {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Vitals::new(Instant::now()))))
    }
}

impl Signs {
    /// What is known, for a moment: nobody who holds it waits for anything.
    pub(crate) fn vitals(&self) -> MutexGuard<'_, Vitals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worker that became ready at this moment, with nothing to fetch.
    fn ready() -> (Vitals, Instant) {
        let now = Instant::now();
        let mut vitals = Vitals::new(now);
        vitals.turned(Standing::Working, now);
        vitals.answered(now);
        vitals.fetch_begins(now);
        assert_eq!(vitals.ready(now), Ok(()));
        (vitals, now)
    }

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn a_worker_that_starts_lives_and_is_not_ready() {
        let now = Instant::now();
        let mut vitals = Vitals::new(now);
        vitals.ask(now);
        let later = now + seconds(3600.0);
        assert_eq!(vitals.live(later), Ok(()), "it may wait for its store as long as that takes");
        assert!(vitals.ready(later).is_err() && vitals.started(later).is_err());
    }

    #[test]
    fn a_silent_store_makes_it_unready_within_five_seconds_and_live_all_the_time() {
        let (mut vitals, now) = ready();
        vitals.turned(Standing::Working, now + seconds(4.5));
        assert_eq!(vitals.ready(now + seconds(3.0)), Ok(()), "one answer may be late");
        let verdict = vitals.ready(now + seconds(4.5)).unwrap_err();
        assert_eq!(verdict, "the store has not answered for 4 s");
        assert_eq!(vitals.live(now + seconds(4.5)), Ok(()));
        assert_eq!(vitals.started(now + seconds(4.5)), Ok(()), "it has been ready once");
        vitals.answered(now + seconds(60.0));
        assert_eq!(vitals.ready(now + seconds(60.0)), Ok(()));
    }

    #[test]
    fn fetches_that_fail_make_it_unready_until_one_waits_or_brings_something() {
        let (mut vitals, now) = ready();
        let mut at = now + seconds(100.0);
        for _ in 0..3 {
            vitals.fetch_failed(at);
            vitals.fetch_begins(at + seconds(0.5));
            at += seconds(1.0);
            vitals.answered(at);
        }
        assert_eq!(vitals.ready(at).unwrap_err(), "nothing could be fetched for 3 s");
        vitals.answered(at + seconds(2.0));
        assert_eq!(vitals.ready(at + seconds(2.0)), Ok(()), "it waits for something to fetch");
        vitals.fetch_failed(at + seconds(2.0));
        vitals.fetch_begins(at + seconds(2.0));
        vitals.fetched(at + seconds(3.5));
        assert_eq!(vitals.ready(at + seconds(3.5)), Ok(()));
    }

    #[test]
    fn fetches_that_take_their_time_to_fail_are_not_taken_to_wait() {
        let (mut vitals, now) = ready();
        vitals.fetch_failed(now);
        for round in 0..3 {
            let began = now + seconds(5.0) * round;
            vitals.fetch_begins(began);
            vitals.fetch_failed(began + seconds(5.0));
        }
        vitals.fetch_begins(now + seconds(15.0));
        vitals.answered(now + seconds(19.0));
        assert!(vitals.ready(now + seconds(19.0)).is_err(), "the last one failed after 5 s");
        vitals.answered(now + seconds(22.0));
        assert_eq!(vitals.ready(now + seconds(22.0)), Ok(()));
    }

    #[test]
    fn a_pool_in_which_nothing_can_run_makes_it_unready() {
        let (mut vitals, now) = ready();
        vitals.turned(Standing::Closed("python"), now);
        vitals.answered(now + seconds(4.0));
        assert_eq!(vitals.ready(now + seconds(1.0)), Ok(()), "a child may be replaced");
        assert_eq!(vitals.ready(now + seconds(4.0)).unwrap_err(), "nothing can run in the python pool");
        for standing in [Standing::Unable, Standing::Paused] {
            vitals.turned(standing, now + seconds(4.0));
            assert!(vitals.ready(now + seconds(4.0)).is_err(), "{standing:?}");
        }
        vitals.turned(Standing::Working, now + seconds(4.0));
        assert_eq!(vitals.ready(now + seconds(4.0)), Ok(()));
    }

    #[test]
    fn a_loop_that_hangs_is_unready_first_and_dead_then() {
        let (mut vitals, now) = ready();
        assert!(vitals.ask(now));
        assert!(!vitals.ask(now + seconds(1.0)), "one question at a time");
        vitals.answered(now + seconds(4.0));
        assert!(vitals.ready(now + seconds(4.0)).is_err());
        assert_eq!(vitals.live(now + seconds(4.0)), Ok(()));
        let verdict = vitals.live(now + seconds(11.0)).unwrap_err();
        assert_eq!(verdict, "the loop of the worker has not turned for 11 s");
        vitals.turned(Standing::Working, now + seconds(11.0));
        assert_eq!(vitals.live(now + seconds(11.0)), Ok(()));
    }

    #[test]
    fn a_worker_whose_application_is_loaded_lives_and_says_what_it_waits_for() {
        let now = Instant::now();
        let mut vitals = Vitals::new(now);
        vitals.load_begins();
        vitals.ask(now);
        let later = now + seconds(3600.0);
        assert_eq!(vitals.live(later), Ok(()));
        assert_eq!(vitals.ready(later).unwrap_err(), "the application is loading");
        assert_eq!(vitals.started(later).unwrap_err(), "the application is loading");
        vitals.loaded();
        assert_eq!(
            (vitals.live(later), vitals.ready(later)),
            (Ok(()), Err("the worker is starting".to_owned()))
        );
    }

    #[test]
    fn a_process_that_was_stopped_between_two_questions_has_not_hung() {
        let (mut vitals, now) = ready();
        vitals.ask(now);
        vitals.turned(Standing::Working, now);
        assert_eq!(vitals.live(now + seconds(3600.0)), Ok(()));
    }

    #[test]
    fn a_shutdown_is_unready_at_once_and_live_to_its_end() {
        let (mut vitals, now) = ready();
        vitals.turned(Standing::Stopping, now);
        assert_eq!(vitals.ready(now).unwrap_err(), "the worker is stopping");
        vitals.ask(now);
        vitals.ended();
        assert_eq!(vitals.live(now + seconds(60.0)), Ok(()));
    }
}
