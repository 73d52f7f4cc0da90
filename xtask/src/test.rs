//! `cargo xtask test`: everything, with what it needs installed where that is possible.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Failure, Result};
use crate::runner::{self, Tally};
use crate::server::Server;
use crate::steps::Steps;
use crate::{builds, check, conformance, package, programs, python};

/// How many tests run at once, for Rust's own runner.
const TEST_THREADS: &str = "RUST_TEST_THREADS";

/// How often the recovery tests run.
const RECOVERY_ROUNDS: usize = 3;

/// Installs what is missing, checks, and runs every test.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let tally = everything(&mut steps);
    steps.conclude(tally)
}

fn everything(steps: &mut Steps) -> Result<Tally> {
    let here = steps.take("what was missing", Here::install)?;
    check::form(steps)?;
    let mut tally = steps.take("tests of the workspace", || check::workspace_tests(here.features()))?;
    tally.add(here.skipped());
    if let Some(interpreter) = &here.recording {
        tally.add(steps.take("recorded bytes", || recorded_bytes(interpreter))?);
    }
    tally.add(meanwhile(build_the_rest, || beside_others(&here, steps))?);
    for round in 0..RECOVERY_ROUNDS {
        let name = format!("recovery, round {}", round + 1);
        tally.add(steps.take(&name, || recovery(here.redis && round == 0))?);
    }
    tally.add(steps.take("the example", || example(&[]))?);
    if here.redis {
        let server = Server::start()?;
        tally.add(steps.take("the example on Redis", || example(&["--store", &server.url()]))?);
    }
    Ok(tally)
}

/// What waits most of the time: for other programs, and for time to pass.
fn beside_others(here: &Here, steps: &mut Steps) -> Result<Tally> {
    let mut tally = Tally::default();
    for (release, interpreter) in here.celery.iter().filter(|_| here.redis) {
        tally.add(steps.take(&format!("beside Celery {release}"), || interop(release, interpreter))?);
    }
    if let Some(interpreter) = &here.package {
        tally.add(steps.take("the Python package", || package::test(interpreter))?);
    }
    tally.add(steps.take("Celery's integration suite", || conformance::run(&[]))?);
    Ok(tally)
}

/// What there is to test with.
struct Here {
    redis: bool,
    openssl: bool,
    /// The Python that records wire bytes.
    recording: Option<PathBuf>,
    /// One for each release of Celery.
    celery: Vec<(&'static str, PathBuf)>,
    /// The one into which the package is installed.
    package: Option<PathBuf>,
}

impl Here {
    fn install() -> Result<Self> {
        // Tests that need it say what they miss.
        programs::ensure("prometheus", &["--version"], "prometheus")?;
        let mut celery = Vec::new();
        for release in python::CELERY {
            celery.extend(python::celery(release)?.map(|interpreter| (*release, interpreter)));
        }
        Ok(Self {
            redis: programs::ensure("redis-server", &["--version"], "redis-server")?,
            openssl: programs::ensure("openssl", &["version"], "openssl")?,
            recording: python::recording()?,
            celery,
            package: python::package()?,
        })
    }

    /// The features of the library whose tests can run.
    fn features(&self) -> &'static [&'static str] {
        match (self.redis, self.openssl) {
            (true, true) => &["redis", "tls"],
            (true, false) => &["redis"],
            (false, _) => &[],
        }
    }

    /// What cannot run.
    fn skipped(&self) -> Tally {
        let mut tally = Tally::default();
        if !self.redis {
            tally.add(Tally::skipped("the store on Redis was not tested: no redis-server"));
        } else if !self.openssl {
            tally.add(Tally::skipped("TLS to Redis was not tested: no openssl to make certificates"));
        }
        if self.recording.is_none() {
            tally.add(Tally::skipped("the recorded bytes were not compared with Celery: no Python"));
        }
        if self.celery.is_empty() || !self.redis {
            tally.add(Tally::skipped("Celery was not run beside this: no Python, or no redis-server"));
        }
        if self.package.is_none() {
            tally.add(Tally::skipped("the Python package was not installed: no Python"));
        }
        tally
    }
}

