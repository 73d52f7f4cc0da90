//! What is measured, one file for each kind of figure.

pub(crate) mod ceiling;
pub(crate) mod drain;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod schedule;
pub(crate) mod send;

use celeriac::App;

use crate::report::Figure;
use crate::{Result, tasks};

/// Every scenario, in the order of the report.
pub(crate) const NAMES: &[&str] =
    &["ceiling", "send-single", "send-bulk", "drain", "ten-ms", "latency", "idle", "schedule"];

/// Which figures are divided by which.
pub(crate) const RATIOS: &[(&str, &str)] = &[
    ("send in bulk", "ceiling: insert"),
    ("drain of no-op tasks with results", "ceiling: claim and delete"),
    ("drain of no-op tasks with results", "ceiling: claim, delete and store a result"),
    ("10 ms tasks at concurrency 100", "10 ms tasks: what 100 slots allow"),
];

/// Runs one scenario in this process and prints its figures.
pub(crate) fn run(name: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let figures = match name {
        "ceiling" => ceiling::run()?,
        "send-single" => runtime.block_on(send::one_by_one())?,
        "send-bulk" => runtime.block_on(send::in_bulk())?,
        "drain" => runtime.block_on(drain::nothing())?,
        "ten-ms" => runtime.block_on(drain::ten_milliseconds())?,
        "latency" => runtime.block_on(latency::run())?,
        "idle" => idle::run()?,
        "schedule" => runtime.block_on(schedule::run())?,
        unknown => return Err(format!("no scenario is called {unknown}").into()),
    };
    figures.iter().map(Figure::to_line).for_each(|line| println!("{line}"));
    Ok(())
}

/// The bench program on a store in this folder.
fn app_in(folder: &std::path::Path) -> App {
    tasks::app().settings(|settings| settings.broker_url = tasks::store_in(folder))
}
