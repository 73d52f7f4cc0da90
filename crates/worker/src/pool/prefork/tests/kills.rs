//! Tasks that are asked to stop, and children that are killed for their task.

use std::time::{Duration, Instant};

use celeriac_protocol::Value;

use super::harness::{Bench, PATIENCE, options};
use crate::death::DeathReason;
use crate::outcome::{Failure, Outcome, Revoked};
use crate::pool::{Pool, StopReason};

const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_task_is_told_why_it_should_stop() {
    let mut bench = Bench::ready(1).await;
    let cases = [
        (StopReason::Revoked, Outcome::Revoked(Revoked::WhileRunning)),
        (StopReason::Shutdown, Outcome::Returned),
        (StopReason::SoftTimeLimit(LIMIT), Outcome::Failure(Failure::soft_time_limit(Duration::ZERO))),
    ];
    for (reason, expected) in cases {
        let request = bench.run("obey", []).await;
        bench.pool.ask(&request, reason);
        assert_eq!(bench.end_of(&request).await, expected);
    }
    assert_eq!(bench.deaths, [], "asking kills nobody");
}

#[tokio::test]
async fn a_task_that_does_not_stop_is_killed_with_its_child() {
    let mut bench = Bench::ready(1).await;
    let cases = [
        (StopReason::HardTimeLimit(LIMIT), DeathReason::HardLimit),
        (StopReason::Revoked, DeathReason::Revoked),
        (StopReason::Shutdown, DeathReason::Shutdown),
    ];
    for (reason, expected) in cases {
        let request = bench.run("hang", []).await;
        bench.kill(&request, reason);
        let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
        assert_eq!((death.reason, death.task_id), (expected, Some(request.id.clone())));
    }
}

#[tokio::test]
async fn a_child_that_does_not_answer_is_killed_nonetheless() {
    const SIGSTOP: i64 = 19;
    let mut quick = options(1, "ordinary_child");
    quick.grace = Duration::from_millis(50);
    let mut bench = Bench::with(quick).await;
    // A stopped process neither answers nor dies of SIGTERM.
    let request = bench.run("signal", [Value::Int(SIGSTOP)]).await;
    bench.kill(&request, StopReason::HardTimeLimit(LIMIT));
    let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
    assert_eq!(death.reason, DeathReason::HardLimit);
}

#[tokio::test]
async fn a_task_that_has_ended_is_not_killed_and_neither_is_the_next() {
    let mut bench = Bench::ready(1).await;
    let ended = bench.submit("echo", [Value::Null]).await;
    bench.end_of(&ended).await;
    let next = bench.run("obey", []).await;
    bench.kill(&ended, StopReason::Revoked);
    bench.pool.ask(&next, StopReason::Shutdown);
    assert_eq!(bench.end_of(&next).await, Outcome::Returned);
    assert_eq!(bench.deaths, []);
}

/// Kills raced against tasks of a millisecond, with others right behind them on the same children.
///
/// `CELERIAC_RACES` sets how many; each that hits costs the start of a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_ever_hits_another_task() {
    let races = std::env::var("CELERIAC_RACES").ok().and_then(|count| count.parse().ok()).unwrap_or(2000);
    let mut patient = options(2, "ordinary_child");
    // A child that the machine keeps from answering is killed unasked, which is not what is raced here.
    patient.answer = PATIENCE;
    let mut bench = Bench::with(patient).await;
    let mut dice = fastrand::Rng::with_seed(7);
    let (mut hits, mut misses) = (0, 0);
    for _ in 0..races {
        let victim = bench.submit("nap", [Value::Int(1000)]).await;
        let innocent = bench.submit("nap", [Value::Int(1000)]).await;
        bench.running(&victim).await;
        // The timer of the runtime is too coarse for this.
        let (now, wait) = (Instant::now(), Duration::from_micros(dice.u64(..1500)));
        while now.elapsed() < wait {
            tokio::task::yield_now().await;
        }
        bench.kill(&victim, StopReason::Revoked);
        match bench.end_of(&victim).await {
            Outcome::Success(_) => misses += 1,
            Outcome::Lost(death) => {
                assert_eq!((&death.reason, death.task_id), (&DeathReason::Revoked, Some(victim.id.clone())));
                hits += 1;
            }
            other => panic!("a killed task ended as {other:?}"),
        }
        assert_eq!(bench.end_of(&innocent).await, Outcome::Success(Value::Null));
        assert_eq!(bench.value("nap", [Value::Int(0)]).await, Value::Null);
    }
    assert!(hits > 0 && misses > 0, "no race: {hits} hits, {misses} misses");
    assert_eq!(bench.deaths.len(), hits, "a child died although its task had ended: {:?}", bench.deaths);
}
