//! `cargo xtask bench`: what Celeriac does on this machine, measured.
//!
//! Every scenario runs in a process of its own, several times, in turn with the others, so that a slow minute of the
//! machine falls on all of them alike.

mod ceiling;
mod hosted;
mod machine;
mod peers;
mod place;
mod report;
mod scenarios;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, Subcommand};

use place::Kind;
use report::Figure;
use scenarios::canvas::Composition;

/// Measures this machine and writes a report.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// How often each scenario runs.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// On which stores.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Kind::Sqlite, Kind::Redis])]
    store: Vec<Kind>,
    /// Also other systems on Redis, in turn with ours.
    #[arg(long)]
    peers: bool,
    /// Also a Celery application, on ours and on Celery's own worker in turn.
    #[arg(long)]
    hosted: bool,
    /// Only scenarios whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Where the report goes. Without all scenarios in it, nothing is written unless this is given.
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a process started by this one does.
#[derive(Clone, Subcommand)]
enum Role {
    /// Runs one scenario once and prints its figures.
    #[command(hide = true)]
    Scenario { name: String, store: Kind },
    /// Sends pings at a steady rate.
    #[command(hide = true)]
    Ping { store: String, count: u64, per_second: u64 },
    /// Sends a million tasks for later.
    #[command(hide = true)]
    Fill { store: String },
    /// Sends a workflow.
    #[command(hide = true)]
    SendComposed { store: String, composition: Composition },
    /// Runs a workflow that was sent.
    #[command(hide = true)]
    RunComposed { store: String, composition: Composition },
}

fn main() -> ExitCode {
    // A worker that a scenario measures from outside is this program with its name changed.
    if std::env::var_os(tasks::WORKER_ROLE).is_some() {
        return celeriac::cli::run(tasks::app());
    }
    let arguments = Arguments::parse();
    let outcome = match &arguments.role {
        Some(Role::Scenario { name, store }) => scenarios::run(name, *store),
        Some(Role::Ping { store, count, per_second }) => scenarios::latency::ping(store, *count, *per_second),
        Some(Role::Fill { store }) => scenarios::schedule::fill(store),
        Some(Role::SendComposed { store, composition }) => scenarios::canvas::send(store, *composition),
        Some(Role::RunComposed { store, composition }) => scenarios::canvas::run(store, *composition),
        None => measure(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Error>;

fn measure(arguments: &Arguments) -> Result<()> {
    let wanted = |name: &str| arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let mut figures = Vec::new();
    for run in 1..=arguments.runs {
        for &(name, stores) in scenarios::ALL.iter().filter(|(name, _)| wanted(name)) {
            for store in stores.iter().filter(|store| arguments.store.contains(store)) {
                eprintln!("run {run} of {}: {name} on {}", arguments.runs, store.name());
                figures.extend(measured_in_a_process(name, *store)?);
            }
            for peer in peers::ALL.iter().filter(|_| arguments.peers) {
                eprintln!("run {run} of {}: {name} of {}", arguments.runs, peer.name);
                figures.extend(peer.measure(name)?);
            }
        }
        for name in
            hosted::SCENARIOS.iter().filter(|name| arguments.hosted && wanted(&format!("hosted-{name}")))
        {
            eprintln!("run {run} of {}: a hosted application, {name}", arguments.runs);
            figures.extend(hosted::measure(name)?);
        }
    }
    let text = write_up(arguments, &report::series(figures));
    println!("{text}");
    let complete = arguments.only.is_none();
    let default = complete.then(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("RESULTS.md"));
    if let Some(file) = arguments.output.clone().or(default) {
        std::fs::write(&file, text)?;
    }
    Ok(())
}

fn measured_in_a_process(name: &str, store: Kind) -> Result<Vec<Figure>> {
    let output = Command::new(std::env::current_exe()?)
        .args(["scenario", name, store.name()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("scenario {name}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(Figure::of_line).collect())
}

fn write_up(arguments: &Arguments, all: &[report::Series]) -> String {
    let mut text = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`: {} runs of each scenario, each in a process of its own, on a private store: SQLite in a\n\
         temporary folder, or a Redis server that keeps everything in memory.\n\
         The ceiling is SQLite alone on the same rows, without an engine: see `src/ceiling.rs`.\n\n\
         Machine: {}.\n\n{}\n{}",
        arguments.runs,
        machine::describe(),
        report::table(all),
        report::ratios(all, scenarios::RATIOS),
    );
    if arguments.peers {
        let names = peers::ALL.map(|peer| peer.name);
        text += "\n## Beside other systems on Redis\n\n";
        text += &report::comparison(all, scenarios::COMPARED, Kind::Redis.name(), &names);
        text += include_str!("../peers/fairness.md");
    }
    if arguments.hosted {
        text += "\n## A Celery application, beside Celery's own worker on Redis\n\n";
        text += &report::comparison(all, hosted::COMPARED, hosted::OURS, &[hosted::STOCK]);
        text += include_str!("../peers/celery/hosted.md");
    }
    text
}
