//! How fast a worker empties a queue.

use std::time::{Duration, Instant};

use celeriac::App;
use celeriac::protocol::{QueueName, State, TaskId};
use celeriac::worker::{self, Shutdown};

use super::app_at;
use crate::Result;
use crate::place::Place;
use crate::report::Figure;
use crate::tasks;

const NOTHING: u32 = 200_000;
const TEN_MS: u32 = 20_000;
const SLOTS: u32 = 100;

/// Tasks that do nothing, their results stored.
pub(crate) async fn nothing(place: &Place) -> Result<Vec<Figure>> {
    let app = app_at(place.url());
    let mut ids = Vec::new();
    for _ in 0..NOTHING / 1000 {
        let sent = app.send_many((0..1000).map(|_| tasks::nothing.s())).await?;
        ids.extend(sent.into_iter().map(|result| result.id().clone()));
    }
    let before = place.server_seconds()?;
    let took = empty_the_queue(&app).await?;
    let after = place.server_seconds()?;
    assert_succeeded(&app, &ids).await?;
    let rate = f64::from(NOTHING) / took.as_secs_f64();
    let mut figures = vec![Figure::new("drain of no-op tasks with results", "tasks/s", rate)];
    if let (Some(before), Some(after)) = (before, after) {
        let used = after - before;
        let (share, each) = (100.0 * used / took.as_secs_f64(), 1e6 * used / f64::from(NOTHING));
        figures.push(Figure::new("drain: the server's own time", "% of a core", share));
        figures.push(Figure::new("drain: the server's own time for one task", "µs", each));
    }
    Ok(figures)
}

/// Tasks that wait, on a hundred slots.
pub(crate) async fn ten_milliseconds(place: &Place) -> Result<Vec<Figure>> {
    let app = app_at(place.url()).settings(|settings| settings.worker_async_concurrency = SLOTS);
    app.send_many((0..TEN_MS).map(|_| tasks::ten_milliseconds.s())).await?;
    let took = empty_the_queue(&app).await?;
    Ok(vec![
        Figure::new("10 ms tasks at concurrency 100", "tasks/s", f64::from(TEN_MS) / took.as_secs_f64()),
        Figure::new("10 ms tasks: what 100 slots allow", "tasks/s", f64::from(SLOTS) / 0.010),
    ])
}

/// Runs a worker until nothing is left: from its start until it has stopped.
pub(super) async fn empty_the_queue(app: &App) -> Result<Duration> {
    let (stopper, shutdown) = Shutdown::new();
    let options = worker::Options::from_settings(app.config(), "bench@localhost");
    let queue = [QueueName::new(&app.config().task_default_queue)];
    let began = Instant::now();
    let program = app.clone();
    let worker = tokio::spawn(async move { worker::run(&program, options, shutdown).await });
    loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let stats = app.store().await?.broker().queues(&queue).await?;
        if stats.iter().all(|queue| queue.ready == 0 && queue.lent.unwrap_or(0) == 0) {
            break;
        }
    }
    stopper.terminate();
    worker.await??;
    Ok(began.elapsed())
}

async fn assert_succeeded(app: &App, ids: &[TaskId]) -> Result<()> {
    let records = app.store().await?.results().get(ids).await?;
    let succeeded = records.iter().flatten().filter(|record| record.state == State::Success).count();
    match succeeded == ids.len() {
        true => Ok(()),
        false => Err(format!("only {succeeded} of {} tasks have a result", ids.len()).into()),
    }
}
