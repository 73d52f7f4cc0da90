//! A task that kills what it runs in is stopped, kept, and does not hold up others.

use std::time::Duration;

use celeriac::prelude::*;
use celeriac::protocol::TaskId;
use celeriac::store::FailedTask;
use celeriac_recovery::diary;
use celeriac_recovery::patient::{in_process, kills_its_process, kills_its_worker, on_runtime};
use tokio::time::timeout;

use crate::harness::{Patient, Ward};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_task_that_kills_its_process_stops_at_the_delivery_limit_and_others_go_on() {
    let mut ward = Ward::new().set("worker_delivery_limit", "3");
    let app = ward.app();
    let poison = kills_its_process.delay(&app, 1u32).await.unwrap();
    let _worker = ward.start_worker();
    let others = app.send_many((100..200).map(|number| in_process.s(number))).await.unwrap();

    for other in &others {
        other.get(PATIENCE).await.expect("others go on");
    }
    let error = poison.get(PATIENCE).await.unwrap_err();

    assert!(error.to_string().contains("SIGKILL"), "the caller hears why: {error}");
    let failed = failed(&ward, poison.id()).await;
    assert_eq!((&*failed.reason.code, failed.deliveries), ("delivery-limit", 3));
    assert!(failed.reason.text.contains("SIGKILL"), "the reason names the signal: {}", failed.reason.text);
    assert_eq!(diary::starts(&ward.diary()).unwrap()[&1].len(), 3, "it ran as often as the limit says");
}

#[tokio::test]
async fn a_task_that_kills_its_worker_stops_at_the_delivery_limit() {
    let mut ward = Ward::new().set("worker_delivery_limit", "3").set("worker_lease", "1");
    let app = ward.app();
    let poison = kills_its_worker.delay(&app, 1u32).await.unwrap();

    let _worker = restart_until_it_ends(&mut ward, &poison).await;

    let failed = failed(&ward, poison.id()).await;
    assert_eq!(&*failed.reason.code, "delivery-limit");
    assert_eq!(diary::starts(&ward.diary()).unwrap()[&1].len(), 3, "it ran as often as the limit says");
}

#[tokio::test]
async fn tasks_beside_one_that_kills_its_worker_all_succeed() {
    let mut ward = Ward::new().set("worker_delivery_limit", "3").set("worker_lease", "1");
    let app = ward.app();
    let before = app.send_many((2..1002).map(|number| on_runtime.s(number))).await.unwrap();
    let poison = kills_its_worker.delay(&app, 1u32).await.unwrap();
    let after = app.send_many((1002..2002).map(|number| on_runtime.s(number))).await.unwrap();

    let _worker = restart_until_it_ends(&mut ward, &poison).await;

    for innocent in before.iter().chain(&after) {
        innocent.get(PATIENCE).await.expect("it killed nobody");
    }
    let failed = ward.store().await.failed().list(10).await.expect("the store answers");
    let failed: Vec<&TaskId> = failed.iter().map(|failed| &failed.task_id).collect();
    assert_eq!(failed, [poison.id()]);
    assert_eq!(diary::starts(&ward.diary()).unwrap()[&1].len(), 3, "it ran as often as the limit says");
}

/// Starts a worker again after each of its deaths, as an init system does, until this task has failed for good.
async fn restart_until_it_ends(ward: &mut Ward, poison: &AsyncResult<u32>) -> Patient {
    let mut worker = ward.start_worker();
    let ended = async {
        loop {
            match poison.get(Duration::from_millis(100)).await {
                Err(ResultError::Timeout { .. }) if worker.is_dead() => worker = ward.start_worker(),
                Err(ResultError::Timeout { .. }) => {}
                ended => return ended,
            }
        }
    };
    timeout(PATIENCE, ended).await.expect("it ends").expect_err("it cannot succeed");
    worker
}

async fn failed(ward: &Ward, id: &TaskId) -> FailedTask {
    ward.store().await.failed().get(id).await.expect("the store answers").expect("the task is kept")
}
