//! How long a task waits before it starts, sent by another process at a steady rate.

use std::process::Command;
use std::time::Duration;

use celeriac::prelude::*;
use celeriac::worker::{self, Shutdown};

use crate::place::Place;
use crate::report::Figure;
use crate::tasks::{self, Delays};

const COUNT: u64 = 1_000;
const PER_SECOND: u64 = 100;

pub(crate) async fn run(place: &Place) -> crate::Result<Vec<Figure>> {
    let delays = measure(place.url(), COUNT, PER_SECOND).await?;
    let at = |quantile: f64| delays[((delays.len() - 1) as f64 * quantile) as usize] as f64 / 1000.0;
    Ok(vec![
        Figure::new("start latency at 100 tasks/s, median", "ms", at(0.5)),
        Figure::new("start latency at 100 tasks/s, 99%", "ms", at(0.99)),
    ])
}

/// The delays of pings that another process sends into this store.
pub(super) async fn measure(store: &str, count: u64, per_second: u64) -> crate::Result<Vec<i64>> {
    let delays = Delays::default();
    let (ended, mut left) = tokio::sync::mpsc::unbounded_channel();
    let app = App::new("bench")
        .settings(|settings| settings.broker_url = store.to_owned())
        .resource(Resource::value(delays.clone()))
        .on(signals::task_success, move |_| {
            // Once all have arrived, nobody listens.
            let _ = ended.send(());
        })
        .tasks(tasks![tasks::ping]);
    let (stopper, shutdown) = Shutdown::new();
    let options = worker::Options::from_settings(app.config(), "bench@localhost");
    let worker = tokio::spawn(async move { worker::run(&app, options, shutdown).await });
    let mut sender = Command::new(std::env::current_exe()?)
        .arg("ping")
        .arg(store)
        .args([count.to_string(), per_second.to_string()])
        .spawn()?;
    for _ in 0..count {
        tokio::time::timeout(Duration::from_secs(60), left.recv()).await?;
    }
    sender.wait()?;
    stopper.terminate();
    worker.await??;
    Ok(delays.sorted())
}

/// Sends pings at a steady rate: the other process.
pub(crate) fn ping(store: &str, count: u64, per_second: u64) -> crate::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = super::app_at(store);
        // The time of a task counts from its sending, and not from the opening of the store.
        app.store().await?;
        let mut rhythm = tokio::time::interval(Duration::from_secs(1) / u32::try_from(per_second)?);
        for _ in 0..count {
            rhythm.tick().await;
            tasks::ping.delay(&app, celeriac::store::clock::Clock::system().now().as_micros()).await?;
        }
        Ok(())
    })
}
