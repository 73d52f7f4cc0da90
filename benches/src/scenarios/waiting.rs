//! Three ways to wait for a message in one of several lists of Redis without taking it out: which is the soonest to hear
//! of it, and which asks least when there is nothing.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, cmd};
use tokio::sync::mpsc;

use crate::Result;
use crate::place::Place;
use crate::report::Figure;

/// The lists of three queues, four priorities each.
const LISTS: usize = 12;
const MESSAGES: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);
const SETTLE: Duration = Duration::from_secs(1);
const IDLE: Duration = Duration::from_secs(5);
/// Polling asks again after the first of these, then twice as late each time, until the last.
const POLLS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

#[derive(Clone, Copy)]
enum Way {
    Tracking,
    Blocking,
    Polling,
}

pub(crate) async fn run(place: &Place) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, way) in [
        ("client tracking", Way::Tracking),
        ("BLMOVE", Way::Blocking),
        ("adaptive polling, 1 to 50 ms", Way::Polling),
    ] {
        let measured = measure(place.url(), way).await?;
        let at =
            |quantile: f64| measured.delays[((measured.delays.len() - 1) as f64 * quantile) as usize] * 1e3;
        figures.push(Figure::new(&format!("waiting by {name}: until taken, median"), "ms", at(0.5)));
        figures.push(Figure::new(&format!("waiting by {name}: until taken, 99%"), "ms", at(0.99)));
        figures.push(Figure::new(&format!("waiting by {name}: commands when idle"), "per s", measured.idle));
        figures.push(Figure::new(&format!("waiting by {name}: connections"), "", measured.connections));
    }
    Ok(figures)
}

struct Measured {
    /// Seconds from sending until the message was taken, the shortest first.
    delays: Vec<f64>,
    idle: f64,
    connections: f64,
}

async fn measure(url: &str, way: Way) -> Result<Measured> {
    let client = Client::open(format!("{url}?protocol=resp3"))?;
    let mut sender = client.get_multiplexed_async_connection().await?;
    cmd("FLUSHALL").exec_async(&mut sender).await?;
    let (taken, mut times) = mpsc::unbounded_channel();
    let waiter = tokio::spawn(wait(client.clone(), way, taken));
    let mut delays = Vec::new();
    for number in 0..MESSAGES {
        tokio::time::sleep(PAUSE).await;
        let sent = Instant::now();
        let list = format!("list{}", number as usize % LISTS);
        cmd("LPUSH").arg(list).arg("message").exec_async(&mut sender).await?;
        let at: Instant = times.recv().await.ok_or("nobody waits any more")?;
        delays.push(at.duration_since(sent).as_secs_f64());
    }
    let connections = clients(&mut sender).await? - 1.0;
    tokio::time::sleep(SETTLE).await;
    let before = commands(&mut sender).await?;
    tokio::time::sleep(IDLE).await;
    let idle = (commands(&mut sender).await? - before - 1.0) / IDLE.as_secs_f64();
    waiter.abort();
    delays.sort_by(f64::total_cmp);
    Ok(Measured { delays, idle, connections })
}

/// Takes every message and says when.
async fn wait(
    client: Client,
    way: Way,
    taken: mpsc::UnboundedSender<Instant>,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let lists: Vec<String> = (0..LISTS).map(|number| format!("list{number}")).collect();
    let (told, mut news) = mpsc::unbounded_channel();
    let config = AsyncConnectionConfig::new().set_push_sender(told).set_response_timeout(None);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    let (woken, mut wakes) = mpsc::unbounded_channel();
    match way {
        Way::Tracking => cmd("CLIENT").arg("TRACKING").arg("ON").exec_async(&mut connection).await?,
        Way::Blocking => {
            // A blocked connection does nothing else, so each list has its own.
            for list in lists.clone() {
                let blocked = client.get_multiplexed_async_connection_with_config(&config).await?;
                tokio::spawn(block(blocked, list, woken.clone()));
            }
        }
        Way::Polling => {}
    }
    let mut pause = POLLS.0;
    loop {
        if matches!(way, Way::Tracking) {
            cmd("EXISTS").arg(&lists).exec_async(&mut connection).await?;
        }
        let mut found = false;
        for list in &lists {
            let popped: Option<String> = cmd("RPOP").arg(list).query_async(&mut connection).await?;
            if popped.is_some() {
                found = true;
                taken.send(Instant::now())?;
            }
        }
        match way {
            _ if found => pause = POLLS.0,
            Way::Tracking => drop(news.recv().await),
            Way::Blocking => drop(wakes.recv().await),
            Way::Polling => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(POLLS.1);
            }
        }
    }
}

/// Tells whenever the list is not empty.
async fn block(mut connection: MultiplexedConnection, list: String, woken: mpsc::UnboundedSender<()>) {
    let mut wait = cmd("BLMOVE");
    wait.arg(&list).arg(&list).arg("RIGHT").arg("RIGHT").arg(0);
    while wait.exec_async(&mut connection).await.is_ok() && woken.send(()).is_ok() {}
}

async fn commands(connection: &mut MultiplexedConnection) -> Result<f64> {
    info(connection, "stats", "total_commands_processed:").await
}

async fn clients(connection: &mut MultiplexedConnection) -> Result<f64> {
    info(connection, "clients", "connected_clients:").await
}

async fn info(connection: &mut MultiplexedConnection, section: &str, field: &str) -> Result<f64> {
    let text: String = cmd("INFO").arg(section).query_async(connection).await?;
    let value = text.lines().find_map(|line| line.strip_prefix(field)).ok_or("INFO lacks the field")?;
    Ok(value.trim().parse()?)
}
