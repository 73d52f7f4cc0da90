//! Applications whose tasks run otherwise than in forked children of one task each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::apps::Host;
use super::harness::succeeds;

const DRIVE: &str = "drive_pools.py";

/// Whether the interpreter of the tests has this package.
fn has(package: &str) -> bool {
    let python = std::env::var_os("CELERIAC_TEST_PYTHON").expect("CELERIAC_TEST_PYTHON names a Python");
    succeeds(package, Command::new(python).args(["-c", &format!("import {package}")]))
}

/// Starts the application of coroutines on one child of each kind.
async fn coroutines(event_loop: &str) -> Host {
    Host::start_with("coroutines", &["-c", "1"], &[("EVENT_LOOP", event_loop)], 2).await
}

#[tokio::test]
async fn coroutines_run_together_on_the_loop_of_their_child() {
    let host = coroutines("asyncio").await;
    host.drive_by(DRIVE, "meet").await;
    let (log, notes) = host.end().await;
    assert_eq!(notes.get("closed-on-the-same-loop-by-LoopPoolWorker-1"), Some(&1), "{notes:?}\n{log}");
}

#[tokio::test]
async fn coroutines_run_on_uvloop_where_that_is_asked_for() {
    if !has("uvloop") {
        return;
    }
    let host = coroutines("uvloop").await;
    host.drive_by(DRIVE, "meet_on_uvloop").await;
    host.drive_by(DRIVE, "coroutine_limits").await;
    host.end().await;
}

#[tokio::test]
async fn coroutines_end_as_tasks_of_celery_do() {
    let host = coroutines("asyncio").await;
    host.drive_by(DRIVE, "coroutines").await;
    host.drive_by(DRIVE, "coroutine_canvas").await;
    host.end().await;
}

#[tokio::test]
async fn a_coroutine_is_stopped_without_hurting_those_beside_it() {
    let host = coroutines("asyncio").await;
    host.drive_by(DRIVE, "coroutine_limits").await;
    let (log, notes) = host.end().await;
    assert_eq!(notes.get("sleeps-was-cancelled"), None, "{notes:?}\n{log}");
}

#[tokio::test]
async fn a_coroutine_that_blocks_its_loop_beyond_its_limit_is_ended_with_its_child() {
    let host = coroutines("asyncio").await;
    host.drive_by(DRIVE, "blocked_loop").await;
    let (log, _) = host.end().await;
    assert!(log.contains("a task that was to stop kept all others waiting"), "{log}");
}

#[tokio::test]
async fn coroutines_have_their_loop_beside_every_pool_without_greenlets() {
    let host = Host::start_with("coroutines", &["-P", "threads", "-c", "4"], &[], 2).await;
    host.drive_by(DRIVE, "beside_threads").await;
    host.end().await;
}

#[tokio::test]
async fn tasks_on_threads_run_together_and_cannot_be_stopped() {
    let host = Host::start_with("pooled", &["-P", "threads", "-c", "10"], &[], 1).await;
    host.drive_by(DRIVE, "threads").await;
    let (log, notes) = host.end().await;
    assert!(log.contains("time limits for pooled.endless, pooled.patient"), "said at the start: {log}");
    assert_eq!(log.matches("a task on a thread cannot be stopped").count(), 2, "{log}");
    assert_eq!(notes.get("worker_process_init"), None, "{notes:?}");
    assert_eq!(notes.get("worker_process_shutdown"), None, "{notes:?}");
}

#[tokio::test]
async fn tasks_of_one_lost_process_are_lost_each_by_its_own_rules() {
    let host = Host::start_with("pooled", &["-P", "threads", "-c", "10"], &[], 1).await;
    host.drive_by(DRIVE, "lost_together").await;
    host.end().await;
}

