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
    assert!(!log.contains("children are spawned"), "its result backend is no reason to: {log}");
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
async fn a_lost_task_fails_its_chord_and_a_stored_success_stands() {
    let host = start(2, &[]).await;
    host.drive_by("drive_fates.py", "chords").await;
    host.drive_by("drive_fates.py", "succeeded_before").await;
    let (log, _) = host.end().await;
    assert!(log.contains("succeeded before the worker was lost: WorkerLostError("), "{log}");
}

#[tokio::test]
async fn results_that_only_the_application_can_keep_are_kept_by_it() {
    let host = Host::start_with("fates_elsewhere", &["-c", "2"], &[SOON], 2).await;
    host.drive_by("drive_fates.py", "elsewhere").await;
    host.end().await;
}

/// One after the other, so that all others are there meanwhile; and each in order.
#[tokio::test]
async fn children_are_recycled_one_at_a_time_and_close_what_they_have_opened() {
    let host = Host::start_with("fates", &["-c", "2", "--max-tasks-per-child", "5"], &[], 2).await;
    host.drive_by("drive_fates.py", "many").await;
    let (log, notes) = host.end().await;
    let lives = |line: &&str| line.contains("was recycled after ") || line.contains("child process ready");
    let of_python: Vec<_> =
        log.lines().filter(|line| line.contains("ForkPoolWorker-")).filter(lives).collect();
    let recycled = of_python.iter().filter(|line| line.contains("recycled")).count();
    assert!(recycled >= 4, "{log}");
    for pair in of_python[2..].chunks_exact(2) {
        assert!(pair[0].contains("recycled") && pair[1].contains("ready"), "{pair:#?}\n{log}");
    }
    assert_eq!(notes["worker_process_shutdown"], notes["worker_process_init"], "{notes:?}\n{log}");
}

#[tokio::test]
async fn a_child_that_has_grown_is_replaced() {
    let memory = "--max-memory-per-child=102400";
    let host = Host::start_with("fates", &["-c", "1", memory], &[], 1).await;
    host.drive_by("drive_fates.py", "memory_grows").await;
    let (log, _) = host.end().await;
    assert!(log.matches("was recycled after growing by").count() >= 3, "{log}");
}

#[tokio::test]
async fn a_cold_shutdown_leaves_no_task_without_an_end() {
    let host = start(4, &[]).await;
    host.drive_by("drive_fates.py", "begin_long_ones").await;
    host.worker.signal(Signal::QUIT);
    host.until("the worker has ended", |log| log.contains("shut down, and the task was acknowledged")).await;
    host.drive_by("drive_fates.py", "cold").await;
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
