//! Events of our worker as Celery's own tools hear them, beside those of a stock worker: `python/drive_events.py` watches.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::apps::Host;
use super::harness::{Broker, on_each_store};

const NODE: &str = "watched@here";

async fn start(broker: Broker) -> Host {
    Host::start_on(broker, "watched", &["-c", "2", "-E", "-n", NODE], &[], 2).await
}

async fn drive(host: &Host, scenario: &str) {
    host.drive_with("drive_events.py", &[scenario, NODE]).await;
}

on_each_store! {
    what_happens_to_tasks_is_told_as_by_a_stock_worker,
    what_happens_to_tasks_in_rust_is_told_as_of_those_in_python,
    of_too_many_tasks_some_are_told_of_to_their_end_and_all_failures,
    a_worker_says_that_it_lives_and_what_celery_makes_of_it_is_right,
    events_of_tasks_are_begun_and_ended_by_remote_control,
    the_command_line_shows_what_is_told,
}

async fn what_happens_to_tasks_is_told_as_by_a_stock_worker(broker: Broker) {
    let host = start(broker).await;
    drive(&host, "tasks").await;
    host.end().await;
}

/// The same calls of the same tasks: in Rust for our worker, in Python for the stock one.
async fn what_happens_to_tasks_in_rust_is_told_as_of_those_in_python(broker: Broker) {
    let _worker = broker.rust_worker(&[("CELERIAC_WORKER_SEND_TASK_EVENTS", "true")]).await;
    broker.run("drive_events.py", &["tasks", "any", "shared"]).succeed().await;
}

async fn of_too_many_tasks_some_are_told_of_to_their_end_and_all_failures(broker: Broker) {
    let limit = [("CELERIAC_WORKER_SEND_TASK_EVENTS", "true"), ("CELERIAC_EVENT_RATE_LIMIT", "100")];
    let _worker = broker.rust_worker(&limit).await;
    broker.run("drive_events.py", &["limited", "any", "shared"]).succeed().await;
}

async fn a_worker_says_that_it_lives_and_what_celery_makes_of_it_is_right(broker: Broker) {
    let host = start(broker).await;
    drive(&host, "workers").await;
    drive(&host, "dump").await;
    drive(&host, "state").await;
    host.end().await;
}

#[tokio::test]
async fn a_worker_says_in_time_that_it_lives_while_tasks_end_all_the_time() {
    let host = start(Broker::start()).await;
    drive(&host, "busy").await;
    host.end().await;
}

async fn events_of_tasks_are_begun_and_ended_by_remote_control(broker: Broker) {
    let host = start(broker).await;
    drive(&host, "switched").await;
    host.end().await;
}

#[tokio::test]
async fn a_terminal_shows_workers_and_tasks_and_is_restored() {
    let host = start(Broker::start()).await;
    drive(&host, "screen").await;
    host.end().await;
}

async fn the_command_line_shows_what_is_told(broker: Broker) {
    let host = start(broker).await;
    let mut watcher = Command::new(env!("CARGO_BIN_EXE_rust-tasks"))
        .args(["events", "--json", "--limit", "6", "-b", &host.broker.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(watcher.stdout.take().unwrap()).lines().map(Result::unwrap);
    let heartbeat = said.next().unwrap();
    assert!(heartbeat.contains(r#""type": "worker-heartbeat""#), "{heartbeat}");
    drive(&host, "state").await;
    let said: String = said.collect();
    assert!(watcher.wait().unwrap().success());
    let types = ["task-received", "task-started", "task-succeeded"];
    assert!(types.iter().all(|kind| said.contains(&format!(r#""type": "{kind}""#))), "{said}");
    assert!(said.contains(r#""result": "3""#), "{said}");
    host.end().await;
}
