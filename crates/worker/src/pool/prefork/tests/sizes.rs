//! A pool that grows and shrinks while it works.

use celeriac_protocol::Value;

use super::harness::Bench;
use crate::death::DeathReason;
use crate::outcome::Outcome;
use crate::pool::Pool as _;

fn children(bench: &Bench) -> usize {
    bench.pool.facts().as_list().unwrap().len()
}

#[tokio::test]
async fn a_pool_that_grows_runs_more_at_once() {
    let mut bench = Bench::ready(1).await;
    let first = bench.run("nap", [Value::Int(500)]).await;
    bench.pool.resize(3, 0).unwrap();
    assert_eq!(bench.pool.size(), 3);
    let others = [bench.run("nap", [Value::Int(10)]).await, bench.run("nap", [Value::Int(10)]).await];
    for request in others.iter().chain([&first]) {
        assert!(matches!(bench.end_of(request).await, Outcome::Success(_)));
    }
    bench.wait_for_all_children().await;
    assert_eq!((children(&bench), bench.deaths.len()), (3, 0));
}

#[tokio::test]
async fn a_pool_that_shrinks_ends_no_task() {
    let mut bench = Bench::ready(3).await;
    let requests = [
        bench.run("nap", [Value::Int(300)]).await,
        bench.run("nap", [Value::Int(300)]).await,
        bench.run("nap", [Value::Int(300)]).await,
    ];
    bench.pool.resize(1, 0).unwrap();
    for request in &requests {
        assert!(matches!(bench.end_of(request).await, Outcome::Success(_)));
    }
    bench.wait("two children have ended", |it| (it.deaths.len() == 2).then_some(())).await;
    assert!(bench.deaths.iter().all(|death| death.reason == DeathReason::Surplus), "{:?}", bench.deaths);
    bench.wait_for_all_children().await;
    assert_eq!(children(&bench), 1);
    bench.pool.resize(2, 0).unwrap();
    bench.wait_for_all_children().await;
    assert_eq!(children(&bench), 2);
}

#[tokio::test]
async fn an_idle_child_leaves_before_a_busy_one() {
    let mut bench = Bench::ready(2).await;
    let busy = bench.run("nap", [Value::Int(500)]).await;
    bench.pool.resize(1, 0).unwrap();
    bench.wait("the idle child has ended", |it| (it.deaths.len() == 1).then_some(())).await;
    assert!(matches!(bench.end_of(&busy).await, Outcome::Success(_)));
    assert_eq!(children(&bench), 1);
}

#[tokio::test]
async fn a_pool_that_starts_anew_replaces_every_child() {
    let mut bench = Bench::ready(2).await;
    let before = bench.value("pid", []).await;
    bench.pool.restart();
    bench.wait("both have ended", |it| (it.deaths.len() == 2).then_some(())).await;
    assert!(bench.deaths.iter().all(|death| death.reason == DeathReason::Restarted), "{:?}", bench.deaths);
    bench.wait_for_all_children().await;
    assert_ne!(bench.value("pid", []).await, before);
}
