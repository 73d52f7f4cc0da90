//! Signals come with Celery's names, at Celery's moments.

use std::sync::{Arc, Mutex};

use celeriac_app::protocol::Value;
use celeriac_app::{App, TaskBody, TaskDefinition, TaskError, signals};

use crate::harness::Bench;

type Log = Arc<Mutex<Vec<String>>>;

fn note<P>(log: &Log, what: &'static str) -> impl Fn(&P) + Send + Sync + 'static + use<P> {
    let log = Arc::clone(log);
    move |_| log.lock().unwrap().push(what.to_owned())
}

fn noted(log: &Log) -> App {
    App::new("test")
        .on(signals::worker_init, note(log, "worker_init"))
        .on(signals::worker_process_init, note(log, "worker_process_init"))
        .on(signals::worker_ready, note(log, "worker_ready"))
        .on(signals::task_received, note(log, "task_received"))
        .on(signals::task_prerun, note(log, "task_prerun"))
        .on(signals::task_success, note(log, "task_success"))
        .on(signals::task_failure, note(log, "task_failure"))
        .on(signals::task_postrun, note(log, "task_postrun"))
        .on(signals::task_revoked, note(log, "task_revoked"))
        .on(signals::task_unknown, note(log, "task_unknown"))
        .on(signals::worker_shutting_down, note(log, "worker_shutting_down"))
        .on(signals::worker_process_shutdown, note(log, "worker_process_shutdown"))
        .on(signals::worker_shutdown, note(log, "worker_shutdown"))
}

#[tokio::test(start_paused = true)]
async fn a_life_of_a_worker_sends_its_signals_in_order() {
    let log = Log::default();
    let body = TaskBody::asynchronous(|_, _| async { Ok(Value::Null) });
    let bench = Bench::new(noted(&log).task(TaskDefinition::new("fine", body))).await;
    let worker = bench.start();
    bench.ending(&bench.call("fine").await).await;
    worker.stop().await;
    let expected = [
        "worker_init",
        "worker_process_init",
        "worker_ready",
        "task_received",
        "task_prerun",
        "task_success",
        "task_postrun",
        "worker_shutting_down",
        "worker_process_shutdown",
        "worker_shutdown",
    ];
    assert_eq!(*log.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn failed_revoked_and_unknown_tasks_each_have_their_signal() {
    let log = Log::default();
    let body = TaskBody::asynchronous(|_, _| async { Err(TaskError::failure("Bad", "luck")) });
    let bench = Bench::new(noted(&log).task(TaskDefinition::new("fails", body))).await;
    let revoked = bench.call("fails").await;
    revoked.revoke(false).await.unwrap();
    let worker = bench.start();
    bench.ending(&revoked).await;
    bench.ending(&bench.call("fails").await).await;
    bench.ending(&bench.call("nobody.knows").await).await;
    worker.stop().await;
    let log = log.lock().unwrap();
    let tasks: Vec<&str> = log.iter().map(String::as_str).filter(|name| name.starts_with("task_")).collect();
    assert_eq!(tasks, ["task_received", "task_prerun", "task_failure", "task_postrun", "task_unknown"]);
}
