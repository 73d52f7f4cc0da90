//! What is measured, one file for each kind of figure.

pub(crate) mod canvas;
pub(crate) mod ceiling;
pub(crate) mod drain;
pub(crate) mod events;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod schedule;
pub(crate) mod send;
pub(crate) mod waiting;

use celeriac::App;

use crate::place::{Kind, Place};
use crate::report::Figure;
use crate::{Result, tasks};

/// Every scenario, in the order of the report, and the stores that it runs on.
pub(crate) const ALL: &[(&str, &[Kind])] = &[
    ("ceiling", &[Kind::Sqlite]),
    ("send-single", BOTH),
    ("send-bulk", BOTH),
    ("drain", BOTH),
    ("ten-ms", BOTH),
    ("latency", BOTH),
    ("idle", BOTH),
    ("schedule", BOTH),
    ("chord", BOTH),
    ("chain", BOTH),
    ("waiting", &[Kind::Redis]),
    ("events", &[Kind::Redis]),
];

const BOTH: &[Kind] = &[Kind::Sqlite, Kind::Redis];

/// Which figures are divided by which.
pub(crate) const RATIOS: &[(&str, &str)] = &[
    ("send in bulk", "ceiling: insert"),
    ("drain of no-op tasks with results", "ceiling: claim and delete"),
    ("drain of no-op tasks with results", "ceiling: claim, delete and store a result"),
    ("10 ms tasks at concurrency 100", "10 ms tasks: what 100 slots allow"),
    ("chord of 100,000: running", "group of 100,000: running"),
    ("redis: chord of 100,000: running", "redis: group of 100,000: running"),
];

/// At what we on Redis are compared with the other systems.
pub(crate) const COMPARED: &[&str] = &[
    "send one by one",
    "send in bulk",
    "drain of no-op tasks with results",
    "10 ms tasks at concurrency 100",
    "start latency at 100 tasks/s, median",
    "start latency at 100 tasks/s, 99%",
    "idle worker, resident memory",
];

/// Runs one scenario in this process and prints its figures.
pub(crate) fn run(name: &str, store: Kind) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let place = Place::new(store)?;
    let mut figures = match name {
        "ceiling" => ceiling::run()?,
        "send-single" => runtime.block_on(send::one_by_one(&place))?,
        "send-bulk" => runtime.block_on(send::in_bulk(&place))?,
        "drain" => runtime.block_on(drain::nothing(&place))?,
        "ten-ms" => runtime.block_on(drain::ten_milliseconds(&place))?,
        "latency" => runtime.block_on(latency::run(&place))?,
        "idle" => idle::run(&place)?,
        "schedule" => runtime.block_on(schedule::run(&place, &Place::new(store)?))?,
        "chord" => canvas::chord_beside_group(|| Place::new(store))?,
        "chain" => canvas::long_chain(&place)?,
        "events" => runtime.block_on(events::run(&place))?,
        "waiting" => runtime.block_on(waiting::run(&place))?,
        unknown => return Err(format!("no scenario is called {unknown}").into()),
    };
    if store != Kind::Sqlite {
        figures.iter_mut().for_each(|figure| figure.name = format!("{}: {}", store.name(), figure.name));
    }
    figures.iter().map(Figure::to_line).for_each(|line| println!("{line}"));
    Ok(())
}

/// The bench program on this store.
fn app_at(url: &str) -> App {
    tasks::app().settings(|settings| settings.broker_url = url.to_owned())
}
