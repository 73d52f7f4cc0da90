//! Tasks that end in every way, for those who watch; `python/apps/watched.py` has the same ones.

use std::thread::park;
use std::time::Duration;

use celeriac::TaskDefinition;
use celeriac::prelude::*;

/// Returns what it was given.
#[celeriac::task(name = "shared.returns")]
async fn returns(value: Value) -> TaskResult<Value> {
    Ok(value)
}

/// Fails.
#[celeriac::task(name = "shared.fails")]
async fn fails() -> TaskResult<()> {
    Err(TaskError::failure("ValueError", "no"))
}

/// Fails once, and is tried again.
#[celeriac::task(name = "shared.retries", bind, max_retries = 1)]
async fn retries(task: &Context) -> TaskResult<String> {
    if task.retries() == 0 {
        let once = TaskError::failure("KeyError", "once");
        return Err(TaskError::retry().countdown(Duration::ZERO).because(once));
    }
    Ok("twice".to_owned())
}

/// Wants nothing said of how it ended.
#[celeriac::task(name = "shared.ignores")]
async fn ignores() -> TaskResult<()> {
    Err(TaskError::ignore())
}

/// Refuses its message.
#[celeriac::task(name = "shared.rejects", acks_late)]
async fn rejects() -> TaskResult<()> {
    Err(TaskError::reject(false, "never"))
}

/// Runs for longer than it may, in a process of its own.
#[celeriac::task(name = "shared.takes_too_long", time_limit = 1, isolation = "process")]
fn takes_too_long() -> TaskResult<()> {
    loop {
        park();
    }
}

/// All of them.
pub(crate) fn all() -> Vec<TaskDefinition> {
    tasks![returns, fails, retries, ignores, rejects, takes_too_long].into_iter().collect()
}
