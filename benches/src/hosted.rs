//! One Celery application on Celery's own worker and on ours, in turn: `benches/peers/celery/hosted.py`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::place::{Kind, Place};
use crate::report::Figure;

/// Names the program `celeriac` that `cargo xtask bench --hosted` has built.
const PROGRAM: &str = "CELERIAC_BENCH_PROGRAM";

/// Names the interpreter with Celery.
const PYTHON: &str = "CELERIAC_PYTHON";

/// What is measured; see the script.
pub(crate) const SCENARIOS: [&str; 4] = ["ignored", "results", "events", "million"];

/// How the two are called in the report.
pub(crate) const OURS: &str = "celeriac";
pub(crate) const STOCK: &str = "celery";

/// At what the two are compared.
pub(crate) const COMPARED: &[&str] = &[
    "hosted, results ignored",
    "hosted, results ignored: processor time for one task",
    "hosted, results ignored: memory of all processes",
    "hosted, with results",
    "hosted, with results: processor time for one task",
    "hosted, with results: memory of all processes",
];

/// The figures of one scenario on both.
pub(crate) fn measure(scenario: &str) -> Result<Vec<Figure>> {
    let installed = |name| {
        let missing = "run `cargo xtask bench --hosted`, which installs what is needed";
        std::env::var_os(name).map(PathBuf::from).ok_or(missing)
    };
    let (program, python) = (installed(PROGRAM)?, installed(PYTHON)?);
    let mut figures = run(scenario, OURS, &python, &[&program])?;
    // A million would take an hour with it, and what its events cost says nothing of ours.
    if !["events", "million"].contains(&scenario) {
        figures.extend(run(scenario, STOCK, &python, &[&python, Path::new("-m"), Path::new("celery")])?);
    }
    Ok(figures)
}

fn run(scenario: &str, name: &str, python: &Path, worker: &[&Path]) -> Result<Vec<Figure>> {
    let place = Place::new(Kind::Redis)?;
    let (host, port) = place.address().ok_or("Celery runs on Redis")?;
    let output = Command::new(python)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/celery"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["hosted.py", scenario, host, &port.to_string()])
        .args(worker)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{name} {scenario}: {}", output.status).into());
    }
    let named = |figure: Figure| Figure { name: format!("{name}: {}", figure.name), ..figure };
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(Figure::of_line).map(named).collect())
}
