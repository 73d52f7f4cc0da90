//! One store with its workers, compositions that grow on it, and what befalls them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use celeriac::canvas::{Apply, ResultNode, ResultTree};
use celeriac::prelude::*;
use celeriac::protocol::{ResultRecord, TaskId};
use celeriac::store::{Publication, Store};
use celeriac_faults::{Ending, Proxy, Server, Weather};
use celeriac_recovery::diary;
use celeriac_trees::{Nursery, Outcome, Reference, Tree, run_of};
use fastrand::Rng;
use tokio::task::block_in_place;
use tokio::time::{Instant, sleep, timeout};

use super::{Account, Remains};
use crate::harness::{Patient, Ward};

/// How many compositions are open at most.
const CROWD: usize = 40;
/// The time in which something more of what was sent ends, once nothing is broken any more.
const STALLS: Duration = Duration::from_secs(60);
/// The time in which a server answers the test, also right after a fault and on a busy machine.
const ANSWERS: Duration = Duration::from_secs(30);
/// A fault of the server comes with one strike of so many; the others kill workers.
const SERVER_FAULTS: u32 = 4;
/// The longest fault of a server.
const LONGEST: u64 = 1500;

/// What can go wrong with a server, or on the way to it.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Pause,
    Reset,
    BlackHole,
    CutAnswers,
}

const FAULTS: [Fault; 6] =
    [Fault::Kill, Fault::Kill, Fault::Pause, Fault::Reset, Fault::BlackHole, Fault::CutAnswers];

/// A composition that was sent.
struct Grown {
    tree: Tree,
    result: ResultTree,
    reference: Reference,
    outcome: Outcome,
}

pub(super) struct Grove {
    ward: Ward,
    server: Option<(Server, Proxy)>,
    app: App,
    store: Store,
    workers: Vec<Patient>,
    nursery: Nursery,
    dice: Rng,
    seed: u64,
    grown: Vec<Grown>,
    /// The places of those that have tasks without a result.
    open: BTreeSet<usize>,
    account: Account,
}

impl Grove {
    pub(super) async fn new(
        mut ward: Ward,
        server: Option<(Server, Proxy)>,
        seed: u64,
        workers: u32,
    ) -> Self {
        let (app, store) = (ward.app(), ward.patient_store(ANSWERS).await);
        Self {
            workers: (0..workers).map(|_| ward.start_worker()).collect(),
            ward,
            server,
            app,
            store,
            nursery: Nursery::new(seed),
            dice: Rng::with_seed(seed),
            seed,
            grown: Vec::new(),
            open: BTreeSet::new(),
            account: Account::default(),
        }
    }

    /// Sends compositions and breaks things for that long; then everything ends as it should.
    pub(super) async fn suffer(mut self, storm: Duration, remains: Remains) -> Account {
        let until = Instant::now() + storm;
        while Instant::now() < until {
            self.look().await;
            self.plant().await;
            // The rhythm of the faults; nothing is expected to have happened after it.
            let pause = self.dice.u64(50..400);
            sleep(Duration::from_millis(pause)).await;
            match &self.server {
                Some(_) if self.dice.u32(..SERVER_FAULTS) == 0 => self.break_server().await,
                _ => self.kill_worker(),
            }
        }
        self.until_settled(&remains).await;
        for grown in &self.grown {
            self.assert_ended(grown).await;
        }
        self.assert_runs();
        self.account
    }

    fn kill_worker(&mut self) {
        let victim = self.workers.swap_remove(self.dice.usize(..self.workers.len()));
        block_in_place(|| victim.kill());
        self.workers.push(self.ward.start_worker());
        self.account.kills += 1;
    }

    async fn break_server(&mut self) {
        let fault = FAULTS[self.dice.usize(..FAULTS.len())];
        let half = Duration::from_millis(self.dice.u64(..LONGEST) / 2);
        self.strike(fault, half, true);
        sleep(half).await;
        if self.dice.bool() {
            self.kill_worker();
        }
        sleep(half).await;
        self.strike(fault, half, false);
        *self.account.faults.entry(fault.name()).or_default() += 1;
    }

    fn strike(&mut self, fault: Fault, half: Duration, begins: bool) {
        let Some((server, proxy)) = &mut self.server else { return };
        match (fault, begins) {
            (Fault::Kill, true) => block_in_place(|| server.kill()),
            (Fault::Kill, false) => block_in_place(|| server.start_again()),
            (Fault::Pause, true) => server.pause(),
            (Fault::Pause, false) => server.go_on(),
            (Fault::Reset, _) => proxy.end(Ending::Reset),
            (Fault::BlackHole, true) => proxy.weather(Weather::BlackHole),
            (Fault::CutAnswers, true) => {
                proxy.weather(Weather::AnswersEnd(u64::from(half.subsec_millis()) * 3));
            }
            (Fault::BlackHole | Fault::CutAnswers, false) => proxy.weather(Weather::Fair),
        }
    }

    /// Sends as many compositions as have ended, in one step.
    async fn plant(&mut self) {
        let mut all = Publication::default();
        while self.open.len() < CROWD {
            let tree = self.nursery.tree();
            let unfolded =
                self.app.unfold(tree.signature(), Apply::default()).expect("the composition is sound");
            all.append(unfolded.publication);
            let (reference, outcome) = Reference::of(&tree);
            let result = unfolded.result.expect("it is not empty");
            self.open.insert(self.grown.len());
            self.grown.push(Grown { tree, result, reference, outcome });
        }
        self.store.publish(all).await.expect("the server is there when something is sent");
    }

