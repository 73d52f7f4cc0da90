//! The worker for Celery applications, and the control tool for every queue.

use std::process::ExitCode;

use celeriac::App;

fn main() -> ExitCode {
    celeriac::cli::run(App::new("celeriac"))
}