#[tokio::test]
async fn solo_runs_one_task_in_the_main_thread() {
    let host = Host::start_with("pooled", &["-P", "solo", "-c", "10"], &[], 1).await;
    host.drive_by(DRIVE, "solo").await;
    let (_, notes) = host.end().await;
    assert!(notes.get("worker_process_init").is_some_and(|often| *often >= 1), "{notes:?}");
    assert_eq!(notes.get("worker_process_shutdown"), None, "{notes:?}");
}

#[tokio::test]
async fn greenlets_of_gevent_run_together_and_are_stopped_one_by_one() {
    if has("gevent") {
        greenlets("gevent").await;
    }
}

#[tokio::test]
async fn greenlets_of_eventlet_run_together_and_are_stopped_one_by_one() {
    if !has("eventlet") {
        return;
    }
    let notes = greenlets("eventlet").await;
    for once in ["eventlet_pool_started", "eventlet_pool_preshutdown", "eventlet_pool_postshutdown"] {
        assert_eq!(notes.get(once), Some(&1), "{once}: {notes:?}");
    }
}

async fn greenlets(pool: &str) -> BTreeMap<String, usize> {
    let host = Host::start_with("pooled", &["-P", pool, "-c", "10"], &[], 1).await;
    host.drive_by(DRIVE, "green").await;
    let (_, notes) = host.end().await;
    assert_eq!(notes.get("worker_process_init"), None, "{notes:?}");
    notes
}

#[tokio::test]
async fn children_are_spawned_where_a_fork_would_share_a_connection() {
    let host = Host::start_with("leftovers", &["-c", "2"], &[], 2).await;
    host.drive_by(DRIVE, "spawned").await;
    let (log, notes) = host.end().await;
    assert!(log.contains("children are spawned instead of forked"), "{log}");
    assert!(log.contains("the thread metrics") && log.contains("the connection to 127.0.0.1 port"), "{log}");
    assert_eq!(log.matches("children are spawned instead of forked").count(), 1, "said once: {log}");
    assert_eq!(notes.get("worker_process_init"), Some(&2), "{notes:?}");
    assert!(log.contains("SpawnPoolWorker-1"), "{log}");
}

#[tokio::test]
async fn a_setting_says_how_children_are_started_whatever_is_open() {
    let host = Host::start_with("leftovers", &["-c", "1"], &[("START_METHOD", "fork")], 1).await;
    host.drive_by(DRIVE, "forked").await;
    let (log, _) = host.end().await;
    assert!(log.contains("children are forked, as worker_pool_start_method says"), "{log}");
}

#[tokio::test]
async fn what_an_application_cannot_have_here_is_named_with_the_way_out() {
    let host = Host::start_with("peculiar", &["-c", "1"], &[], 1).await;
    host.drive_by(DRIVE, "peculiar").await;
    let (log, _) = host.end().await;
    for limit in [
        "the bootstep peculiar.Probe of the worker",
        "the bootstep peculiar.Messages of the consumer",
        "peculiar.OwnConsumer as its worker_consumer",
        "the pool peculiar.OwnPool",
        "the strategy peculiar.batching of peculiar.batched",
        "the request class peculiar.OwnRequest of peculiar.requested",
    ] {
        let line = log.lines().find(|line| line.contains(limit)).unwrap_or_else(|| panic!("{limit}: {log}"));
        assert!(line.contains("keep the stock worker"), "the way out: {line}");
    }
}

#[tokio::test]
async fn a_django_project_runs_as_it_is() {
    if !has("django") {
        return;
    }
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/django");
    let env = [("PYTHONPATH", project.to_str().unwrap()), ("DATABASE", "db.sqlite3")];
    let host = Host::start_with("proj", &["-c", "2"], &env, 2).await;
    host.drive_by("drive_django.py", "migrate").await;
    host.drive_by("drive_django.py", "visits").await;
    host.drive_by("drive_django.py", "transactions").await;
    let (log, _) = host.end().await;
    assert!(!log.contains("spawned instead"), "Django leaves nothing open before the forks: {log}");
}
