//! Chords sent by Python whose headers run on workers of both kinds: either may run any member, and either completes them.
//!
//! Bodies and errbacks go to queues that nobody consumes, so that each can be counted.

use std::collections::BTreeSet;
use std::time::Instant;

use celeriac::protocol::{Arguments, Envelope, Value, body};
use redis::Commands as _;

use super::harness::{Broker, DEADLINE};

/// Waits until this many messages are in a list, and reads them with their numbers, in order of these.
fn messages(redis: &mut redis::Connection, list: &str, expected: usize) -> Vec<(i64, Arguments)> {
    let until = Instant::now() + DEADLINE;
    while redis.llen::<_, usize>(list).unwrap() < expected {
        assert!(Instant::now() < until, "{} of {expected} in {list}", redis.llen::<_, usize>(list).unwrap());
        std::thread::yield_now();
    }
    let raw: Vec<Vec<u8>> = redis.lrange(list, 0, -1).unwrap();
    let read = |raw: &Vec<u8>| {
        let arguments = body::decode(&Envelope::decode(raw).unwrap().message).unwrap();
        let number = arguments.kwargs.iter().find(|(name, _)| &**name == "number");
        (number.and_then(|(_, number)| number.as_i64()).expect("it says of which chord"), arguments)
    };
    let mut found: Vec<(i64, Arguments)> = raw.iter().map(read).collect();
    found.sort_by_key(|(number, _)| *number);
    found
}

/// Waits until nothing waits or is lent.
fn all_is_done(redis: &mut redis::Connection) {
    let until = Instant::now() + DEADLINE;
    while redis.llen::<_, u64>("celery").unwrap() + redis.hlen::<_, u64>("unacked").unwrap() > 0 {
        assert!(Instant::now() < until, "tasks are left");
        std::thread::yield_now();
    }
}

/// What is left of chords expires.
fn chords_expire(redis: &mut redis::Connection) {
    let keys: Vec<String> = redis.keys("*taskset*").unwrap();
    for key in keys {
        // One that has expired since has no time to live either.
        assert_ne!(redis.ttl::<_, i64>(&key).unwrap(), -1, "{key}");
    }
}

async fn both_workers(broker: &Broker) -> [super::harness::Program; 2] {
    let small = [("CELERIAC_WORKER_ASYNC_CONCURRENCY", "1"), ("CELERIAC_WORKER_PREFETCH_MULTIPLIER", "1")];
    [broker.rust_worker(&small).await, broker.python_worker(&[]).await]
}

/// The sum and who made it, of one result of `shared.add`.
fn sum(result: &Value) -> (i64, &str) {
    let [sum, kind] = result.as_list().expect("a pair") else { panic!("a pair, not {result:?}") };
    (sum.as_i64().unwrap(), kind.as_str().unwrap())
}

async fn every_body_is_sent_once(broker: Broker, in_order: bool) {
    let _workers = both_workers(&broker).await;
    broker.begin("python_sends.py", "chords_that_succeed").succeed().await;
    let mut redis = broker.redis();
    let bodies = messages(&mut redis, "bodies", 30);
    all_is_done(&mut redis);
    assert_eq!(redis.llen::<_, usize>("bodies").unwrap(), 30);
    let mut kinds = BTreeSet::new();
    let mut mixed = 0;
    for (number, (of, arguments)) in (0..).zip(&bodies) {
        assert_eq!(*of, number, "each chord has one body");
        let results: Vec<(i64, &str)> = arguments.args[0].as_list().unwrap().iter().map(sum).collect();
        let mut sums: Vec<i64> = results.iter().map(|(sum, _)| *sum).collect();
        if !in_order {
            sums.sort_unstable();
        }
        assert_eq!(sums, (number..number + 10).collect::<Vec<_>>(), "the body of chord {number}");
        let of_chord: BTreeSet<&str> = results.iter().map(|(_, kind)| *kind).collect();
        mixed += usize::from(of_chord.len() == 2);
        kinds.extend(of_chord);
    }
    assert!(mixed > 0 && kinds.len() == 2, "{mixed} chords had members on both kinds of worker: {kinds:?}");
    chords_expire(&mut redis);
}

#[tokio::test]
async fn every_body_is_sent_once_with_the_results_of_both_kinds() {
    every_body_is_sent_once(Broker::start(), true).await;
}

#[tokio::test]
async fn every_body_is_sent_once_also_without_an_order_and_with_a_prefix() {
    let options = r#"{"global_keyprefix": "cup", "result_chord_ordered": false}"#;
    every_body_is_sent_once(Broker::with_options("", options), false).await;
}

#[tokio::test]
async fn every_failed_chord_calls_its_errback_once() {
    let broker = Broker::start();
    let _workers = both_workers(&broker).await;
    broker.begin("python_sends.py", "chords_that_fail").succeed().await;
    let mut redis = broker.redis();
    let errbacks = messages(&mut redis, "errbacks", 20);
    all_is_done(&mut redis);
    assert_eq!(redis.llen::<_, usize>("errbacks").unwrap(), 20);
    assert_eq!(errbacks.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert_eq!(redis.llen::<_, usize>("bodies").unwrap(), 0);
    chords_expire(&mut redis);
}
