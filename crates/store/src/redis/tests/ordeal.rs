//! A worker's day with everything that can go wrong with a network and a server, in random order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celeriac_faults::{Ending, Proxy, Server, Weather};
use celeriac_protocol::QueueName;

use super::desk::{call, call_on, consuming, done, fetch, id, ids, open, patiently};
use crate::{ConsumeOptions, Delivery, Finish, Settled, Settler, Store};

const TASKS: usize = 400;
/// How long a task runs: work is still there when the last fault is over.
const RUN: Duration = Duration::from_millis(20);
const FAULTS: usize = 14;
const LEASE: Duration = Duration::from_secs(3);

/// How long everything may take together.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_goes_wrong_each_task_is_finished_once() {
    let seed = std::env::var("CELERIAC_TEST_SEED").map_or(fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("CELERIAC_TEST_SEED={seed}");
    let mut server = Server::durable();
    let proxy = Proxy::before(server.port());
    let store = open(&proxy.url()).await;
    let names: Vec<String> = (0..TASKS).map(|number| format!("task-{number}")).collect();
    store.broker().publish(names.iter().map(|name| call(name)).collect()).await.unwrap();
    let calm = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(work(store, Arc::clone(&calm)));
    trouble(seed, &mut server, &proxy).await;
    calm.store(true, Ordering::SeqCst);
    let finished = tokio::time::timeout(LIMIT, worker).await.expect("work goes on").unwrap();
    assert!(finished.values().all(|times| *times == 1), "some were done twice: {finished:?}");
    // What followed from each task is there once.
    let near = open(&server.url(0)).await;
    let mut followed: Vec<String> = follow_ups(&near).await;
    followed.sort();
    let mut expected: Vec<String> = names;
    expected.sort();
    assert_eq!(followed, expected);
}

fn follow_up_queue() -> QueueName {
    QueueName::new("finished")
}

/// Breaks things, for a while each.
async fn trouble(seed: u64, server: &mut Server, proxy: &Proxy) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..FAULTS {
        match random.u8(0..9) {
            0 => proxy.weather(Weather::BlackHole),
            1 => proxy.weather(Weather::HoleAt(proxy.connections().saturating_sub(random.u64(1..4)))),
            2 => proxy.weather(Weather::Slow(Duration::from_millis(random.u64(1..2000)))),
            3 => proxy.weather(Weather::AnswersEnd(random.u64(0..5000))),
            4 => {
                proxy.weather(Weather::Refusing);
                proxy.end(Ending::Reset);
            }
            5 => proxy.end(Ending::Reset),
            6 => proxy.end(Ending::HalfClose),
            7 => {
                server.pause();
                tokio::time::sleep(Duration::from_millis(random.u64(0..1500))).await;
                server.go_on();
            }
            _ => {
                server.kill();
                server.start_again();
            }
        }
        tokio::time::sleep(Duration::from_millis(random.u64(0..600))).await;
        if random.bool() {
            proxy.weather(Weather::Fair);
            tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
        }
    }
    proxy.weather(Weather::Fair);
}

/// Fetches and finishes until there is peace and nothing left; how often each task was done.
async fn work(store: Store, calm: Arc<AtomicBool>) -> HashMap<String, u32> {
    let mut subscription =
        patiently(|| store.broker().consume(ConsumeOptions { prefetch: 2, ..consuming(LEASE) })).await;
    let lease = Arc::clone(&subscription.lease);
    let renewing = tokio::spawn(async move {
        loop {
            // What fails is tried again soon; a lease that is lost shows in what is lost.
            let _ = lease.renew().await;
            tokio::time::sleep(LEASE / 6).await;
        }
    });
    let mut finished = HashMap::new();
    loop {
        let idle = Duration::from_secs(5);
        let Ok(deliveries) = tokio::time::timeout(idle, fetch(&mut subscription)).await else {
            if calm.load(Ordering::SeqCst) {
                break;
            }
            continue;
        };
        tokio::time::sleep(RUN).await;
        for name in finish(&*subscription.settler, &deliveries).await {
            *finished.entry(name).or_default() += 1;
        }
    }
    renewing.abort();
    finished
}

/// Finishes all of these, and says which were done by this.
async fn finish(settler: &dyn Settler, deliveries: &[Delivery]) -> Vec<String> {
    let finishes = || -> Vec<Finish> {
        let finish = |delivery| Finish {
            follow_ups: vec![call_on(&follow_up_queue(), id(delivery))],
            ..done(delivery)
        };
        deliveries.iter().map(finish).collect()
    };
    let settled = patiently(|| settler.finish(finishes())).await;
    let done = ids(deliveries).into_iter().zip(settled).filter(|(_, settled)| *settled == Settled::Done);
    done.map(|(name, _)| name.to_owned()).collect()
}

/// What was sent by finished tasks.
async fn follow_ups(store: &Store) -> Vec<String> {
    let options = ConsumeOptions { queues: vec![follow_up_queue()], ..consuming(LEASE) };
    let options = ConsumeOptions { prefetch: 10 * TASKS, ..options };
    let mut subscription = store.broker().consume(options).await.unwrap();
    let deliveries = subscription.consumer.fetch(10 * TASKS).await.unwrap();
    ids(&deliveries).into_iter().map(str::to_owned).collect()
}
