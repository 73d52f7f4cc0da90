//! One scenario on apalis: apalis-bench SCENARIO HOST PORT. Prints "figure<TAB>name<TAB>unit<TAB>value" lines.

use std::process::Command;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use apalis::prelude::*;
use apalis_redis::{Client, Config, ConnectionManager, RedisStorage};
use redis::aio::ConnectionManagerConfig;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

type Result<T> = std::result::Result<T, BoxDynError>;

/// A task's argument: when it was sent, in microseconds since 1970, where that matters.
type Sent = u64;

const QUEUE: &str = "bench";
const CONCURRENCY: usize = 100;
const PINGS: usize = 1_000;

/// How often a worker without tasks looks for some. Nothing else wakes it: every push of apalis-redis 1.0.0 goes
/// through the set of scheduled tasks, and only one that goes past it is announced.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A scenario that hangs ends with an error.
const LONGEST: Duration = Duration::from_secs(600);

/// After this, the rate of a slow drain is known.
const ENOUGH: Duration = Duration::from_secs(60);

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scenario, host, port] = arguments.as_slice() else {
        return Err("usage: apalis-bench SCENARIO HOST PORT".into());
    };
    match tokio::time::timeout(LONGEST, run(scenario, host, port)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("{scenario} took more than ten minutes").into()),
    }
}

async fn run(scenario: &str, host: &str, port: &str) -> Result<()> {
    let server = Server::connect(&format!("redis://{host}:{port}/")).await?;
    match scenario {
        "send-single" => send_single(server).await,
        "send-bulk" => send_bulk(server).await,
        "drain" => {
            let rate = drain(server.clone(), 200_000, Duration::ZERO, LONGEST).await?;
            figure("drain of no-op tasks with results", "tasks/s", rate);
            let rate = drain(server.with_its_defaults(), 10_000, Duration::ZERO, ENOUGH).await?;
            figure("drain of 10,000 no-op tasks with its default settings", "tasks/s", rate);
            Ok(())
        }
        "ten-ms" => {
            let rate = drain(server, 20_000, Duration::from_millis(10), LONGEST).await?;
            figure("10 ms tasks at concurrency 100", "tasks/s", rate);
            Ok(())
        }
        "latency" => latency(server, &[host, port]).await,
        "ping" => ping(server).await,
        "idle" => idle(server).await,
        unknown => Err(format!("no scenario is called {unknown}").into()),
    }
}

async fn send_single(server: Server) -> Result<()> {
    let mut storage = server.storage();
    storage.push(0).await?;
    let began = Instant::now();
    for _ in 0..10_000 {
        storage.push(0).await?;
    }
    figure("send one by one", "tasks/s", 10_000.0 / began.elapsed().as_secs_f64());
    Ok(())
}

