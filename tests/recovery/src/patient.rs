//! The program that gets killed: tasks of every kind that note down what they do.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use celeriac::prelude::*;
use celeriac::resource::{ProcessKind, ResourceRequest};
use celeriac::{Process, signals};

use crate::diary::Diary;

/// Names the environment variable with the path of the diary.
pub const DIARY: &str = "CELERIAC_RECOVERY_DIARY";

/// Names the environment variable with the number of this worker: every start of the program gets its own.
pub const WORKER: &str = "CELERIAC_RECOVERY_WORKER";

/// Names the environment variable with the path of a file: while that is there, no child gets through its start.
pub const STUCK: &str = "CELERIAC_RECOVERY_STUCK";

/// The diary of this process, and the number of its worker.
pub struct Notes {
    diary: Diary,
    worker: u32,
}

impl Notes {
    fn open() -> io::Result<Self> {
        let variable =
            |name: &str| std::env::var(name).map_err(|error| io::Error::other(format!("{name}: {error}")));
        let worker = variable(WORKER)?.parse().map_err(io::Error::other)?;
        Ok(Self { diary: Diary::open(&PathBuf::from(variable(DIARY)?))?, worker })
    }
}

/// Runs on the runtime.
#[celeriac::task(name = "patient.on_runtime")]
pub async fn on_runtime(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    tokio::time::sleep(Duration::from_millis(u64::from(number % 20))).await;
    Ok(number * 2)
}

/// Runs on a thread.
#[celeriac::task(name = "patient.on_thread")]
pub fn on_thread(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    work(number);
    Ok(number * 2)
}

/// Runs in a child process.
#[celeriac::task(name = "patient.in_process", isolation = "process")]
pub fn in_process(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    work(number);
    Ok(number * 2)
}

/// A step on the runtime: one more than it gets.
#[celeriac::task(name = "patient.step_on_runtime")]
pub async fn step_on_runtime(notes: Shared<Notes>, count: i64, number: u32) -> TaskResult<i64> {
    notes.diary.started(notes.worker, number)?;
    tokio::time::sleep(Duration::from_millis(u64::from(number % 8))).await;
    Ok(count + 1)
}

/// A step on a thread.
#[celeriac::task(name = "patient.step_on_thread")]
pub fn step_on_thread(notes: Shared<Notes>, count: i64, number: u32) -> TaskResult<i64> {
    notes.diary.started(notes.worker, number)?;
    work(number);
    Ok(count + 1)
}

/// A step in a child process.
#[celeriac::task(name = "patient.step_in_process", isolation = "process")]
pub fn step_in_process(notes: Shared<Notes>, count: i64, number: u32) -> TaskResult<i64> {
    notes.diary.started(notes.worker, number)?;
    work(number);
    Ok(count + 1)
}

/// The body of a chord: the sum of what its members return.
#[celeriac::task(name = "patient.add_up")]
pub async fn add_up(notes: Shared<Notes>, results: Vec<i64>, number: u32) -> TaskResult<i64> {
    notes.diary.started(notes.worker, number)?;
    Ok(results.iter().sum())
}

/// Runs on a thread, and is acknowledged before.
#[celeriac::task(name = "patient.at_most_once", acks = "early")]
pub fn at_most_once(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    work(number);
    Ok(number * 2)
}

/// Runs on the runtime for as long as it is told.
#[celeriac::task(name = "patient.lasts")]
pub async fn lasts(notes: Shared<Notes>, number: u32, millis: u64) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(number * 2)
}

/// Keeps a processor busy in a child process for as long as it is told.
#[celeriac::task(name = "patient.spins", isolation = "process")]
pub fn spins(notes: Shared<Notes>, number: u32, millis: u64) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(millis) {
        std::hint::spin_loop();
    }
    Ok(number * 2)
}

/// Kills the process it runs in: a child, so that the worker goes on.
#[celeriac::task(name = "patient.kills_its_process", isolation = "process")]
pub fn kills_its_process(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    kill_this_process()
}

/// Kills the process it runs in: the whole worker.
#[celeriac::task(name = "patient.kills_its_worker")]
pub fn kills_its_worker(notes: Shared<Notes>, number: u32) -> TaskResult<u32> {
    notes.diary.started(notes.worker, number)?;
    kill_this_process()
}

/// Takes a few milliseconds, as work on a thread does: without giving the thread back.
fn work(number: u32) {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    // Nobody sends: this ends with the time.
    let _ = receiver.recv_timeout(Duration::from_millis(u64::from(number % 8)));
    drop(sender);
}

/// The handler of a start that needs something that is not there.
fn start(process: &Process) {
    let Some(stuck) = std::env::var_os(STUCK) else { return };
    while process.kind() != ProcessKind::Worker && Path::new(&stuck).exists() {
        work(7);
    }
}

fn kill_this_process() -> ! {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    unreachable!("SIGKILL leaves nobody to return to")
}

/// The program: its tasks and the diary they share.
pub fn app() -> App {
    let app = App::new("patient").on(signals::worker_process_init, start);
    let app = app.resource(Resource::per_process(|_process| Notes::open())).tasks(tasks![
        on_runtime,
        on_thread,
        in_process,
        step_on_runtime,
        step_on_thread,
        step_in_process,
        add_up,
        at_most_once,
        lasts,
        spins,
        kills_its_process,
        kills_its_worker
    ]);
    celeriac_trees::tasks(app, &[ResourceRequest::shared::<Notes>()], |context, run| {
        let notes = context.shared::<Notes>()?;
        Ok(notes.diary.started(notes.worker, run)?)
    })
}
