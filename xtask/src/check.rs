//! `cargo xtask check`: everything that needs no server and no other program.

use std::process::Command;

use crate::run::{self, Result};
use crate::runner::{self, Tally};

/// Features of the library that must also do without the others.
const FEATURES: [&str; 8] =
    ["", "cli", "macros", "otlp", "cli,otlp,redis,tls", "redis", "redis,tls", "sqlite"];

/// Checks form, lints and documentation, and runs the tests of the workspace.
pub(crate) fn run() -> Result<()> {
    form()?;
    let tally = workspace_tests(&[])?;
    runner::conclude(&tally)
}

/// Formatting, lints and documentation, all without a warning.
pub(crate) fn form() -> Result<()> {
    run::cargo(["fmt", "--all", "--check"], [""; 0])?;
    run::cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"], [""; 0])?;
    for features in FEATURES {
        let of_library = ["clippy", "--package", "celeriac", "--no-default-features", "--features", features];
        run::cargo(of_library, ["--locked", "--", "--deny", "warnings"])?;
    }
    let mut doc = Command::new(env!("CARGO"));
    doc.args(["doc", "--workspace", "--no-deps", "--locked"]).current_dir(run::root());
    run::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Unit, integration and documentation tests of every crate but `recovery` and `interop`, which take longer and more.
/// `features` are those of the store that need programs which are here.
pub(crate) fn workspace_tests(features: &[&str]) -> Result<Tally> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    command.args(["--exclude", "celeriac-recovery", "--exclude", "celeriac-interop"]);
    command.args(["--features", "celeriac-worker/otlp"]);
    if !features.contains(&"redis") {
        command.args(["--exclude", "celeriac-faults"]);
    }
    for feature in features {
        command.arg("--features").arg(format!("celeriac-app/{feature}"));
    }
    command.current_dir(run::root());
    runner::run(&mut command)
}
