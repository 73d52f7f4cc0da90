//! The tasks in Rust as a program.

use std::process::ExitCode;

fn main() -> ExitCode {
    celeriac::cli::run(celeriac_interop::app())
}