async fn send_bulk(server: Server) -> Result<()> {
    let mut storage = server.storage();
    storage.push(0).await?;
    let began = Instant::now();
    for _ in 0..300 {
        storage.push_bulk(vec![0; 1_000]).await?;
    }
    figure("send in bulk", "tasks/s", 300_000.0 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a worker until `count` tasks, each of which sleeps that long, have left their results in the store, or for `longest`.
async fn drain(mut server: Server, count: usize, sleep: Duration, longest: Duration) -> Result<f64> {
    let mut storage = server.storage();
    for _ in 0..count / 1_000 {
        storage.push_bulk(vec![0; 1_000]).await?;
        server.promote(1_000).await?;
    }
    let began = Instant::now();
    let (ran, mut runs) = mpsc::unbounded_channel();
    let worker = tokio::spawn(server.clone().work(move |_| {
        let ran = ran.clone();
        async move {
            if !sleep.is_zero() {
                tokio::time::sleep(sleep).await;
            }
            let _ = ran.send(());
        }
    }));
    let all = async {
        for _ in 0..count {
            runs.recv().await.ok_or("the worker stopped")?;
        }
        while server.done().await? < count {
            if worker.is_finished() {
                return Err("the worker stopped".into());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Result::Ok(())
    };
    tokio::time::timeout(longest, all).await.unwrap_or(Ok(()))?;
    worker.abort();
    Ok(server.done().await? as f64 / began.elapsed().as_secs_f64())
}

async fn latency(server: Server, address: &[&str]) -> Result<()> {
    let (started, mut delays) = mpsc::unbounded_channel();
    tokio::spawn(server.work(move |sent| {
        let _ = started.send(micros() - sent);
        async {}
    }));
    let mut pinger = Command::new(std::env::current_exe()?).arg("ping").args(address).spawn()?;
    let mut sorted = Vec::with_capacity(PINGS);
    for _ in 0..PINGS {
        sorted.push(delays.recv().await.ok_or("the worker stopped")?);
    }
    pinger.wait()?;
    sorted.sort_unstable();
    let at = |quantile: f64| sorted[((PINGS - 1) as f64 * quantile) as usize] as f64 / 1_000.0;
    figure("start latency at 100 tasks/s, median", "ms", at(0.5));
    figure("start latency at 100 tasks/s, 99%", "ms", at(0.99));
    Ok(())
}

/// Sends pings at a steady rate: the other process.
async fn ping(server: Server) -> Result<()> {
    let mut storage = server.storage();
    let mut rhythm = tokio::time::interval(Duration::from_millis(10));
    for _ in 0..PINGS {
        rhythm.tick().await;
        storage.push(micros()).await?;
    }
    Ok(())
}

async fn idle(server: Server) -> Result<()> {
    tokio::spawn(server.work(|_| async {}));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kibibytes: f64 = resident.trim().trim_end_matches(" kB").parse()?;
    figure("idle worker, resident memory", "MiB", kibibytes / 1024.0);
    Ok(())
}

/// The queue on one server.
#[derive(Clone)]
struct Server {
    connection: ConnectionManager,
    config: Config,
}

impl Server {
    /// Without the time limit of 500 ms on every answer, at which a busy server would end the worker.
    async fn connect(url: &str) -> Result<Self> {
        let unhurried = ConnectionManagerConfig::new().set_response_timeout(None);
        let connection = Client::open(url)?.get_connection_manager_with_config(unhurried).await?;
        // Their documentation wants locks for tasks that outlast a heartbeat only. With them, the list of waiting
        // tasks is searched through for every one that starts, which makes a drain some forty times as slow.
        let config = Config::default().queue(QUEUE).batch_size(CONCURRENCY).lock_tasks(false);
        Ok(Self { connection, config })
    }

    /// Another queue, with locks and batches of ten.
    fn with_its_defaults(self) -> Self {
        Self { config: Config::default().queue("bench-defaults"), ..self }
    }

    fn storage(&self) -> RedisStorage<Sent> {
        RedisStorage::new(self.connection.clone()).with_config(self.config.clone())
    }

    /// Moves tasks to where workers take them from, which a worker would do first of all.
    ///
    /// It moves all tasks that are due in one call with an argument for each, and more than some 8,000 end it:
    /// "too many results to unpack".
    async fn promote(&mut self, count: usize) -> Result<()> {
        let scheduled = self.config.scheduled_jobs_set();
        let popped: Vec<(String, f64)> =
            redis::cmd("ZPOPMIN").arg(scheduled).arg(count).query_async(&mut self.connection).await?;
        let ids: Vec<&String> = popped.iter().map(|(id, _)| id).collect();
        let _: usize = redis::cmd("RPUSH")
            .arg(self.config.active_jobs_list())
            .arg(ids)
            .query_async(&mut self.connection)
            .await?;
        Ok(())
    }

    /// How many tasks are completed.
    async fn done(&mut self) -> Result<usize> {
        let done = self.config.done_jobs_set();
        Ok(redis::cmd("SCARD").arg(done).query_async(&mut self.connection).await?)
    }

    /// Runs a worker; says why when it ends.
    async fn work<F>(self, run: impl Fn(Sent) -> F + Clone + Send + Sync + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let worker = WorkerBuilder::new(QUEUE)
            .backend(self.storage().poll_with_strategy(Every::new(POLL_INTERVAL)))
            .concurrency(CONCURRENCY)
            .build(run);
        if let Err(error) = worker.run().await {
            eprintln!("apalis: {error}");
        }
    }
}

/// Wakes the worker at this interval.
///
/// As `poll_with_interval`, whose timer however stays unwatched once it has fired while a fetch was under way: then
/// the worker sleeps until its next heartbeat, for up to 30 seconds.
struct Every(Interval);

impl Every {
    fn new(interval: Duration) -> Self {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(ticks)
    }
}

impl PollStrategy for Every {
    fn poll_drive(&mut self, context: &mut Context<'_>, _: &PollSnapshot) -> Poll<Option<()>> {
        while self.0.poll_tick(context).is_ready() {}
        Poll::Pending
    }
}

fn figure(name: &str, unit: &str, value: f64) {
    println!("figure\t{name}\t{unit}\t{value}");
}

#[expect(clippy::disallowed_methods, reason = "this program does not have the clock of our store")]
fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    since.as_micros().try_into().expect("it is before 500,000")
}
