//! What a workflow costs beside its tasks: a chord beside the same tasks in a group, and a long chain.
//!
//! Its sender and its worker are processes of their own, so that each has a peak of memory of its own.

use std::process::{Command, Stdio};
use std::time::Instant;

use celeriac::App;
use celeriac::canvas::{AnyResult, chord, group};
use celeriac::protocol::{State, TaskId};
use clap::ValueEnum;
use tokio::runtime::Runtime;

use super::app_at;
use super::drain::empty_the_queue;
use crate::place::Place;
use crate::report::Figure;
use crate::tasks::{all_have_ended, nothing};
use crate::{Error, Result, machine};

const MEMBERS: u32 = 100_000;
const STEPS: u32 = 10_000;
/// How often each of two is measured, in turn with the other.
const ROUNDS: u32 = 3;
const MIB: f64 = 1024.0 * 1024.0;
/// Before the id of a task, where one process tells it to another.
const TASK: &str = "task\t";

/// A workflow of tasks that do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Composition {
    /// Tasks side by side.
    Group,
    /// The same tasks, and one that gets what all of them return.
    Chord,
    /// Tasks one after the other.
    Chain,
}

impl Composition {
    /// On the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Chord => "chord",
            Self::Chain => "chain",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Group => "group of 100,000",
            Self::Chord => "chord of 100,000",
            Self::Chain => "chain of 10,000",
        }
    }

    fn figure(self, what: &str, unit: &str, value: f64) -> Figure {
        Figure::new(&format!("{}: {what}", self.title()), unit, value)
    }

    fn size(self) -> f64 {
        f64::from(if self == Self::Chain { STEPS } else { MEMBERS })
    }
}

/// A chord beside a group of the same tasks, each on a store of its own.
pub(crate) fn chord_beside_group(fresh: impl Fn() -> Result<Place>) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for round in 0..ROUNDS {
        let mut pair = [Composition::Group, Composition::Chord];
        if round % 2 == 1 {
            pair.reverse();
        }
        for composition in pair {
            figures.extend(measure(composition, &fresh()?)?);
        }
    }
    Ok(figures)
}

/// A chain, each of whose messages holds all steps that follow: Celery's format demands that.
pub(crate) fn long_chain(place: &Place) -> Result<Vec<Figure>> {
    measure(Composition::Chain, place)
}

fn measure(composition: Composition, place: &Place) -> Result<Vec<Figure>> {
    let sent = in_a_process("send-composed", composition, place)?;
    let before = (place.server_seconds()?, place.server_received()?);
    let ran = in_a_process("run-composed", composition, place)?;
    let after = (place.server_seconds()?, place.server_received()?);
    let mut figures: Vec<Figure> = [&sent, &ran].iter().flat_map(|text| figures_in(text)).collect();
    if let (Some(before), Some(after)) = (before.0, after.0) {
        let each = 1e6 * (after - before) / composition.size();
        figures.push(composition.figure("the server's own time for one task", "µs", each));
    }
    if let (Some(before), Some(after), Composition::Chain) = (before.1, after.1, composition) {
        figures.push(composition.figure("sent by the worker", "MiB", (after - before) as f64 / MIB));
    }
    if composition == Composition::Chord {
        let wait = until_the_body(&app_at(place.url()), &sent)?;
        figures.push(composition.figure("from the end of the last header to the body's start", "ms", wait));
    }
    Ok(figures)
}

fn figures_in(text: &str) -> impl Iterator<Item = Figure> {
    text.lines().filter_map(Figure::of_line)
}

/// What this program prints in another process.
fn in_a_process(role: &str, composition: Composition, place: &Place) -> Result<String> {
    let output = Command::new(std::env::current_exe()?)
        .args([role, place.url(), composition.name()])
        .stderr(Stdio::inherit())
        .output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("{role} {composition:?}: {}", output.status).into()),
    }
}

/// The process that sends. Prints what that has cost, and the ids of the tasks that are to be looked at.
pub(crate) fn send(store: &str, composition: Composition) -> Result<()> {
    runtime()?.block_on(async {
        let app = app_at(store);
        app.store().await?;
        let began = Instant::now();
        let members = || group((0..MEMBERS).map(|_| nothing.s()));
        let mut ids = Vec::new();
        match composition {
            Composition::Group => drop(members().apply_async(&app).await?),
            Composition::Chain => {
                let steps = (1..STEPS).fold(nothing.s(), |steps, _| steps.then(nothing.s()));
                steps.apply_async(&app).await?;
            }
            Composition::Chord => {
                let body = chord(members(), all_have_ended.step()).apply_async(&app).await?;
                ids.push(body.id().clone());
                if let Some(AnyResult::Group(header)) = body.parent() {
                    ids.extend(header.results().map(|member| member.id().clone()));
                }
            }
        }
        let took = began.elapsed().as_secs_f64();
        ids.iter().for_each(|id| println!("{TASK}{id}"));
        print(&[
            composition.figure("sending", "s", took),
            composition.figure("peak memory of the sender", "MiB", machine::peak_mib()?),
        ]);
        Ok(())
    })
}

/// The process that runs it, from the start of its worker until that has stopped.
pub(crate) fn run(store: &str, composition: Composition) -> Result<()> {
    let took = runtime()?.block_on(empty_the_queue(&app_at(store)))?.as_secs_f64();
    let unit = if composition == Composition::Chain { "steps/s" } else { "tasks/s" };
    let usage = machine::usage(std::process::id())?;
    print(&[
        composition.figure("running", unit, composition.size() / took),
        composition.figure(
            "the worker's own time for one task",
            "µs",
            1e6 * usage.cpu_seconds / composition.size(),
        ),
        composition.figure("peak memory of the worker", "MiB", machine::peak_mib()?),
    ]);
    Ok(())
}

/// Milliseconds from the last end of a header until the body ran, by the clock of this machine.
fn until_the_body(app: &App, sent: &str) -> Result<f64> {
    let ids: Vec<TaskId> = sent.lines().filter_map(|line| line.strip_prefix(TASK)).map(TaskId::new).collect();
    let records =
        runtime()?.block_on(async { Ok::<_, Error>(app.store().await?.results().get(&ids).await?) })?;
    let records: Vec<_> =
        records.into_iter().flatten().filter(|record| record.state == State::Success).collect();
    let [body, header @ ..] = &records[..] else { return Err("the body has no result".into()) };
    if header.len() != MEMBERS as usize {
        return Err(format!("only {} members have succeeded", header.len()).into());
    }
    let last = header.iter().filter_map(|record| record.date_done).max().ok_or("the header has no end")?;
    let started = body.result.as_i64().ok_or("the body did not say when it started")?;
    Ok((started - last.as_micros()) as f64 / 1000.0)
}

fn print(figures: &[Figure]) {
    figures.iter().map(Figure::to_line).for_each(|line| println!("{line}"));
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
