//! Chains and chords whose workers are killed at random: no step is lost, and none is sent twice.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use celeriac::canvas::{Apply, ResultTree};
use celeriac::prelude::*;
use celeriac::protocol;
use celeriac::store::Store;
use celeriac_recovery::diary;
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::harness::{Patient, Ward};

/// How many steps the chain has.
const STEPS: u32 = 200;
/// How many chords there are, and how many members each has.
const CHORDS: u32 = 25;
const MEMBERS: u32 = 30;
/// How many workers are killed at most: enough to hit every kind of moment, and few enough to get on.
const KILLS: usize = 40;
const DEADLINE: Duration = Duration::from_secs(240);

/// Kills workers until everything has a result, and says which were killed.
struct Killing {
    ward: Ward,
    workers: Vec<Patient>,
    killed: BTreeSet<u32>,
    dice: Rng,
    seed: u64,
}

impl Killing {
    fn new() -> Self {
        let seed = std::env::var("CELERIAC_TEST_SEED")
            .map_or_else(|_| fastrand::u64(..), |text| text.parse().unwrap());
        println!("CELERIAC_TEST_SEED={seed}");
        let ward = Ward::new().set("worker_lease", "2").set("worker_delivery_limit", "1000");
        let dice = Rng::with_seed(seed);
        Self { ward, workers: Vec::new(), killed: BTreeSet::new(), dice, seed }
    }

    /// Kills one worker after the other until all of these have ended.
    async fn until_ended(&mut self, store: &Store, results: &[ResultTree]) {
        self.workers = vec![self.ward.start_worker(), self.ward.start_worker()];
        let ids: Vec<_> = results.iter().map(|result| result.id().clone()).collect();
        let deadline = Instant::now() + DEADLINE;
        loop {
            let records = store.results().get(&ids).await.expect("the store answers");
            let is_open = |record: &&Option<protocol::ResultRecord>| {
                !record.as_ref().is_some_and(|record| record.state.is_ready())
            };
            let open = records.iter().filter(is_open).count();
            if open == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{open} are open: seed {}", self.seed);
            // The rhythm of the faults; nothing is expected to have happened after it.
            sleep(Duration::from_millis(self.dice.u64(150..450))).await;
            if self.killed.len() == KILLS {
                continue;
            }
            let victim = self.workers.swap_remove(self.dice.usize(..self.workers.len()));
            self.killed.insert(victim.kill());
            self.workers.push(self.ward.start_worker());
        }
    }

    /// Who started what; each start but the last must have been cut short by a kill, or it was sent twice.
    fn starts(&self) -> HashMap<u32, Vec<u32>> {
        let starts = diary::starts(&self.ward.diary()).expect("the diary is readable");
        for (number, by) in &starts {
            let (_, earlier) = by.split_last().expect("it was started at least once");
            let distinct: BTreeSet<u32> = by.iter().copied().collect();
            let cut_short = earlier.iter().all(|worker| self.killed.contains(worker));
            assert!(
                distinct.len() == by.len() && cut_short,
                "{number} was started by {by:?}: seed {}",
                self.seed
            );
        }
        println!("{} kills", self.killed.len());
        starts
    }
}

/// A step of one of the kinds in turn.
fn step(number: u32) -> protocol::Signature {
    let kind = ["patient.step_on_runtime", "patient.step_on_thread", "patient.step_in_process"];
    let mut step = protocol::Signature::new(kind[number as usize % 3]);
    step.args.push(i64::from(number).into());
    step
}

fn composed(kind: &str, kwargs: Vec<(&str, Value)>) -> protocol::Signature {
    let mut signature = protocol::Signature::new(format!("celery.{kind}"));
    signature.kwargs = kwargs.into_iter().map(|(name, value)| (name.into(), value)).collect();
    signature.subtask_type = Some(kind.into());
    signature
}

fn list(signatures: impl IntoIterator<Item = protocol::Signature>) -> Value {
    Value::List(signatures.into_iter().map(protocol::Signature::into_value).collect())
}

async fn send(app: &App, store: &Store, call: protocol::Signature, args: Vec<Value>) -> ResultTree {
    let apply = Apply { args, ..Apply::default() };
    let unfolded = app.unfold(call, apply).expect("the composition is sound");
    store.publish(unfolded.publication).await.expect("the store takes it");
    unfolded.result.expect("it is not empty")
}

async fn result(store: &Store, result: &ResultTree) -> Value {
    let record = store.results().get(std::slice::from_ref(result.id())).await.expect("the store answers");
    let record = record.into_iter().flatten().next().expect("it has ended");
    assert_eq!(record.state, State::Success, "{record:?}");
    record.result
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_chain_whose_workers_are_killed_takes_every_step_once() {
    let mut killing = Killing::new();
    let (store, app) = (killing.ward.store().await, killing.ward.app());
    let chain = composed("chain", vec![("tasks", list((0..STEPS).map(step)))]);
    let sent = send(&app, &store, chain, vec![Value::Int(0)]).await;
    killing.until_ended(&store, std::slice::from_ref(&sent)).await;
    assert_eq!(result(&store, &sent).await, Value::Int(i64::from(STEPS)));
    assert_eq!(killing.starts().len(), STEPS as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn chords_whose_workers_are_killed_send_every_body_once() {
    let mut killing = Killing::new();
    let (store, app) = (killing.ward.store().await, killing.ward.app());
    let mut sent = Vec::new();
    for number in 0..CHORDS {
        let mut body = protocol::Signature::new("patient.add_up");
        body.args.push(i64::from(CHORDS * MEMBERS + number).into());
        let header = list((0..MEMBERS).map(|member| step(number * MEMBERS + member)));
        let kwargs =
            vec![("kwargs", Value::Map(Vec::new())), ("header", header), ("body", body.into_value())];
        let chord = composed("chord", kwargs);
        sent.push(send(&app, &store, chord, vec![Value::Int(i64::from(number))]).await);
    }
    killing.until_ended(&store, &sent).await;
    for (number, sent) in sent.iter().enumerate() {
        let expected = (number as i64 + 1) * i64::from(MEMBERS);
        assert_eq!(result(&store, sent).await, Value::Int(expected));
    }
    assert_eq!(killing.starts().len(), (CHORDS * MEMBERS + CHORDS) as usize);
}
