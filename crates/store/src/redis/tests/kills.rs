//! Workers killed at any point between fetch and finish: no task is lost, and what follows from each, or from several together, is there once.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use celeriac_faults::Server;
use celeriac_protocol::QueueName;

use super::desk::{
    SOON, call, call_on, consuming, done, fetch, id, ids, member, open, open_with, options, patiently, queue,
    soon,
};
use crate::{
    ChordPart, Closing, ConnectOptions, Consequences, ConsumeOptions, Delivery, Finish, NewChord,
    Publication, Settled, Settler, Store,
};

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

fn bodies() -> QueueName {
    QueueName::new("bodies")
}

/// How many tasks in succession are the header of one chord.
const SIZE: usize = 4;

fn number(name: &str) -> usize {
    name.rsplit('-').next().and_then(|number| number.parse().ok()).expect("tasks are numbered")
}

/// The header that a task belongs to.
fn header_of(name: &str) -> String {
    format!("chord-{}", number(name) / SIZE)
}

/// The end of a task: its result, its next step, and its part of a chord.
fn end(delivery: &Delivery, closing: Closing) -> Finish {
    let name = id(delivery);
    let part = ChordPart { closing, ..member(&header_of(name), name, (number(name) % SIZE) as i64) };
    Finish {
        follow_ups: vec![call_on(&next_step(), name)],
        workflow: Some(Box::new(Consequences { parts: vec![part], ..Consequences::default() })),
        ..done(delivery)
    }
}

/// As [`end`], with the body that is sent if the chord is complete.
fn last_end(delivery: &Delivery) -> Finish {
    let body = vec![call_on(&bodies(), &header_of(id(delivery)))];
    end(
        delivery,
        Closing::Known(Box::new(Consequences { publication: body.into(), ..Consequences::default() })),
    )
}

/// Ends tasks as a worker does: it learns who is the last member of a chord, and comes again with the body.
async fn end_all(settler: &dyn Settler, deliveries: &[Delivery]) {
    let ends = || deliveries.iter().map(|delivery| end(delivery, Closing::Ask)).collect();
    let settled = patiently(|| settler.finish(ends())).await;
    let last: Vec<&Delivery> = deliveries
        .iter()
        .zip(settled)
        .filter(|(_, end)| *end == Settled::Completes)
        .map(|(it, _)| it)
        .collect();
    patiently(|| settler.finish(last.iter().map(|delivery| last_end(delivery)).collect())).await;
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
        end_all(&*subscription.settler, &deliveries).await;
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
async fn three_hundred_kills_lose_no_task_and_double_no_step_and_no_body() {
    let seed = std::env::var("CELERIAC_TEST_SEED").map_or(fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let server = Server::start();
    let store = open(&server.url(0)).await;
    let mut sent: Vec<String> = Vec::new();
    for _ in 0..KILLS / AT_ONCE {
        let waiting = store.broker().queues(&[queue()]).await.unwrap()[0].ready;
        let chords = WAITING.saturating_sub(waiting as usize).div_ceil(SIZE);
        let new: Vec<String> =
            (sent.len()..sent.len() + chords * SIZE).map(|number| format!("task-{number}")).collect();
        let begins = |header: &[String]| NewChord {
            id: header_of(&header[0]).into(),
            size: SIZE as u64,
            expires_after: LEASE * 1000,
        };
        let publication = Publication {
            messages: new.iter().map(|name| call(name)).collect(),
            chords: new.chunks(SIZE).map(begins).collect(),
            ..Publication::default()
        };
        store.broker().publish(publication).await.unwrap();
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
    let repeated = work_off(&store, &sent).await;
    println!("{} tasks, {repeated} of them delivered again after {KILLS} kills", sent.len());
    assert!(repeated > 0, "no worker was killed between fetch and finish");
    assert_eq!(all_in(&store, next_step()).await, sent);
    let headers: Vec<String> = sent.chunks(SIZE).map(|header| header_of(&header[0])).collect();
    assert_eq!(all_in(&store, bodies()).await, headers);
}

async fn ready_in(store: &Store, queue: &QueueName) -> usize {
    store.broker().queues(std::slice::from_ref(queue)).await.unwrap()[0].ready as usize
}

/// Finishes what is left, and answers how much of that had been delivered before.
async fn work_off(store: &Store, sent: &[String]) -> usize {
    let mut subscription = store.broker().consume(consuming(LEASE * 100)).await.unwrap();
    let mut repeated = 0;
    while ready_in(store, &next_step()).await < sent.len() {
        let deliveries = soon("what a killed worker had", fetch(&mut subscription)).await;
        repeated += deliveries.iter().filter(|delivery| delivery.redelivered).count();
        end_all(&*subscription.settler, &deliveries).await;
    }
    // Nothing comes back that was finished.
    let more = tokio::time::timeout(LEASE * 2, fetch(&mut subscription)).await;
    assert!(more.is_err(), "{more:?}");
    repeated
}

/// What waits in a queue, by its numbers.
async fn all_in(store: &Store, queue: QueueName) -> Vec<String> {
    let ready = ready_in(store, &queue).await;
    let options = ConsumeOptions { queues: vec![queue], prefetch: ready + 1, ..consuming(LEASE * 100) };
    let mut subscription = store.broker().consume(options).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    while names.len() < ready {
        let deliveries = soon("what waits", subscription.consumer.fetch(ready)).await.unwrap();
        names.extend(ids(&deliveries).into_iter().map(str::to_owned));
    }
    names.sort_by_key(|name| number(name));
    names
}
