//! `cargo xtask test`: everything, with what it needs installed where that is possible.

use std::process::Command;

use crate::run::{self, Result, Tally};
use crate::{check, python};

/// How often the recovery tests run.
const RECOVERY_ROUNDS: usize = 3;

/// Installs what is missing, checks, and runs every test.
pub(crate) fn run() -> Result<()> {
    let python = python::environment()?;
    check::form()?;
    let mut tally = check::workspace_tests()?;
    tally.add(match python {
        Some(interpreter) => recorded_bytes(&interpreter)?,
        None => skipped("the recorded bytes were not compared with Celery: no Python"),
    });
    tally.add(recovery()?);
    tally.add(example()?);
    run::conclude(tally)
}

/// Records the wire bytes anew with real Celery and compares them with the ones in the repository.
fn recorded_bytes(interpreter: &std::path::Path) -> Result<Tally> {
    let script = run::root().join("crates/protocol/tests/recorded/record.py");
    run::run(Command::new(interpreter).arg(script).arg("--check"))?;
    Ok(Tally { passed: 1, ..Tally::default() })
}

/// Kills workers and pool children and accounts for every task; optimised, as users run it, each time with other seeds.
fn recovery() -> Result<Tally> {
    let mut tally = Tally::default();
    for _ in 0..RECOVERY_ROUNDS {
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
        tally.add(run::tests(command.current_dir(run::root()))?);
    }
    Ok(tally)
}

/// The first command of the README, on a small folder.
fn example() -> Result<Tally> {
    let folder = run::root().join("crates");
    run::cargo(["run", "--release", "--locked", "--example", "urls", "--"], [folder])?;
    Ok(Tally { passed: 1, ..Tally::default() })
}

fn skipped(what: &str) -> Tally {
    println!("SKIPPED: {what}");
    Tally { skipped: 1, ..Tally::default() }
}
