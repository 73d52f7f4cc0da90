//! Deliveries that are not simply run: too late, too early, too often, or by nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac_app::protocol::{Headers, Message, State, TaskName, Value};
use celeriac_app::task::Acks;
use celeriac_app::{
    App, ArgumentReader, Arguments, Signature, TaskBody, TaskDefinition, TaskError, TaskOptions, args,
};
use tokio::time::Instant;

use crate::harness::{Bench, LONG, START, assert_state, gated, hanging};

fn noop(name: &str) -> TaskDefinition {
    TaskDefinition::new(name, TaskBody::asynchronous(|_, _| async { Ok(Value::Int(1)) }))
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_kept_with_the_nearest_known_name() {
    let bench = Bench::new(App::new("test").task(noop("urls.save_url"))).await;
    let worker = bench.start();
    let result = bench.call("urls.save_ulr").await;
    let failed = bench.failed(result.id()).await;
    assert_eq!(&*failed.reason.code, "unknown-task");
    assert!(failed.reason.text.contains("urls.save_url"), "{}", failed.reason.text);
    assert!(failed.message.is_some(), "unharmed");
    let record = bench.ending(&result).await;
    assert_eq!(&*record.exception().unwrap().exc_type, "NotRegistered");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_undecodable_body_is_kept_as_it_came() {
    let bench = Bench::new(App::new("test").task(noop("noop"))).await;
    let worker = bench.start();
    let result = bench.publish("noop", |message| message.body = b"[[1, 2"[..].into()).await;
    let failed = bench.failed(result.id()).await;
    assert_eq!(&*failed.reason.code, "undecodable-body");
    assert_eq!(&failed.message.unwrap().body[..], b"[[1, 2");
    assert_state(&bench.ending(&result).await, &State::Failure);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_in_task_protocol_1_runs_unless_it_was_revoked() {
    let bench = Bench::new(App::new("test").task(noop("noop"))).await;
    let old_style = |id: &str| {
        let body = format!(r#"{{"task": "noop", "id": "{id}", "args": [], "kwargs": {{}}}}"#);
        move |message: &mut Message| {
            *message = Message { headers: Headers::default(), body: body.into(), ..message.clone() }
        }
    };
    let revoked = bench.app.result::<i64>("revoked");
    revoked.revoke(false).await.unwrap();
    bench.publish("noop", old_style("revoked")).await;
    bench.publish("noop", old_style("old")).await;
    let worker = bench.start();
    assert_state(&bench.ending(&bench.app.result("old")).await, &State::Success);
    assert_state(&bench.ending(&revoked).await, &State::Revoked);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_not_decoded() {
    let bench =
        Bench::new(App::new("test").task(noop("noop"))).await.with(|options| options.max_body_bytes = 1000);
    let worker = bench.start();
    let result = bench.send(Signature::named("noop", args!["x".repeat(2000)], vec![])).await;
    let failed = bench.failed(result.id()).await;
    assert_eq!(&*failed.reason.code, "too-large");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn wrong_arguments_are_kept_with_what_was_wrong() {
    const PARAMETERS: &[&str] = &["number"];
    let body = TaskBody::asynchronous(|_, arguments| async move {
        let mut reader = ArgumentReader::new("typed", PARAMETERS, arguments)?;
        let number: i64 = reader.required()?;
        Ok(Value::Int(number))
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("typed", body))).await;
    let worker = bench.start();
    let result = bench.send(Signature::named("typed", args!["seven"], vec![])).await;
    let failed = bench.failed(result.id()).await;
    assert_eq!(&*failed.reason.code, "wrong-arguments");
    assert!(failed.reason.text.contains("typed") && failed.reason.text.contains("number"), "{failed:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_called_is_kept_also_where_it_is_acknowledged_early() {
    fn nothing(task: &TaskName, arguments: Arguments) -> Result<(), TaskError> {
        ArgumentReader::new(task.as_str(), &[], arguments)?.finish()
    }
    let mut options = TaskOptions::default();
    options.acks = Some(Acks::Early);
    let task = TaskDefinition { check: Some(nothing), ..noop("noop").with_options(options) };
    let bench = Bench::new(App::new("test").task(task)).await;
    let worker = bench.start();
    let undecodable = bench.publish("noop", |message| message.body = b"[[1, 2"[..].into()).await;
    let wrong = bench.send(Signature::named("noop", args!["seven"], vec![])).await;
    for (result, code) in [(undecodable, "undecodable-body"), (wrong, "wrong-arguments")] {
        let failed = bench.failed(result.id()).await;
        assert_eq!((&*failed.reason.code, failed.message.is_some()), (code, true));
        assert_state(&bench.ending(&result).await, &State::Failure);
    }
    assert_state(&bench.ending(&bench.call("noop").await).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_task_is_revoked_and_does_not_run() {
    let (task, mut started) = hanging("hang");
    let bench = Bench::new(App::new("test").task(task)).await;
    let call = Signature::named("hang", vec![], vec![]).expires(Duration::from_secs(5));
    let result = bench.send(call).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    let worker = bench.start();
    let record = bench.ending(&result).await;
    assert_state(&record, &State::Revoked);
    assert_eq!(record.exception().unwrap().message(), "expired");
    assert!(started.try_recv().is_err());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_expires_while_it_waits_for_a_slot_does_not_run() {
    let (body, mut gate) = gated(|_| {});
    let app = App::new("test").task(TaskDefinition::new("gated", body));
    let bench = Bench::new(app).await.with(|options| options.async_concurrency = 1);
    let worker = bench.start();
    let runs = bench.call("gated").await;
    gate.started().await;
    let waits = Signature::named("gated", vec![], vec![]).expires(Duration::from_secs(5));
    let waits = bench.send(waits).await;
    bench.until(async || bench.ready().await == 0).await;
    tokio::time::advance(Duration::from_secs(6)).await;
    gate.open();
    assert_state(&bench.ending(&runs).await, &State::Success);
    let record = bench.ending(&waits).await;
    assert_state(&record, &State::Revoked);
    assert_eq!(record.exception().unwrap().message(), "expired");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_sent_again_while_it_runs_runs_again() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let (body, mut gate) = gated(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let worker = bench.start();
    let result = bench.call("gated").await;
    gate.started().await;
    let id = result.id().clone();
    bench.publish("gated", |message| message.headers.id = Some(id)).await;
    bench.until(async || bench.ready().await == 0).await;
    gate.open();
    gate.started().await;
    gate.open();
    bench.drained().await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_with_an_eta_goes_into_the_schedule_and_comes_on_time() {
    let bench = Bench::new(App::new("test").task(noop("noop"))).await;
    let worker = bench.start();
    let since = Instant::now();
    let eta = START.saturating_add(Duration::from_secs(3600));
    let result = bench.publish("noop", |message| message.headers.eta = Some(eta)).await;
    bench.until(async || bench.store.schedule().next_due().await.unwrap() == Some(eta)).await;
    assert_eq!(bench.workers().await[0].facts.get("reserved"), Some(&Value::Int(0)), "no worker holds it");
    bench.store.results().wait(std::slice::from_ref(result.id())).await.unwrap();
    let late = since.elapsed().saturating_sub(Duration::from_secs(3600));
    assert!(since.elapsed() >= Duration::from_secs(3599) && late < Duration::from_secs(1), "{late:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_kills_its_worker_stops_at_the_delivery_limit() {
    let (task, mut started) = hanging("killer");
    let bench = Bench::new(App::new("test").task(task)).await;
    let result = bench.call("killer").await;
    for delivery in 1..=3 {
        let worker = bench.start();
        assert_eq!(started.recv().await.unwrap().deliveries(), delivery);
        worker.die().await;
        tokio::time::advance(bench.options.lease * 2).await;
    }
    let worker = bench.start();
    let failed = bench.failed(result.id()).await;
    assert_eq!(&*failed.reason.code, "delivery-limit");
    assert_eq!(failed.deliveries, 4);
    assert!(started.try_recv().is_err());
    assert_state(&bench.ending(&result).await, &State::Failure);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_still_runs_does_not_run_twice() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let (body, mut gate) = gated(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("gated", body))).await;
    let worker = bench.start();
    let result = bench.call("gated").await;
    gate.started().await;
    // The machine sleeps through its lease: the message goes back, and comes to the same worker.
    tokio::time::advance(bench.options.lease * 3).await;
    bench.until(async || bench.ready().await == 0 && bench.in_store().await == 1).await;
    gate.open();
    assert_state(&bench.ending(&result).await, &State::Success);
    bench.drained().await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_waits_is_the_one_that_is_acknowledged_early() {
    let (body, mut gate) = gated(|_| {});
    let app = App::new("test").task(TaskDefinition::new("gated", body));
    let bench = Bench::new(app).await.with(|options| {
        options.async_concurrency = 1;
        options.acks = Acks::Early;
    });
    let worker = bench.start();
    bench.call("gated").await;
    gate.started().await;
    let waits = bench.call("gated").await;
    bench.until(async || bench.ready().await == 0).await;
    // The machine sleeps through its lease: the message goes back, and comes to the same worker.
    tokio::time::advance(bench.options.lease * 3).await;
    bench.until(async || bench.ready().await == 0 && bench.in_store().await == 1).await;
    gate.open();
    tokio::time::timeout(LONG, gate.started()).await.expect("it runs once there is a slot");
    assert_eq!(bench.in_store().await, 0, "it is acknowledged before it runs");
    gate.open();
    assert_state(&bench.ending(&waits).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_runs_longer_than_its_lease_runs_once() {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&runs);
    let body = TaskBody::asynchronous(move |_, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            Ok(Value::Null)
        }
    });
    let bench = Bench::new(App::new("test").task(TaskDefinition::new("long", body))).await;
    let first = bench.start();
    let second = bench.start();
    let result = bench.call("long").await;
    bench.store.results().wait(std::slice::from_ref(result.id())).await.unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    first.stop().await;
    second.stop().await;
}
