//! `cargo xtask conformance`: Celery's own integration suite against our worker, an external process.
//!
//! Nothing of the suite is kept here: it is downloaded, and runs as it is. What is ours is in `tests/conformance`: the plugin that
//! starts the worker, and the list of tests that pass, which may only grow.

mod lane;
mod list;
mod pieces;
mod suite;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use crate::builds;
use crate::programs;
use crate::run::{self, Failure, Result};
use crate::runner::Tally;
use crate::server::Server;

use self::lane::{Lane, Record};
use self::list::List;
use self::pieces::Piece;
use self::suite::Suite;

/// How many parts of the suite run at once, each with a server and a worker of its own. Most of the time they sleep.
const LANES: usize = 6;

/// At most so many tests of the list get a second try, alone: some of the suite give dozens of tasks a second, whatever else runs.
const AGAIN: usize = 10;

/// Runs the whole suite, or only the tests, classes and files that are chosen.
pub(crate) fn run(chosen: &[String]) -> Result<Tally> {
    let redis = programs::ensure("redis-server", &["--version"], "redis-server")?;
    let Some(suite) = (if redis { Suite::prepare()? } else { None }) else {
        return Ok(Tally::skipped("Celery's integration suite did not run: no Python, or no redis-server"));
    };
    let worker = build_worker()?;
    let list = List::load()?;
    let tests = suite.collect(chosen)?;
    let started = Instant::now();
    let mut records = run_pieces(&suite, &worker, &list, (pieces::cut(&tests), LANES))?;
    let broken: Vec<String> =
        records.iter().filter(|record| list.is_broken_by(record)).map(|record| record.test.clone()).collect();
    if (1..=AGAIN).contains(&broken.len()) {
        println!("\n{} tests of the list did not pass, and run again, alone:", broken.len());
        records.extend(run_pieces(&suite, &worker, &list, (pieces::again(&broken), 1))?);
    }
    println!("\nCelery's integration suite took {:.0} s", started.elapsed().as_secs_f64());
    let listed = list.tests().filter(|_| chosen.is_empty());
    Ok(list.judge(tests.iter().chain(listed), &records).into_tally())
}

/// Runs all pieces, in so many lanes, and says what became of each test.
fn run_pieces(
    suite: &Suite,
    worker: &Path,
    list: &List,
    (pieces, lanes): (Vec<Piece>, usize),
) -> Result<Vec<Record>> {
    let lanes = lanes.min(pieces.len());
    let pieces = &Mutex::new(VecDeque::from(pieces));
    let lane = |_| Ok(Lane { suite, worker, server: Server::start()?, list, pieces });
    let lanes = (0..lanes).map(lane).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let running: Vec<_> = lanes.iter().map(|lane| scope.spawn(|| lane.work())).collect();
        let mut records = Vec::new();
        for lane in running {
            let panicked = |_| Failure("a lane of the integration suite panicked".to_owned());
            records.extend(lane.join().map_err(panicked)??);
        }
        Ok(records)
    })
}

/// Builds the worker, with the checks of a debug build, and says where it is. The test of the Python package has built most of it.
fn build_worker() -> Result<PathBuf> {
    run::run(run::cargo().arg("build").args(builds::PROGRAM))?;
    Ok(run::root().join("target/debug/celeriac"))
}
