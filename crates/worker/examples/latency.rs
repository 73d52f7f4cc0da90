//! What an idle worker on SQLite costs, and how soon it starts a task that is sent to it.
//!
//! `cargo run --release -p celeriac-worker --example latency -- [async|threads]`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::Value;
use celeriac_app::store::clock::Clock;
use celeriac_app::{App, Signature, TaskBody, TaskDefinition, sent_at};
use celeriac_worker::{Options, Shutdown};
use tokio::time::{MissedTickBehavior, interval};

type Failure = Box<dyn std::error::Error>;

/// From sending until the task starts, for each task.
type Waits = Arc<Mutex<Vec<Duration>>>;

const TASKS: usize = 1000;
const PER_SECOND: u64 = 100;
const IDLE: Duration = Duration::from_secs(10);

fn main() -> Result<(), Failure> {
    let waits = Waits::default();
    let noted = Arc::clone(&waits);
    let note = move |context: &celeriac_app::Context| {
        let sent = sent_at(context.headers()).expect("the producer of this program says when it sent");
        noted.lock().expect("no task panics").push(Clock::system().now().saturating_since(sent));
    };
    let body = match std::env::args().nth(1).as_deref() {
        Some("threads") => TaskBody::blocking(move |context, _, _| {
            note(context);
            Ok(Value::Null)
        }),
        _ => TaskBody::asynchronous(move |context, _| {
            note(&context);
            async { Ok(Value::Null) }
        }),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(body))?;
    report(&mut waits.lock().expect("no task panics"));
    Ok(())
}

async fn measure(body: TaskBody) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:///{}", folder.path().join("latency.db").display());
    let app = App::new("latency")
        .settings(|settings| settings.broker_url = url)
        .task(TaskDefinition::new("noop", body));
    let (stopper, shutdown) = Shutdown::new();
    let options = Options::from_settings(app.config(), "latency@localhost");
    let worker = tokio::spawn({
        let app = app.clone();
        async move { celeriac_worker::run(&app, options, shutdown).await }
    });
    app.send(Signature::<()>::named("noop", vec![], vec![])).await?.wait(IDLE).await?;

    let before = cpu_seconds()?;
    tokio::time::sleep(IDLE).await;
    let used = (cpu_seconds()? - before) / IDLE.as_secs_f64() * 100.0;
    println!("idle: {used:.2} % CPU, {} resident", resident()?);

    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(PER_SECOND)?);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut last = None;
    for _ in 0..TASKS {
        ticks.tick().await;
        last = Some(app.send(Signature::<()>::named("noop", vec![], vec![])).await?);
    }
    last.ok_or("nothing was sent")?.wait(IDLE).await?;
    stopper.terminate();
    worker.await??;
    Ok(())
}

fn report(waits: &mut [Duration]) {
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    println!("sent until started: p50 {:?}, p99 {:?}, worst {:?}", at(0.5), at(0.99), at(1.0));
}

/// User and system time of this process. Source: proc(5), `/proc/pid/stat`, fields 14 and 15, in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name in stat")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}

fn resident() -> Result<String, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no resident memory")?;
    Ok(line.trim_start_matches("VmRSS:").trim().to_owned())
}
