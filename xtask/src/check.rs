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
    let tally = form(&mut steps).and_then(|()| steps.take("tests of the workspace", || workspace_tests(&[])));
    steps.conclude(tally)
}

/// Formatting, lints and documentation, all without a warning.
pub(crate) fn form(steps: &mut Steps) -> Result<()> {
    steps.take("format", || run::cargo(["fmt", "--all", "--check"], [""; 0]))?;
    let lint =
        |what: &[&str]| run::cargo(["clippy"].iter().chain(what), ["--locked", "--", "--deny", "warnings"]);
    steps.take("lints", || lint(&["--workspace", "--all-targets"]))?;
    steps.take("lints of the library with fewer features", || {
        let of_library = ["--package", "celeriac", "--no-default-features", "--features"];
        FEATURES.iter().try_for_each(|features| lint(&[&of_library[..], &[features]].concat()))
    })?;
    let mut doc = Command::new(env!("CARGO"));
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]).current_dir(run::root());
    steps.take("documentation", || run::run(doc.env("RUSTDOCFLAGS", "--deny warnings")))
}

/// Unit, integration and documentation tests of every crate but `recovery` and `interop`, which take longer and more.
/// `features` are those of the store that need programs which are here.
pub(crate) fn workspace_tests(features: &[&str]) -> Result<Tally> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(["--exclude", "celeriac-recovery", "--exclude", "celeriac-interop"]);
    command.args(["--features", "celeriac/otlp"]);
    if !features.contains(&"redis") {
        command.args(["--exclude", "celeriac-faults"]);
    }
    for feature in features {
        command.arg("--features").arg(format!("celeriac/{feature}"));
    }
    command.current_dir(run::root());
    runner::run(&mut command)
}
