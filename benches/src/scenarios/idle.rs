//! What a worker costs that has nothing to do.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::place::Place;
use crate::report::Figure;
use crate::{Result, machine, tasks};

const SETTLE: Duration = Duration::from_secs(3);
const WATCH: Duration = Duration::from_secs(20);

pub(crate) fn run(place: &Place) -> Result<Vec<Figure>> {
    let mut worker = Command::new(std::env::current_exe()?)
        .arg("worker")
        .env(tasks::WORKER_ROLE, "1")
        .env("CELERIAC_BROKER_URL", place.url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let banner = BufReader::new(worker.stdout.take().expect("stdout was piped above"));
    banner.lines().next().ok_or("the worker printed nothing")??;
    let figures = watch(worker.id());
    worker.kill()?;
    worker.wait()?;
    figures
}

fn watch(pid: u32) -> Result<Vec<Figure>> {
    std::thread::park_timeout(SETTLE);
    let before = machine::usage(pid)?;
    std::thread::park_timeout(WATCH);
    let after = machine::usage(pid)?;
    let share = (after.cpu_seconds - before.cpu_seconds) / WATCH.as_secs_f64();
    Ok(vec![
        Figure::new("idle worker, resident memory", "MiB", after.resident_kib as f64 / 1024.0),
        Figure::new("idle worker, CPU", "% of a core", share * 100.0),
    ])
}
