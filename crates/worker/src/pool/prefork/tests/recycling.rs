//! Children that are replaced although nothing is wrong with them.

use std::fs;

use celeriac_protocol::Value;

use super::harness::{Bench, options, with_diary};
use crate::death::DeathReason;

#[tokio::test]
async fn a_child_is_replaced_after_its_last_task() {
    let mut limited = options(1, "ordinary_child");
    limited.limits.max_tasks = Some(3);
    let mut bench = Bench::with(limited).await;
    let mut pids = Vec::new();
    for _ in 0..7 {
        pids.push(bench.value("pid", []).await.as_i64().unwrap());
    }
    assert!(pids[..3].iter().all(|pid| *pid == pids[0]) && pids[3..6].iter().all(|pid| *pid == pids[3]));
    assert!(pids[0] != pids[3] && pids[3] != pids[6]);
    assert!(bench.deaths.iter().all(|death| death.reason == DeathReason::RecycledTasks { tasks: 3 }));
}

#[tokio::test]
async fn at_most_one_child_is_being_replaced_at_a_time() {
    let mut limited = options(3, "ordinary_child");
    limited.limits.max_tasks = Some(2);
    let mut bench = Bench::with(limited).await;
    bench.lowest_capacity = 3;
    // As many as it takes: the others go on while one is replaced, however long that takes.
    for _ in 0..20_000 {
        if bench.deaths.len() > 3 {
            break;
        }
        let batch =
            [bench.submit("nap", [Value::Int(200)]).await, bench.submit("nap", [Value::Int(200)]).await];
        for request in batch {
            bench.end_of(&request).await;
        }
    }
    assert!(bench.deaths.len() > 3, "{:?}", bench.deaths);
    assert_eq!(bench.lowest_capacity, 2);
}

#[tokio::test]
async fn a_child_that_has_grown_too_much_is_replaced() {
    let mut limited = options(1, "ordinary_child");
    limited.limits.max_memory = Some(48 << 20);
    let mut bench = Bench::with(limited).await;
    let pid = bench.value("grow", [Value::Int(16)]).await;
    assert_eq!(bench.value("pid", []).await, pid, "it may grow by less");
    bench.value("grow", [Value::Int(40)]).await;
    assert_ne!(bench.value("pid", []).await, pid);
    let [death] = &bench.deaths[..] else { panic!("{:?}", bench.deaths) };
    assert!(matches!(death.reason, DeathReason::RecycledMemory { grown } if grown > 48 << 20), "{death:?}");
    assert_eq!(bench.unfit, None);
}

#[tokio::test]
async fn a_memory_limit_that_no_child_can_keep_is_refused() {
    let mut limited = options(1, "ordinary_child");
    limited.limits.max_memory = Some(64 << 10);
    let mut bench = Bench::with(limited).await;
    let error = bench.wait("it is refused", |it| it.unfit.take()).await;
    assert!(error.contains("worker_max_memory_per_child") && error.contains("64 KiB"), "{error}");
}

#[tokio::test]
async fn resources_are_built_once_per_child_and_dropped_in_reverse_order() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let mut limited = with_diary(options(1, "child_with_diary"), &diary);
    limited.limits.max_tasks = Some(2);
    let mut bench = Bench::with(limited).await;
    for _ in 0..3 {
        bench.value("pid", []).await;
    }
    bench.close(false).await;
    let life = "init of w@test\npool built\nconnection built\nshutdown\nconnection dropped\npool dropped\n";
    assert_eq!(fs::read_to_string(&diary).unwrap(), life.repeat(2));
}
