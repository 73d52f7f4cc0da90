//! The tasks that the scenarios run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac::prelude::*;

/// Set in the environment of a process that is to be a worker and nothing else.
pub(crate) const WORKER_ROLE: &str = "CELERIAC_BENCH_WORKER";

/// Does nothing.
#[celeriac::task]
pub(crate) async fn nothing() -> TaskResult<()> {
    Ok(())
}

/// Waits ten milliseconds, as a task that asks a server does.
#[celeriac::task]
pub(crate) async fn ten_milliseconds() -> TaskResult<()> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    Ok(())
}

/// What a chord does in the end: it says when that was, in microseconds.
#[celeriac::task]
pub(crate) async fn all_have_ended(_nothings: Vec<()>) -> TaskResult<i64> {
    Ok(celeriac::store::clock::Clock::system().now().as_micros())
}

/// Notes how long ago it was sent.
#[celeriac::task]
pub(crate) async fn ping(delays: Shared<Delays>, sent_at_micros: i64) -> TaskResult<()> {
    let now = celeriac::store::clock::Clock::system().now().as_micros();
    delays.0.lock().expect("nobody panics with this lock").push(now - sent_at_micros);
    Ok(())
}

/// Microseconds from sending a ping until it ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delays(Arc<Mutex<Vec<i64>>>);

impl Delays {
    /// All of them, the shortest first.
    pub(crate) fn sorted(&self) -> Vec<i64> {
        let mut delays = self.0.lock().expect("nobody panics with this lock").clone();
        delays.sort_unstable();
        delays
    }
}

/// The program, with settings from the environment.
pub(crate) fn app() -> App {
    App::new("bench").resource(Resource::value(Delays::default())).tasks(tasks![
        nothing,
        ten_milliseconds,
        all_have_ended,
        ping
    ])
}
