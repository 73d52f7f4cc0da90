//! Workers killed at random lose nothing and repeat only what ran at the kill.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::protocol::{ResultRecord, TaskId, Timestamp};
use celeriac::store::Store;
use celeriac::store::clock::Clock;
use celeriac_recovery::diary;
use celeriac_recovery::patient::{in_process, on_runtime, on_thread};
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::harness::Ward;

/// How many tasks there are at least.
const TASKS: u32 = 20_000;
/// How many more are sent while fewer than that are open, so that workers are busy when they are killed.
const MORE: u32 = 10_000;
/// How many there are at most.
const MOST: u32 = 200_000;
/// How many kills hit workers that are running tasks.
const KILLS: usize = 20;
const DEADLINE: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn workers_killed_at_random_lose_no_task_and_repeat_only_what_was_running() {
    let seed =
        std::env::var("CELERIAC_TEST_SEED").map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut dice = Rng::with_seed(seed);
    // A short lease, so that the tasks of the dead come back while the test lasts. The delivery limit is out of the way:
    // it is about tasks that kill, and here it is the test that kills.
    let mut ward = Ward::new().set("worker_lease", "2").set("worker_delivery_limit", "1000");
    let store = ward.store().await;
    let app = ward.app();
    let mut ids = send(&app, 0..TASKS).await;

    let mut workers = vec![ward.start_worker(), ward.start_worker()];
    let mut kills = Kills::default();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (sent, open) = (ids.len() as u32, open_at(Clock::system().now(), &store, &ids).await);
        // What was written to the diary meanwhile may be cut; then the next look counts.
        let busy = diary::starts(&ward.diary()).map_or(0, |starts| kills.busy(&starts));
        if open.is_empty() && busy >= KILLS {
            break;
        }
        assert!(Instant::now() < deadline, "{} tasks open, {busy} busy kills: seed {seed}", open.len());
        if busy < KILLS && open.len() < MORE as usize && sent < MOST {
            ids.extend(send(&app, sent..sent + MORE).await);
        }
        // The rhythm of the faults; nothing is expected to have happened after it.
        sleep(Duration::from_millis(dice.u64(150..450))).await;
        let victim = workers.swap_remove(dice.usize(..workers.len())).kill();
        kills.0.insert(victim, open_at(Clock::system().now(), &store, &ids).await);
        workers.push(ward.start_worker());
    }

    assert_every_result_is_right(&store, &ids).await;
    let starts = diary::starts(&ward.diary()).expect("the diary is readable");
    assert_eq!(starts.len(), ids.len(), "a task was never started: seed {seed}");
    let repeats: usize = starts.values().map(|by| by.len() - 1).sum();
    let (all, busy) = (kills.0.len(), kills.busy(&starts));
    println!("{all} kills, {busy} of busy workers, in {} tasks, of which {repeats} repeats", ids.len());
    for (number, by) in &starts {
        assert!(kills.explain(*number, by), "task {number} was started by {by:?}: seed {seed}");
    }
}

/// For each killed worker, the tasks without a final result when it was dead.
#[derive(Default)]
struct Kills(HashMap<u32, BTreeSet<u32>>);

impl Kills {
    /// Whether each start but the last was cut short by the death of its worker.
    fn explain(&self, number: u32, started_by: &[u32]) -> bool {
        let (_, earlier) = started_by.split_last().expect("it was started at least once");
        let distinct: BTreeSet<u32> = started_by.iter().copied().collect();
        distinct.len() == started_by.len()
            && earlier.iter().all(|worker| self.0.get(worker).is_some_and(|open| open.contains(&number)))
    }

    /// How many of the killed workers had started tasks that had no result when they died.
    fn busy(&self, starts: &HashMap<u32, Vec<u32>>) -> usize {
        let started = starts.iter().flat_map(|(number, by)| by.iter().map(move |worker| (worker, number)));
        let cut_short =
            started.filter(|(worker, number)| self.0.get(worker).is_some_and(|open| open.contains(number)));
        cut_short.map(|(worker, _)| worker).collect::<BTreeSet<_>>().len()
    }
}

/// Sends tasks of these numbers, of all kinds in turn; the ids in the order of their numbers.
async fn send(app: &App, numbers: Range<u32>) -> Vec<TaskId> {
    let signatures = numbers.map(|number| match number % 3 {
        0 => on_runtime.s(number),
        1 => on_thread.s(number),
        _ => in_process.s(number),
    });
    let sent = app.send_many(signatures).await.expect("the store takes the tasks");
    sent.into_iter().map(|result| result.id().clone()).collect()
}

/// The numbers of the tasks that had no final result at this moment, which has just been. To look for them takes so long on
/// a busy machine that others may finish tasks of the dead meanwhile; when a result was made tells these.
async fn open_at(moment: Timestamp, store: &Store, ids: &[TaskId]) -> BTreeSet<u32> {
    let records = store.results().get(ids).await.expect("the store answers");
    let was_ready =
        |record: &ResultRecord| record.state.is_ready() && record.date_done.is_none_or(|done| done <= moment);
    let is_open = |record: &Option<ResultRecord>| !record.as_ref().is_some_and(was_ready);
    (0..).zip(&records).filter(|(_, record)| is_open(record)).map(|(number, _)| number).collect()
}

async fn assert_every_result_is_right(store: &Store, ids: &[TaskId]) {
    let records = store.results().get(ids).await.expect("the store answers");
    for (number, record) in records.into_iter().enumerate() {
        let record = record.unwrap_or_else(|| panic!("task {number} has no result"));
        assert_eq!(record.state, State::Success, "task {number}");
        assert_eq!(record.result, (number as i64 * 2).into(), "task {number}");
    }
}