/// Records the wire bytes anew with real Celery and compares them with the ones in the repository.
fn recorded_bytes(interpreter: &Path) -> Result<Tally> {
    let script = run::root().join("crates/protocol/tests/recorded/record.py");
    run::run(Command::new(interpreter).arg(script).arg("--check"))?;
    Ok(Tally::passed(1))
}

/// Runs real Celery beside workers and clients in Rust. What canvases come to is compared with the newest release, which is
/// the one that says what is right: the older ones lose chords that it does not lose, and link results otherwise. What takes
/// long and is about our children runs beside the newest only.
fn interop(release: &str, interpreter: &Path) -> Result<Tally> {
    let mut command = run::cargo();
    command.arg("test").args(builds::EVERYTHING).args(["--test", "interop"]);
    if std::env::var_os(TEST_THREADS).is_none() {
        // One more than there are processors, as most of the time they wait.
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env(TEST_THREADS, (processors + 1).to_string());
    }
    if release != python::CELERY[0] {
        command.args([
            "--",
            "--skip",
            "canvases::",
            "--skip",
            "each_child_opens_one_connection",
            "--skip",
            "tools::",
            "--skip",
            "shapes::",
            "--skip",
            "commanding::",
        ]);
    }
    runner::run(command.env("CELERIAC_TEST_PYTHON", interpreter))
}

/// Does something while tests run that sleep most of the time. It counts as a test that failed if it fails.
fn meanwhile(
    work: impl FnOnce() -> Result<()> + Send,
    tests: impl FnOnce() -> Result<Tally>,
) -> Result<Tally> {
    std::thread::scope(|scope| {
        let working = scope.spawn(work);
        let tally = tests();
        let panicked = |_| Err(Failure("what was done beside the tests panicked".to_owned()));
        match (working.join().unwrap_or_else(panicked), tally) {
            (Ok(()), tally) => tally,
            (Err(failure), Ok(tally)) => Ok(tally.and_failed(&failure)),
            (Err(failure), Err(of_tests)) => Err(Failure(format!("{of_tests}\n{failure}"))),
        }
    })
}

/// What is compiled with the processors that nothing else wants: for lints and documentation, and what runs optimised.
fn build_the_rest() -> Result<()> {
    check::rest_of_form(run::idle_cargo)?;
    let mut build = run::idle_cargo();
    build.args(["build", "--quiet"]).args(builds::OPTIMISED);
    run::run(build.args(["--test", "recovery", "--example", "urls"]))
}

/// Kills workers and pool children and accounts for every task; optimised, as users run it, each time with other seeds.
/// With `outages` also servers: that takes longer, and most of the time it waits, beside the others.
fn recovery(outages: bool) -> Result<Tally> {
    let mut command = run::cargo();
    command.arg("test").args(builds::OPTIMISED).args(["--test", "recovery", "--", "--nocapture"]);
    if !outages {
        command.args(["--skip", "outages::", "--skip", "telling::"]);
        command.args(["--skip", "random_compositions_on_redis"]);
    }
    runner::run(&mut command)
}

/// The first command of the README, on a small folder, with these arguments too.
fn example(arguments: &[&str]) -> Result<Tally> {
    let folder = run::root().join("crates");
    let mut command = Command::new(run::root().join("target/ci/examples/urls"));
    run::run(command.arg(folder).args(arguments).current_dir(run::root()))?;
    Ok(Tally::passed(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_beside_tests_fails_the_step() {
        let tests = || Ok(Tally::passed(2));
        let failure = |text: &str| Failure(text.to_owned());
        assert_eq!(meanwhile(|| Ok(()), tests).unwrap(), Tally::passed(2));
        let failed = meanwhile(|| Err(failure("it does not build")), tests).unwrap();
        assert_eq!((failed.passed, failed.failed), (2, 1));
        assert_eq!(failed.failures, ["it does not build"]);
        let failed = meanwhile(|| panic!("as it does"), tests).unwrap();
        assert_eq!(failed.failures, ["what was done beside the tests panicked"]);
        let both =
            meanwhile(|| Err(failure("nor does it build")), || Err(failure("no test ran"))).unwrap_err();
        assert_eq!(both.to_string(), "no test ran\nnor does it build");
    }
}
