//! The end of the pool, of its worker, and what is left of both.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use celeriac_protocol::Value;

use super::harness::{Bench, PATIENCE, arguments_of, exists};
use super::programs::DIARY;
use crate::death::DeathReason;
use crate::outcome::Outcome;
use crate::pool::{Pool, StopReason};

#[tokio::test]
async fn a_warm_shutdown_waits_for_running_tasks_and_leaves_no_zombies() {
    let mut bench = Bench::ready(3).await;
    let pids = bench.pids();
    let running = bench.run("nap", [Value::Int(50_000)]).await;
    bench.close(false).await;
    assert_eq!(bench.end_of(&running).await, Outcome::Success(Value::Null));
    assert_eq!(bench.deaths.len(), 3);
    assert!(bench.deaths.iter().all(|death| death.reason == DeathReason::Ended), "{:?}", bench.deaths);
    assert!(!pids.into_iter().any(exists));
}

#[tokio::test]
async fn a_task_that_outlasts_a_warm_shutdown_can_still_be_asked_and_killed() {
    let mut bench = Bench::ready(2).await;
    let (polite, rude) = (bench.run("obey", []).await, bench.run("hang", []).await);
    bench.pool.close(false);
    for request in [&polite, &rude] {
        bench.pool.ask(request, StopReason::Shutdown);
    }
    assert_eq!(bench.end_of(&polite).await, Outcome::Returned);
    bench.kill(&rude, StopReason::Shutdown);
    let Outcome::Lost(death) = bench.end_of(&rude).await else { panic!("it is lost") };
    assert_eq!(death.reason, DeathReason::Shutdown);
    bench.closed().await;
}

#[tokio::test]
async fn a_cold_shutdown_kills_at_once() {
    let mut bench = Bench::ready(2).await;
    let pids = bench.pids();
    let request = bench.run("hang", []).await;
    bench.close(true).await;
    let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
    assert_eq!(death.reason, DeathReason::Shutdown);
    assert!(!pids.into_iter().any(exists));
}

#[tokio::test]
async fn what_was_submitted_and_never_started_is_given_back() {
    let mut bench = Bench::ready(1).await;
    let killer = bench.submit("signal", [Value::Int(9)]).await;
    bench.end_of(&killer).await;
    // The slot is empty now, so this waits inside the pool.
    let waiting = super::harness::request("echo", vec![], 99);
    bench.pool.submit(crate::pool::Job { request: waiting.clone() });
    bench.pool.close(false);
    assert_eq!(bench.end_of(&waiting).await, Outcome::Returned);
}

#[tokio::test]
async fn a_pool_that_is_still_starting_can_be_closed() {
    let mut bench = Bench::starting(super::harness::options(2, "child_with_slow_init"));
    bench.close(true).await;
    let mut bench = Bench::starting(super::harness::options(2, "ordinary_child"));
    bench.close(false).await;
}

#[tokio::test]
async fn children_do_not_outlive_their_worker() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let mut worker = Command::new("/proc/self/exe")
        .args(arguments_of("worker_that_dies"))
        .arg(format!("{DIARY}{}", diary.display()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert!(!worker.wait().unwrap().success());
    let pids = fs::read_to_string(&diary).unwrap();
    let mut pids: Vec<u32> = pids.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids.len(), 2);
    let deadline = Instant::now() + PATIENCE;
    while !pids.is_empty() {
        assert!(Instant::now() < deadline, "still there: {pids:?}");
        pids.retain(|pid| exists(*pid));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
