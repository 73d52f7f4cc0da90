//! A million tasks for later, and what they cost those for now.

use std::process::Command;
use std::time::Duration;

use super::{app_at, latency};
use crate::place::Place;
use crate::report::Figure;
use crate::tasks::nothing;
use crate::{Result, machine};

const SCHEDULED: u32 = 1_000_000;
const BATCH: u32 = 1_000;
const PINGS: u64 = 500;

pub(crate) async fn run(full: &Place, empty: &Place) -> Result<Vec<Figure>> {
    // Another process sends them, so that only the worker's memory is in the figures.
    let filled = Command::new(std::env::current_exe()?).arg("fill").arg(full.url()).status()?;
    if !filled.success() {
        return Err(format!("sending a million tasks: {filled}").into());
    }
    latency::measure(empty.url(), PINGS, 100).await?;
    let before = machine::usage(std::process::id())?.resident_kib;
    let delays = latency::measure(full.url(), PINGS, 100).await?;
    let after = machine::usage(std::process::id())?.resident_kib;
    let late = delays.last().copied().unwrap_or_default() as f64 / 1000.0;
    let grown = after.saturating_sub(before) as f64 / 1024.0;
    Ok(vec![
        Figure::new("a million tasks for later: memory of a worker grows by", "MiB", grown),
        Figure::new("a million tasks for later: start latency, longest of 500", "ms", late),
    ])
}

/// Sends tasks that are due in the coming hour, none of them while the scenario lasts.
pub(crate) fn fill(store: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = app_at(store);
        for batch in 0..SCHEDULED / BATCH {
            let later = |number| Duration::from_secs(u64::from(120 + (batch * BATCH + number) % 3480));
            app.send_many((0..BATCH).map(|number| nothing.s().countdown(later(number)))).await?;
        }
        Ok(())
    })
}
