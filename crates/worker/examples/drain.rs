//! How fast a worker empties a queue of no-op tasks on SQLite, with every result stored.
//!
//! `cargo run --release -p celeriac-worker --example drain -- [TASKS] [async|threads]`

use std::time::{Duration, Instant};

use celeriac_app::protocol::Value;
use celeriac_app::{App, Signature, TaskBody, TaskDefinition};
use celeriac_worker::{Options, Shutdown};

type Failure = Box<dyn std::error::Error>;

/// How many calls are sent in one round trip.
const BULK: usize = 10_000;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let tasks: usize = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let body = match arguments.next().as_deref() {
        Some("threads") => TaskBody::blocking(|_, _, _| Ok(Value::Null)),
        _ => TaskBody::asynchronous(|_, _| async { Ok(Value::Null) }),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measure(tasks, body))
}

async fn measure(tasks: usize, body: TaskBody) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:///{}", folder.path().join("drain.db").display());
    let app = App::new("drain")
        .settings(|settings| settings.broker_url = url)
        .task(TaskDefinition::new("noop", body));

    let started = Instant::now();
    let mut last = None;
    for first in (0..tasks).step_by(BULK) {
        let calls = (first..tasks.min(first + BULK)).map(|_| Signature::<()>::named("noop", vec![], vec![]));
        last = app.send_many(calls).await?.pop();
    }
    report("sent", tasks, started.elapsed());

    let started = Instant::now();
    let (stopper, shutdown) = Shutdown::new();
    let options = Options::from_settings(app.config(), "drain@localhost");
    let worker = tokio::spawn({
        let app = app.clone();
        async move { celeriac_worker::run(&app, options, shutdown).await }
    });
    last.ok_or("nothing was sent")?.wait(Duration::from_secs(600)).await?;
    report("drained", tasks, started.elapsed());
    stopper.terminate();
    worker.await??;
    let left: u64 = app.store().await?.broker().queues(&[]).await?.iter().map(|queue| queue.ready).sum();
    println!("left in the queue: {left}");
    Ok(())
}

fn report(what: &str, tasks: usize, took: Duration) {
    println!("{what} {tasks} in {:.2} s: {:.0}/s", took.as_secs_f64(), tasks as f64 / took.as_secs_f64());
}
