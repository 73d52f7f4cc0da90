//! What a worker with a Celery application says and does when a signal reaches it, as stock Celery does.

use celeriac_faults::free_port;
use rustix::process::Signal;

use super::command_line::Place;
use super::harness::Program;

/// A worker whose one process naps for so long.
async fn napping(place: &Place, seconds: u32, more: &str, variables: &[(&str, &str)]) -> Program {
    let line = format!("-A options worker -c 1 -l INFO -n naps@here -q {more}");
    let worker = place.start(line.trim_end(), variables);
    place.ready().await;
    let (code, said) = place.run(&format!("call options.nap -b {} -a [{seconds}]", place.url()));
    assert_eq!(code, Some(0), "{said}");
    place.until("the task is received", || place.log().contains("Task options.nap[").then_some(())).await;
    place.until("the task runs", || running(place)).await;
    worker
}

/// Whether the task runs, by what the worker announces.
fn running(place: &Place) -> Option<()> {
    let (_, said) = place.run(&format!("inspect -b {} --json", place.url()));
    said.contains("options.nap").then_some(())
}

async fn ended(worker: Program) -> Option<i32> {
    worker.ended().await.0.code()
}

#[tokio::test]
async fn terminate_ends_it_warm_however_long_that_takes() {
    let place = Place::new();
    let worker = napping(&place, 1, "", &[]).await;
    worker.signal(Signal::TERM);
    assert_eq!(ended(worker).await, Some(0));
    let log = place.log();
    assert!(place.path("napped").exists(), "{log}");
    assert!(log.contains("\nworker: Warm shutdown (MainProcess)\n"), "{log}");
    assert!(log.contains("deadline=None"), "there is no time limit: {log}");
    assert!(log.contains("INFO/MainProcess] Connected to redis://"), "{log}");
    assert!(log.contains("INFO/MainProcess] naps@here ready."), "{log}");
    let received = log.lines().find(|line| line.contains("INFO/MainProcess] Task options.nap[")).unwrap();
    assert!(received.ends_with("] received"), "{received}");
}

#[tokio::test]
async fn a_second_interrupt_ends_it_cold() {
    let place = Place::new();
    let worker = napping(&place, 60, "", &[]).await;
    worker.signal(Signal::INT);
    place
        .until("it says how it ends", || {
            place.log().contains("worker: Warm shutdown (MainProcess)").then_some(())
        })
        .await;
    assert!(
        place.log().contains("worker: Hitting Ctrl+C again will initiate cold shutdown"),
        "{}",
        place.log()
    );
    worker.signal(Signal::INT);
    assert_eq!(ended(worker).await, Some(0), "{}", place.log());
    assert!(place.log().contains("worker: Cold shutdown (MainProcess)"), "{}", place.log());
    assert!(!place.path("napped").exists());
}

#[tokio::test]
async fn terminate_can_be_made_to_end_it_cold() {
    let place = Place::new();
    let worker = napping(&place, 60, "", &[("REMAP_SIGTERM", "SIGQUIT")]).await;
    worker.signal(Signal::TERM);
    assert_eq!(ended(worker).await, Some(0), "{}", place.log());
    assert!(place.log().contains("worker: Cold shutdown (MainProcess)"), "{}", place.log());
}

#[tokio::test]
async fn a_soft_shutdown_lets_running_tasks_end() {
    let place = Place::new();
    let worker = napping(&place, 2, "worker.soft_shutdown_timeout=50", &[]).await;
    worker.signal(Signal::QUIT);
    assert_eq!(ended(worker).await, Some(0), "{}", place.log());
    assert!(place.log().contains("Initiating Soft Shutdown, terminating in 50 seconds"), "{}", place.log());
    assert!(place.path("napped").exists(), "{}", place.log());
}

#[tokio::test]
async fn a_hangup_starts_it_anew_in_the_format_of_its_application() {
    let place = Place::new();
    // Its address too is had again at once.
    let metrics = format!("127.0.0.1:{}", free_port());
    let line = format!(
        "-A options worker -c 1 -l INFO -n anew@here -q --pidfile w.pid --metrics {metrics} worker.log_format=%(levelname)s|%(message)s"
    );
    let worker = place.start_as(&line, &[], &["env", "--default-signal=HUP"]);
    let ready = || place.log().matches("\nINFO|anew@here ready.\n").count();
    place.until("it is ready", || (ready() == 1).then_some(())).await;
    worker.signal(Signal::HUP);
    place.until("it is ready again", || (ready() == 2).then_some(())).await;
    assert!(place.log().contains("Restarting celery worker"), "{}", place.log());
    worker.signal(Signal::TERM);
    assert_eq!(ended(worker).await, Some(0), "{}", place.log());
    assert!(!place.path("w.pid").exists());
}
