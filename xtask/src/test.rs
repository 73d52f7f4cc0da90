//! `cargo xtask test`: everything, with what it needs installed where that is possible.

use std::path::Path;
use std::process::Command;

use crate::run::{self, Result};
use crate::runner::{self, Tally};
use crate::server::Server;
use crate::{check, conformance, package, programs, python};

/// How often the recovery tests run.
const RECOVERY_ROUNDS: usize = 3;

/// Installs what is missing, checks, and runs every test.
pub(crate) fn run() -> Result<()> {
    let python = python::recording()?;
    let redis = programs::ensure("redis-server", &["--version"], "redis-server")?;
    let openssl = programs::ensure("openssl", &["version"], "openssl")?;
    programs::ensure("prometheus", &["--version"], "prometheus")?;
    check::form()?;
    let mut tally = check::workspace_tests(match (redis, openssl) {
        (true, true) => &["redis", "tls"],
        (true, false) => &["redis"],
        (false, _) => &[],
    })?;
    if !redis {
        tally.add(Tally::skipped("the store on Redis was not tested: no redis-server"));
    } else if !openssl {
        tally.add(Tally::skipped("TLS to Redis was not tested: no openssl to make certificates"));
    }
    tally.add(match python {
        Some(interpreter) => recorded_bytes(&interpreter)?,
        None => Tally::skipped("the recorded bytes were not compared with Celery: no Python"),
    });
    for release in python::CELERY {
        tally.add(match python::celery(release)? {
            Some(interpreter) if redis => interop(release, &interpreter)?,
            _ => Tally::skipped("Celery was not run beside this: no Python, or no redis-server"),
        });
    }
    tally.add(match python::package()? {
        Some(interpreter) => package::test(&interpreter)?,
        None => Tally::skipped("the Python package was not installed: no Python"),
    });
    tally.add(recovery(redis)?);
    tally.add(example(&[], &[])?);
    tally.add(conformance::run(&[])?);
    if redis {
        let server = Server::start()?;
        tally.add(example(&["--features", "redis"], &["--store", &server.url()])?);
    }
    runner::conclude(&tally)
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
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked", "--package", "celeriac-interop"]).current_dir(run::root());
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

/// Kills workers and pool children and accounts for every task; optimised, as users run it, each time with other seeds.
/// In the first round also servers: that takes longer, and most of the time it waits, beside the others.
fn recovery(redis: bool) -> Result<Tally> {
    let mut tally = Tally::default();
    for round in 0..RECOVERY_ROUNDS {
        let mut command = Command::new(env!("CARGO"));
        command.args([
            "test",
            "--release",
            "--locked",
            "--package",
            "celeriac-recovery",
            "--",
            "--nocapture",
        ]);
        if !redis || round > 0 {
            command.args(["--skip", "outages::", "--skip", "telling::"]);
            command.args(["--skip", "random_compositions_on_redis"]);
        }
        tally.add(runner::run(command.current_dir(run::root()))?);
    }
    Ok(tally)
}

/// The first command of the README, on a small folder, built and run with these arguments too.
fn example(build: &[&str], run: &[&str]) -> Result<Tally> {
    let folder = run::root().join("crates");
    let command = ["run", "--release", "--locked", "--example", "urls"];
    let arguments = [&command, build, &["--"], run].concat();
    run::cargo(arguments, [folder])?;
    Ok(Tally::passed(1))
}
