//! Workers killed at random lose nothing and repeat only what ran at the kill.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::protocol::{ResultRecord, TaskId};
use celeriac::store::Store;
use celeriac_recovery::diary;
use celeriac_recovery::patient::{in_process, on_runtime, on_thread};
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::harness::Ward;

const TASKS: u32 = 20_000;
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
    let ids = send(&ward.app()).await;

    let mut workers = vec![ward.start_worker(), ward.start_worker()];
    let mut kills = Kills::default();
    let deadline = Instant::now() + DEADLINE;
    loop {
        let open = open(&store, &ids).await;
        if open.is_empty() && kills.0.len() >= KILLS {
            break;
        }
        assert!(Instant::now() < deadline, "{} tasks have no result: seed {seed}", open.len());
        // The rhythm of the faults; nothing is expected to have happened after it.
        sleep(Duration::from_millis(dice.u64(150..450))).await;
        let victim = workers.swap_remove(dice.usize(..workers.len())).kill();
        kills.0.insert(victim, self::open(&store, &ids).await);
        workers.push(ward.start_worker());
    }

    assert_every_result_is_right(&store, &ids).await;
    let starts = diary::starts(&ward.diary()).expect("the diary is readable");
    assert_eq!(starts.len(), TASKS as usize, "a task was never started: seed {seed}");
    let repeats: usize = starts.values().map(|by| by.len() - 1).sum();
    println!("{} kills, {} tasks running at them, {repeats} repeats", kills.0.len(), kills.running(&starts));
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

    /// How many tasks had been started and had no result when their worker died, over all kills.
    fn running(&self, starts: &HashMap<u32, Vec<u32>>) -> usize {
        let at_kill = |(number, by): (&u32, &Vec<u32>)| {
            by.iter().filter(|worker| self.0.get(worker).is_some_and(|open| open.contains(number))).count()
        };
        starts.iter().map(at_kill).sum()
    }
}

/// Sends tasks of all kinds in turn; the ids in the order of their numbers.
async fn send(app: &App) -> Vec<TaskId> {
    let signatures = (0..TASKS).map(|number| match number % 3 {
        0 => on_runtime.s(number),
        1 => on_thread.s(number),
        _ => in_process.s(number),
    });
    let sent = app.send_many(signatures).await.expect("the store takes the tasks");
    sent.into_iter().map(|result| result.id().clone()).collect()
}

/// The numbers of the tasks that have no final result.
async fn open(store: &Store, ids: &[TaskId]) -> BTreeSet<u32> {
    let records = store.results().get(ids).await.expect("the store answers");
    let is_open =
        |record: &Option<ResultRecord>| !record.as_ref().is_some_and(|record| record.state.is_ready());
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
