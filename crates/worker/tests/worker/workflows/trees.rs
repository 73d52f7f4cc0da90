//! Random compositions with random failures, on workers that die at random: what comes out is what one after the other
//! would have.

use std::time::Duration;

use celeriac_app::canvas::{ResultNode, ResultTree};
use celeriac_app::{App, TaskBody, TaskDefinition};
use celeriac_trees::{Nursery, Outcome, Reference, TASKS, Tree, perform};
use fastrand::Rng;

use crate::harness::{Bench, Worker};

/// Tasks that take their time, so that workers die in the middle of them.
fn program() -> App {
    let slow = |name| {
        let body = TaskBody::asynchronous(move |context, arguments| async move {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
            perform(&arguments, context.retries())
        });
        TaskDefinition::new(name, body)
    };
    TASKS.iter().fold(App::new("test"), |app, name| app.task(slow(*name)))
}

/// Whether this came out of the composition.
async fn is_outcome(bench: &Bench, result: &ResultTree, expected: &Outcome) -> bool {
    match expected {
        Outcome::Task(end) => result.node() == ResultNode::Task && end.is(&bench.ended(result.id()).await),
        Outcome::Group(expected) => {
            let members: Vec<ResultTree> = result.members().collect();
            let mut same = result.node() == ResultNode::Group && members.len() == expected.len();
            for (member, expected) in members.iter().zip(expected) {
                same = same && Box::pin(is_outcome(bench, member, expected)).await;
            }
            same
        }
    }
}

/// Asserts of every task how it ended, once nothing is left to run.
async fn assert_ended_as(bench: &Bench, tree: &Tree, reference: &Reference, seed: u64) {
    for (id, node) in &reference.nodes {
        let record = bench.store.results().get(std::slice::from_ref(id)).await.unwrap().remove(0);
        let is_right = match (&node.end, &record) {
            (Some(end), Some(record)) => end.is(record),
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "{node:?} ended as {record:?}: seed {seed}: {tree:#?}");
    }
}

/// Kills a worker now and then, and starts another, for as long as it is polled.
async fn kill_workers(bench: &Bench, workers: &mut [Option<Worker>], dice: &mut Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(dice.u64(5..60))).await;
        let place = dice.usize(..workers.len());
        if let Some(worker) = workers[place].take() {
            worker.die().await;
        }
        workers[place] = Some(bench.start());
    }
}

async fn run_trees(bench: &Bench, seed: u64, trees: usize, kills: bool) {
    println!("seed {seed}");
    let (mut nursery, mut dice) = (Nursery::new(seed), Rng::with_seed(seed));
    let trees: Vec<Tree> = (0..trees).map(|_| nursery.tree()).collect();
    let mut workers = [Some(bench.start()), Some(bench.start())];
    let compare = async {
        let mut results = Vec::new();
        for tree in &trees {
            results.push(bench.apply(tree.signature()).await);
        }
        for (tree, result) in trees.iter().zip(&results) {
            let (_, outcome) = Reference::of(tree);
            assert!(is_outcome(bench, result, &outcome).await, "not {outcome:?}: seed {seed}: {tree:#?}");
        }
        bench.drained().await;
        for tree in &trees {
            assert_ended_as(bench, tree, &Reference::of(tree).0, seed).await;
        }
    };
    match kills {
        false => compare.await,
        true => tokio::select! {
            () = compare => {}
            () = kill_workers(bench, &mut workers, &mut dice) => {}
        },
    }
    for worker in workers.into_iter().flatten() {
        worker.stop().await;
    }
}

/// The seeds to try: those of `CELERIAC_TREES_SEEDS`, such as `7` or `0..500`, or these.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var("CELERIAC_TREES_SEEDS") else { return default };
    let number = |text: &str| text.parse().expect("CELERIAC_TREES_SEEDS is a number, or two with .. between");
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&text)..number(&text) + 1,
    }
}

#[tokio::test(start_paused = true)]
async fn a_random_composition_ends_as_if_run_in_order() {
    for seed in seeds(0..8) {
        let bench = Bench::new(program()).await;
        run_trees(&bench, seed, 20, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_random_composition_ends_as_if_run_in_order_while_workers_die() {
    for seed in seeds(1000..1003) {
        let bench = Bench::new(program()).await.with(|options| options.delivery_limit = 1_000_000);
        run_trees(&bench, seed, 10, true).await;
    }
}

#[tokio::test]
async fn a_random_composition_ends_as_if_run_in_order_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    for seed in seeds(2000..2003) {
        let url = format!("sqlite:///{}", folder.path().join(format!("{seed}.db")).display());
        let bench = Bench::on(program(), &url).await;
        run_trees(&bench, seed, 20, false).await;
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_random_composition_ends_as_if_run_in_order_on_redis() {
    let server = celeriac_faults::Server::start();
    for seed in seeds(3000..3003) {
        let bench = Bench::on(program(), &server.url(u32::try_from(seed % 16).unwrap())).await;
        run_trees(&bench, seed, 20, false).await;
    }
}
