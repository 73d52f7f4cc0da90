//! What becomes of the tasks of a Celery application that do not end by themselves: the kill matrix.
//!
//! The table is in `python/drive_fates.py`: how a task is acknowledged, how it loses its process, how it ends, how often it
//! runs, what its application hears of it, and what is kept among the failed tasks.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use super::apps::{Host, ready};

/// Stopped children are found by their silence.
const SOON: (&str, &str) = ("CELERIAC_WORKER_PROC_SILENCE_TIMEOUT", "3");

async fn start(children: usize, variables: &[(&str, &str)]) -> Host {
    let concurrency = children.to_string();
    Host::start_with("fates", &["-c", &concurrency], &[&[SOON], variables].concat(), children).await
}

#[tokio::test]
async fn a_lost_child_means_for_its_task_what_the_application_says() {
    let host = start(3, &[]).await;
    host.drive_by("drive_fates.py", "lost_children").await;
    let (log, _) = host.end().await;
    for record in [
        "exited with 'signal 9 (SIGKILL)': it was killed by signal 9 (SIGKILL), not sent by this worker",
        "exited with 'signal 11 (SIGSEGV)'",
        "exited with 'exitcode 3'",
        "exited with 'exitcode 4'",
        "of silence while ready",
    ] {
        assert!(log.contains(record), "{record}\n{log}");
    }
}

#[tokio::test]
async fn a_task_that_is_stopped_or_refuses_ends_once() {
    let host = start(2, &[]).await;
    host.drive_by("drive_fates.py", "other_ends").await;
    let (log, _) = host.end().await;
    assert!(log.contains("Hard time limit (0.5s) exceeded for fates.early["), "{log}");
}

#[tokio::test]
async fn a_child_that_dies_within_a_large_result_has_not_returned_it() {
    let host = start(2, &[]).await;
    host.drive_by("drive_fates.py", "results_under_way").await;
    host.end().await;
}

#[tokio::test]
async fn the_end_of_a_child_delays_no_other() {
    // `SILENCE` of the producer.
    let host = start(2, &[("CELERIAC_WORKER_PROC_SILENCE_TIMEOUT", "8")]).await;
    host.drive_by("drive_fates.py", "siblings").await;
    host.end().await;
}

#[tokio::test]
async fn a_template_that_has_died_is_replaced_to_tell_what_has_happened() {
    let host = start(2, &[]).await;
    let template = fs::read_to_string(host.path("template")).unwrap().parse().unwrap();
    kill_process(Pid::from_raw(template).unwrap(), Signal::KILL).unwrap();
    host.drive_by("drive_fates.py", "one_of_each_loss").await;
    let (log, _) = host.end().await;
    assert!(log.contains("template has died"), "{log}");
}

#[tokio::test]
async fn code_that_hears_of_a_loss_holds_nobody_up() {
    let host = start(2, &[]).await;
    host.drive_by("drive_fates.py", "slow_hooks").await;
    host.until("the lost child is replaced", |log| ready(log) >= 3).await;
    let (log, _) = host.end().await;
    assert!(log.contains("on_failure of fates.slow took longer than 3 s"), "{log}");
}

#[tokio::test]
async fn a_worker_that_is_killed_takes_with_it_only_what_was_acknowledged() {
    let lease = ("CELERIAC_WORKER_LEASE", "3");
    let host = start(4, &[lease]).await;
    host.drive_by("drive_fates.py", "begin_long_ones").await;
    let host = host.start_again("fates", &["-c", "4"], &[SOON, lease], 4).await;
    host.drive_by("drive_fates.py", "long_ones_end").await;
    host.end().await;
}

#[tokio::test]
async fn children_may_take_long_to_start_and_their_handlers_may_fail() {
    // Longer than Celery lets them, and than they may be silent.
    let host = start(2, &[("FATES_INIT", "8"), ("CELERIAC_WORKER_PROC_ALIVE_TIMEOUT", "2")]).await;
    assert!(!host.log().contains("exited with"), "{}", host.log());
    host.drive_by("drive_fates.py", "works").await;
    host.end().await;

    let host = start(1, &[("FATES_INIT_RAISES", "1")]).await;
    assert!(host.log().contains("no database"), "{}", host.log());
    host.drive_by("drive_fates.py", "works").await;
    host.end().await;
}

#[tokio::test]
async fn what_cannot_run_is_told_of_as_in_celery() {
    let host = start(2, &[]).await;
    host.drive_by("drive_fates.py", "strangers").await;
    host.end().await;
}
