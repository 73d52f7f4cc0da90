//! `cargo xtask check`: everything that needs no server and no other program.

use std::process::Command;

use crate::run::{self, Result};
use crate::runner::{self, Tally};
use crate::steps::Steps;

/// Features of the library that must also do without the others. `tls` is about nothing but `redis` and `otlp`, and `macros` about
/// nothing but itself, so that neither has a set of its own.
const FEATURES: [&str; 6] = ["", "cli", "otlp", "cli,otlp,redis,tls", "redis", "macros,sqlite"];

/// Checks form, lints and documentation, and runs the tests of the workspace.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let tally = everything(&mut steps);
    steps.conclude(tally)
}

fn everything(steps: &mut Steps) -> Result<Tally> {
    form(steps)?;
    steps.take("lints of fewer features, and documentation", || rest_of_form(run::cargo))?;
    steps.take("tests of the workspace", || workspace_tests(&[]))
}

/// Formatting and lints of everything, without a warning.
pub(crate) fn form(steps: &mut Steps) -> Result<()> {
    steps.take("format", || run::run(run::cargo().args(["fmt", "--all", "--check"])))?;
    steps.take("lints", || lint(run::cargo, &["--workspace", "--all-targets"]))
}

/// Lints of the library with fewer features, and documentation, without a warning, by this cargo.
pub(crate) fn rest_of_form(cargo: fn() -> Command) -> Result<()> {
    let of_library = ["--package", "celeriac", "--no-default-features", "--features"];
    FEATURES.iter().try_for_each(|features| lint(cargo, &[&of_library[..], &[features]].concat()))?;
    let mut doc = cargo();
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]);
    run::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

fn lint(cargo: fn() -> Command, what: &[&str]) -> Result<()> {
    let mut clippy = cargo();
    run::run(clippy.arg("clippy").args(what).args(["--locked", "--", "--deny", "warnings"]))
}

/// Unit, integration and documentation tests of every crate but `recovery` and `interop`, which take longer and more.
/// `features` are those of the store that need programs which are here.
pub(crate) fn workspace_tests(features: &[&str]) -> Result<Tally> {
    let mut command = run::cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(["--exclude", "celeriac-recovery", "--exclude", "celeriac-interop"]);
    command.args(["--features", "celeriac/otlp"]);
    if !features.contains(&"redis") {
        command.args(["--exclude", "celeriac-faults"]);
    }
    for feature in features {
        command.arg("--features").arg(format!("celeriac/{feature}"));
    }
    runner::run(&mut command)
}
