//! The tasks of this repository: `cargo xtask check`, `cargo xtask test`, `cargo xtask conformance`, `cargo xtask bench`.

mod bench;
mod builds;
mod check;
mod conformance;
mod package;
mod programs;
mod python;
mod run;
mod runner;
mod server;
mod steps;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  check        format, lint, build the documentation and run every test that needs no server
  test         install what is missing where it can, then check, and run every other test too
  conformance  of these, only Celery's integration suite; arguments choose files, classes or tests of it
  bench        measure this machine and write benches/RESULTS.md (arguments are passed on); with --peers, other systems too

CELERIAC_TEST_REQUIRE=1 makes a missing program a failure instead of a visible skip.
CELERIAC_TEST_SEED=N repeats the random tests of an earlier run.
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let outcome = match arguments.next().as_deref() {
        Some("check") => check::run(),
        Some("test") => test::run(),
        Some("conformance") => {
            conformance::run(&arguments.collect::<Vec<_>>()).and_then(|tally| runner::conclude(&tally))
        }
        Some("bench") => bench::run(&arguments.collect::<Vec<_>>()),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}
