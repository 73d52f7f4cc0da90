//! Tasks in processes of their own, through the whole worker.
//!
//! This is a program as users write them: it runs as a child where it was started as one, and else runs its tests.

mod program;
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use tokio::runtime::Builder;
use tokio::time::timeout;

use crate::program::PATIENCE;

fn main() -> ExitCode {
    if let Some(ended) = celeriac_worker::run_if_child(&program::app()) {
        return ended;
    }
    if cfg!(not(target_os = "linux")) {
        println!("skipped: processes of their own need Linux");
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in tests::ALL {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let run = || runtime.block_on(async { timeout(PATIENCE * 2, test()).await });
        let passed = catch_unwind(AssertUnwindSafe(run)).is_ok_and(|in_time| in_time.is_ok());
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += usize::from(!passed);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
