//! The worker that the recovery tests kill.

use std::process::ExitCode;

fn main() -> ExitCode {
    celeriac::cli::run(celeriac_recovery::patient::app())
}
