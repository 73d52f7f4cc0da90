//! Children that die, hang or are stopped in the midst of their task.

use std::time::Duration;

use celeriac_protocol::Value;
use tokio::time::Instant;

use super::harness::{Bench, options, text};
use super::log;
use crate::death::{DeathReason, Ending};
use crate::outcome::Outcome;

const SIGSTOP: i64 = 19;

#[tokio::test]
async fn a_death_has_one_record_with_its_reason_and_evidence() {
    let mut bench = Bench::ready(1).await;
    for (task, argument, expected) in [
        ("signal", 9, DeathReason::Signal(9)),
        ("signal", 15, DeathReason::Signal(15)),
        ("exit", 3, DeathReason::Exit(3)),
    ] {
        bench.wait_for_all_children().await;
        let pid = bench.pids()[0];
        let request = bench.run(task, [Value::Int(argument)]).await;
        let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
        assert_eq!(death.reason, expected);
        assert_eq!((death.pid, death.task_id.as_ref()), (pid, Some(&request.id)));
        assert!(death.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{death:?}");
        let lines = log::lines_of(&request.id);
        let line = lines.iter().find(|line| line.contains(&expected.to_string()));
        let line = line.unwrap_or_else(|| panic!("{expected} is not in {lines:#?}"));
        assert!(line.contains(&format!("task_name=\"{task}\"")), "{line}");
    }
    assert_eq!(bench.deaths.len(), 3);
    assert_eq!(bench.value("echo", [Value::Int(1)]).await, Value::Int(1), "the slot lives on");
}

#[tokio::test]
async fn a_death_is_noticed_within_a_tenth_of_a_second() {
    let mut bench = Bench::ready(1).await;
    let mut noticed = Vec::new();
    for _ in 0..5 {
        let request = bench.run("signal", [Value::Int(9)]).await;
        let started = Instant::now();
        bench.end_of(&request).await;
        noticed.push(started.elapsed());
    }
    // On a busy machine some may take longer; were the way itself slow, all would.
    let fastest = noticed.iter().min().unwrap();
    assert!(*fastest < Duration::from_millis(100), "{noticed:?}");
}

#[tokio::test]
async fn a_kill_for_want_of_memory_is_told_from_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let counter = folder.path().join("memory.events");
    std::fs::write(&counter, "oom_kill 0").unwrap();
    let mut counted = options(1, "ordinary_child");
    counted.oom_counter = Some(counter.clone());
    let mut bench = Bench::with(counted).await;
    let death = bench.death("run_out_of_memory", [text(counter.to_str().unwrap())]).await;
    assert_eq!(death.reason, DeathReason::OutOfMemory);
    assert_eq!(bench.death("signal", [Value::Int(9)]).await.reason, DeathReason::Signal(9));
}

#[tokio::test]
async fn a_stopped_child_is_killed_and_delays_nobody() {
    let mut stopped = options(2, "ordinary_child");
    stopped.silence = Duration::from_secs(8);
    let mut bench = Bench::with(stopped).await;
    let request = bench.run("signal", [Value::Int(SIGSTOP)]).await;
    assert_siblings_are_quick(&mut bench).await;
    let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
    let DeathReason::Silent { phase: "ready", hung_in, .. } = death.reason else { panic!("{death:?}") };
    assert!(hung_in.is_some_and(|place| place.contains("stopped")));
}

#[tokio::test]
async fn a_child_that_dies_in_the_midst_of_a_frame_delays_nobody() {
    let mut bench = Bench::with(options(2, "child_that_dies_in_the_midst_of_a_frame")).await;
    let request = bench.run("large", []).await;
    assert_siblings_are_quick(&mut bench).await;
    let Outcome::Lost(death) = bench.end_of(&request).await else { panic!("it is lost") };
    assert_eq!(death.reason, DeathReason::Signal(9));
}

#[tokio::test]
async fn a_child_whose_socket_carries_no_frames_is_killed() {
    let mut bench = Bench::starting(options(1, "child_that_talks_nonsense"));
    let death = bench.wait("it is killed", |it| it.deaths.pop()).await;
    let DeathReason::Garbled(why) = death.reason else { panic!("{death:?}") };
    assert!(why.contains("limit"), "{why}");
}

#[tokio::test]
async fn a_panic_outside_of_a_task_ends_the_child_at_once_and_says_so() {
    let mut bench = Bench::ready(1).await;
    let death = bench.death("panic_twice", []).await;
    let DeathReason::Failed { ending: Ending::Exit(101), said } = death.reason else { panic!("{death:?}") };
    assert_eq!(&*said, "it panicked outside of a task: the sky has fallen");
    assert_eq!(bench.value("echo", [Value::Int(1)]).await, Value::Int(1), "the slot lives on");
}

#[tokio::test]
async fn a_child_whose_task_closed_its_socket_ends_without_being_killed() {
    for program in ["ordinary_child", "child_with_sockets"] {
        let mut bench = Bench::with(options(1, program)).await;
        let death = bench.death("close_sockets", []).await;
        assert!(matches!(death.reason, DeathReason::Exit(74)), "{program}: {death:?}");
    }
}

/// Runs some tasks on the other child. On a busy machine some may take longer; were they held up, all would.
async fn assert_siblings_are_quick(bench: &mut Bench) {
    let mut times = Vec::new();
    for _ in 0..50 {
        let started = Instant::now();
        bench.value("echo", [Value::Null]).await;
        times.push(started.elapsed());
    }
    times.sort();
    assert!(times[25] < Duration::from_millis(100), "{times:?}");
}