    /// Which compositions have tasks without a result; says how many such tasks there are.
    async fn look(&mut self) -> usize {
        let due =
            |place: &usize| self.grown[*place].reference.nodes.iter().filter(|(_, node)| node.end.is_some());
        let ids: Vec<TaskId> = self.open.iter().flat_map(due).map(|(id, _)| id.clone()).collect();
        let counts: Vec<usize> = self.open.iter().map(|place| due(place).count()).collect();
        let records = self.records(&ids).await;
        let mut records = records.iter();
        let is_open =
            |record: &Option<ResultRecord>| !record.as_ref().is_some_and(|found| found.state.is_ready());
        let (mut counts, mut tasks) = (counts.into_iter(), 0);
        self.open.retain(|_| {
            let count = counts.next().unwrap_or_default();
            let open = records.by_ref().take(count).filter(|record| is_open(record)).count();
            tasks += open;
            open > 0
        });
        tasks
    }

    /// Asks until there is an answer: the connection of the test may have to be made anew.
    async fn records(&self, ids: &[TaskId]) -> Vec<Option<ResultRecord>> {
        let deadline = Instant::now() + ANSWERS;
        loop {
            match self.store.results().get(ids).await {
                Ok(records) => return records,
                Err(error) => {
                    assert!(Instant::now() < deadline, "the server does not answer the test: {error}");
                }
            }
        }
    }

    /// Waits until every task has its result, and nothing is left of what brought it.
    async fn until_settled(&mut self, remains: &Remains) {
        let (mut deadline, mut before) = (Instant::now() + STALLS, None);
        loop {
            let tasks = self.look().await;
            let left = if self.open.is_empty() { block_in_place(|| remains.found()) } else { Vec::new() };
            if self.open.is_empty() && left.is_empty() {
                return;
            }
            let now = Some((tasks, left.len()));
            if now != before {
                (deadline, before) = (Instant::now() + STALLS, now);
            }
            if Instant::now() > deadline {
                for place in &self.open {
                    self.print_open(*place).await;
                }
                panic!("{} compositions are open, and left is {left:?}: seed {}", self.open.len(), self.seed);
            }
            // Either ends with its time, and the next look says whether that was enough.
            match self.open.first() {
                Some(place) => {
                    let id = self.grown[*place].result.id();
                    let waiting = self.store.results().wait(std::slice::from_ref(id));
                    let _ = timeout(Duration::from_millis(300), waiting).await;
                }
                None => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    async fn print_open(&self, place: usize) {
        let grown = &self.grown[place];
        for (id, node) in &grown.reference.nodes {
            let record = self.records(std::slice::from_ref(id)).await.remove(0);
            println!("{id} {node:?}: {record:?}");
        }
        println!("{:#?}", grown.tree);
    }

    /// Each task has ended as it should, and what should not be called was not; so has the whole.
    async fn assert_ended(&self, grown: &Grown) {
        let ids: Vec<TaskId> = grown.reference.nodes.keys().cloned().collect();
        let records = self.records(&ids).await;
        for ((id, node), record) in grown.reference.nodes.iter().zip(&records) {
            let is_right = match (&node.end, record) {
                (Some(end), Some(record)) => end.is(record),
                (None, None) => true,
                _ => false,
            };
            assert!(is_right, "{id} {node:?} ended as {record:?}: seed {}: {:#?}", self.seed, grown.tree);
        }
        let known: BTreeMap<&TaskId, &Option<ResultRecord>> = ids.iter().zip(&records).collect();
        assert!(
            is_outcome(&known, &grown.result, &grown.outcome),
            "not {:?}: seed {}: {:#?}",
            grown.outcome,
            self.seed,
            grown.tree
        );
    }

    /// What should run has run, and nothing else.
    fn assert_runs(&mut self) {
        let starts = diary::starts(&self.ward.diary()).expect("the diary is readable");
        let nodes = self.grown.iter().flat_map(|grown| grown.reference.nodes.values());
        let mut expected = BTreeSet::new();
        for node in nodes {
            expected.extend((0..node.runs).map(|run| run_of(node.number, run)));
            self.account.failed += usize::from(matches!(node.end, Some(celeriac_trees::End::Fault(_))));
            self.account.tasks += usize::from(node.end.is_some());
        }
        let found: BTreeSet<u32> = starts.keys().copied().collect();
        assert_eq!(found, expected, "what ran, and what should have: seed {}", self.seed);
        self.account.repeats = starts.values().map(|by| by.len() - 1).sum();
        self.account.trees = self.grown.len();
    }
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Reset => "reset",
            Self::BlackHole => "black hole",
            Self::CutAnswers => "cut answers",
        }
    }
}

/// Whether this came out of the composition with these results.
fn is_outcome(
    known: &BTreeMap<&TaskId, &Option<ResultRecord>>,
    result: &ResultTree,
    expected: &Outcome,
) -> bool {
    match (expected, result.node()) {
        (Outcome::Task(end), ResultNode::Task) => {
            known.get(result.id()).is_some_and(|record| record.as_ref().is_some_and(|record| end.is(record)))
        }
        (Outcome::Group(expected), ResultNode::Group) => {
            let members: Vec<ResultTree> = result.members().collect();
            members.len() == expected.len()
                && members.iter().zip(expected).all(|(member, expected)| is_outcome(known, member, expected))
        }
        _ => false,
    }
}
