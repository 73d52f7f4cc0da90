//! Workers killed at any point between fetch and finish: no task is lost, and what follows from each is there once.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::QueueName;

use super::desk::{
    SOON, call, call_on, consuming, done, fetch, id, ids, open, open_with, options, patiently, queue, soon,
    success,
};
use crate::{ConnectOptions, ConsumeOptions, Delivery, Finish, Store};

/// Tells a child of these tests which server to work on.
const ARGUMENT: &str = "CELERIAC_TEST_REDIS_CHILD";
/// Short, because killed consumers are waited for.
const LEASE: Duration = Duration::from_millis(500);
const KILLS: usize = 300;
/// How many are killed at a time.
const AT_ONCE: usize = 3;
/// A worker lives no longer than this once it consumes: some batches are done, and one is cut off.
const LIFE: Duration = Duration::from_millis(15);
/// How many tasks wait at least while workers are killed.
const WAITING: usize = 200;

fn next_step() -> QueueName {
    QueueName::new("next step")
}

/// Run by [`start`] in a process of its own until it is killed; does nothing otherwise.
#[tokio::test]
async fn worker() {
    let Ok(url) = std::env::var(ARGUMENT) else { return };
    // Nothing is wrong with the server, however busy the machine is.
    let store = open_with(&url, &ConnectOptions { deadline: SOON, ..options() }).await;
    let mut subscription =
        store.broker().consume(ConsumeOptions { prefetch: 10, ..consuming(LEASE) }).await.unwrap();
    println!("consuming");
    loop {
        let deliveries = fetch(&mut subscription).await;
        let tags = deliveries.iter().map(|delivery| delivery.tag).collect();
        subscription.settler.started(tags).await.unwrap();
        let step = |delivery: &Delivery| Finish {
            result: Some(success(id(delivery))),
            follow_ups: vec![call_on(&next_step(), id(delivery))],
            ..done(delivery)
        };
        subscription.settler.finish(deliveries.iter().map(step).collect()).await.unwrap();
    }
}

/// Starts a worker, lets it live for that long from when it consumes, and kills it.
fn live_and_die(url: &str, life: Duration) {
    let mut child = Command::new(std::env::current_exe().expect("a test program has a path"))
        .args(["redis::tests::kills::worker", "--exact", "--nocapture"])
        .env(ARGUMENT, url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the child starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let consumes = lines.map_while(Result::ok).any(|line| line.contains("consuming"));
    assert!(consumes, "a worker ended by itself");
    std::thread::park_timeout(life);
    assert!(child.try_wait().unwrap().is_none(), "a worker ended by itself");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_hundred_kills_lose_no_task_and_double_no_step() {
    let seed = std::env::var("CELERIAC_TEST_SEED").map_or(fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let mut sent: Vec<String> = Vec::new();
    for _ in 0..KILLS / AT_ONCE {
        let waiting = store.broker().queues(&[queue()]).await.unwrap()[0].ready;
        let new: Vec<String> = (sent.len()..sent.len() + WAITING.saturating_sub(waiting as usize))
            .map(|number| format!("task-{number}"))
            .collect();
        store.broker().publish(new.iter().map(|name| call(name)).collect()).await.unwrap();
        sent.extend(new);
        let lives: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                let (url, life) = (server.url(0), LIFE.mul_f64(random.f64()));
                tokio::task::spawn_blocking(move || live_and_die(&url, life))
            })
            .collect();
        for life in lives {
            life.await.unwrap();
        }
    }
    let (repeated, steps) = work_off(&store, &sent).await;
    println!("{} tasks, {repeated} of them delivered again after {KILLS} kills", sent.len());
    assert!(repeated > 0, "no worker was killed between fetch and finish");
    assert_eq!(steps, sent);
}

async fn steps_ready(store: &Store) -> usize {
    store.broker().queues(&[next_step()]).await.unwrap()[0].ready as usize
}

/// Finishes what is left, and answers how much of that had been delivered before, and every next step, sorted.
async fn work_off(store: &Store, sent: &[String]) -> (usize, Vec<String>) {
    let mut subscription = store.broker().consume(consuming(LEASE * 100)).await.unwrap();
    let mut repeated = 0;
    while steps_ready(store).await < sent.len() {
        let deliveries = soon("what a killed worker had", fetch(&mut subscription)).await;
        repeated += deliveries.iter().filter(|delivery| delivery.redelivered).count();
        let step = |delivery: &Delivery| Finish {
            follow_ups: vec![call_on(&next_step(), id(delivery))],
            ..done(delivery)
        };
        patiently(|| subscription.settler.finish(deliveries.iter().map(step).collect())).await;
    }
    // Nothing comes back that was finished.
    let more = tokio::time::timeout(LEASE * 2, fetch(&mut subscription)).await;
    assert!(more.is_err(), "{more:?}");
    let options =
        ConsumeOptions { queues: vec![next_step()], prefetch: 2 * sent.len(), ..consuming(LEASE * 100) };
    let mut subscription = store.broker().consume(options).await.unwrap();
    let (ready, mut steps) = (steps_ready(store).await, Vec::new());
    while steps.len() < ready {
        let deliveries = soon("a next step", subscription.consumer.fetch(ready)).await.unwrap();
        steps.extend(ids(&deliveries).into_iter().map(str::to_owned));
    }
    let number = |name: &String| name.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
    steps.sort_by_key(number);
    (repeated, steps)
}
