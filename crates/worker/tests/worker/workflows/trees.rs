//! Random compositions with random failures, on workers that die at random: what comes out is what one after the other
//! would have.

use std::time::Duration;

use celeriac_app::canvas::{ResultNode, ResultTree};
use celeriac_app::protocol::{Signature, State, Value};
use celeriac_app::{App, TaskBody, TaskDefinition, TaskError};
use fastrand::Rng;

use super::canvas::{call, chain, chord, group};
use crate::harness::{Bench, Worker};

/// A composition, as it is drawn.
#[derive(Clone, Debug)]
enum Tree {
    /// Adds this to all that it gets.
    Add(i64),
    /// Returns this, whatever came before.
    Constant(i64),
    Fail,
    Chain(Vec<Tree>),
    Group(Vec<Tree>),
    Chord(Vec<Tree>, Box<Tree>),
}

/// The steps of a chain as Celery's `|` composes them: chains in it become part of it, and what follows a chord that ends
/// in a group becomes part of its body.
fn folded(steps: &[Tree]) -> Vec<Tree> {
    let mut folded = Vec::new();
    for step in steps {
        match (step, folded.last_mut()) {
            (Tree::Chain(steps), _) => {
                for step in steps {
                    folded = self::folded(&[folded, vec![step.clone()]].concat());
                }
            }
            (step, Some(Tree::Chord(_, body))) if body.ends_in_group() => {
                **body = Tree::Chain(vec![(**body).clone(), step.clone()]);
            }
            (step, _) => folded.push(step.clone()),
        }
    }
    folded
}

/// What should come out: of a task a value or a failure, of a group what comes out of its members.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Task(Option<Value>),
    Group(Vec<Expected>),
}

impl Tree {
    fn draw(rng: &mut Rng, depth: u32) -> Self {
        match if depth == 0 { 0 } else { rng.u32(0..10) } {
            0..4 => Self::draw_task(rng),
            4..7 => {
                let steps = rng.usize(2..5);
                Self::Chain((0..steps).map(|_| Self::draw(rng, depth - 1)).collect())
            }
            7..8 => Self::Group(Self::draw_members(rng, depth - 1)),
            _ => Self::Chord(Self::draw_members(rng, depth - 1), Box::new(Self::draw(rng, depth - 1))),
        }
    }

    fn draw_task(rng: &mut Rng) -> Self {
        match rng.u32(0..25) {
            0 => Self::Fail,
            1..4 => Self::Constant(rng.i64(0..100)),
            _ => Self::Add(rng.i64(0..100)),
        }
    }

    /// Celery makes one flat group of groups within groups, so members are something else.
    fn draw_members(rng: &mut Rng, depth: u32) -> Vec<Self> {
        let members = rng.usize(2..6);
        let draw = |_| loop {
            match Self::draw(rng, depth) {
                Self::Group(_) => {}
                member => return member,
            }
        };
        (0..members).map(draw).collect()
    }

    fn signature(&self) -> Signature {
        let all = |trees: &[Self]| trees.iter().map(Self::signature).collect::<Vec<_>>();
        match self {
            Self::Add(number) => call("add", [*number]),
            Self::Constant(number) => Signature { immutable: true, ..call("add", [*number]) },
            Self::Fail => call("fail", []),
            Self::Chain(steps) => chain(all(&folded(steps))),
            Self::Group(members) => group(all(members)),
            Self::Chord(header, body) => chord(all(header), body.signature()),
        }
    }

    /// Whether what comes out are the results of a group.
    fn ends_in_group(&self) -> bool {
        match self {
            Self::Group(_) => true,
            Self::Chain(steps) => steps.last().is_some_and(Self::ends_in_group),
            Self::Chord(_, body) => body.ends_in_group(),
            _ => false,
        }
    }

    /// What comes out if it gets this, `None` after a failure.
    fn expected(&self, input: Option<&Value>) -> Expected {
        let each = |trees: &[Self]| trees.iter().map(|tree| tree.expected(input)).collect();
        match self {
            Self::Add(number) => Expected::Task(input.map(|input| Value::Int(sum(input) + number))),
            Self::Constant(number) => Expected::Task(input.map(|_| Value::Int(*number))),
            Self::Fail => Expected::Task(None),
            Self::Group(members) => Expected::Group(each(members)),
            Self::Chain(steps) => {
                let (last, before) = steps.split_last().expect("chains have steps");
                let mut input = input.cloned();
                for step in before {
                    input = step.expected(input.as_ref()).value();
                }
                last.expected(input.as_ref())
            }
            Self::Chord(header, body) => body.expected(Expected::Group(each(header)).value().as_ref()),
        }
    }
}

impl Expected {
    /// What the next step gets.
    fn value(&self) -> Option<Value> {
        match self {
            Self::Task(value) => value.clone(),
            Self::Group(members) => members.iter().map(Self::value).collect::<Option<_>>().map(Value::List),
        }
    }
}

fn sum(value: &Value) -> i64 {
    match value {
        Value::List(values) => values.iter().map(sum).sum(),
        value => value.as_i64().unwrap_or(0),
    }
}

/// Tasks that take their time, so that workers die in the middle of them.
fn program() -> App {
    let slow = |name, fails: bool| {
        let body = TaskBody::asynchronous(move |_, arguments| async move {
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..20))).await;
            match fails {
                true => Err(TaskError::failure("ValueError", "bad").permanent()),
                false => Ok(Value::Int(sum(&Value::List(arguments.args)))),
            }
        });
        TaskDefinition::new(name, body)
    };
    App::new("test").task(slow("add", false)).task(slow("fail", true))
}

/// What came out.
async fn outcome(bench: &Bench, result: &ResultTree) -> Expected {
    match result.node() {
        ResultNode::Group => {
            let mut members = Vec::new();
            for member in result.members() {
                members.push(Box::pin(outcome(bench, &member)).await);
            }
            Expected::Group(members)
        }
        ResultNode::Task => {
            let record = bench.ended(result.id()).await;
            Expected::Task((record.state == State::Success).then_some(record.result))
        }
    }
}

/// Kills a worker now and then, and starts another, for as long as it is polled.
async fn kill_workers(bench: &Bench, workers: &mut [Option<Worker>], rng: &mut Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(5..60))).await;
        let place = rng.usize(..workers.len());
        if let Some(worker) = workers[place].take() {
            worker.die().await;
        }
        workers[place] = Some(bench.start());
    }
}

async fn run_trees(bench: &Bench, seed: u64, trees: usize, kills: bool) {
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let trees: Vec<Tree> = (0..trees).map(|_| Tree::draw(&mut rng, 3)).collect();
    let mut workers = [Some(bench.start()), Some(bench.start())];
    let compare = async {
        let mut results = Vec::new();
        for tree in &trees {
            results.push(bench.apply(tree.signature()).await);
        }
        for (tree, result) in trees.iter().zip(&results) {
            let nothing = Value::List(Vec::new());
            assert_eq!(outcome(bench, result).await, tree.expected(Some(&nothing)), "seed {seed}: {tree:?}");
        }
        bench.drained().await;
    };
    match kills {
        false => compare.await,
        true => tokio::select! {
            () = compare => {}
            () = kill_workers(bench, &mut workers, &mut rng) => {}
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
