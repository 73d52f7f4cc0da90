//! What a program sees of the outcome of a call.

use std::time::Duration;

use celeriac_app::protocol::{ResultRecord, State, TaskException, TaskId, Value};
use celeriac_app::store::{Revocation, StoreResult};
use celeriac_app::{App, AsyncResult, ResultError, args, kwargs};

use crate::fixture::app;

async fn store(app: &App, record: ResultRecord) {
    let result = StoreResult::new(record, Duration::from_secs(60));
    app.store().await.unwrap().results().store(vec![result]).await.unwrap();
}

fn record(id: &str, state: State, result: Value) -> ResultRecord {
    ResultRecord::new(TaskId::new(id), state, result, None)
}

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_waiting_program_gets_the_value_when_it_is_stored() {
    let app = app("outcome-wait");
    let result: AsyncResult<i64> = app.result("a");
    let waiting = tokio::spawn({
        let result = result.clone();
        async move { result.get(SOON).await }
    });
    tokio::task::yield_now().await;
    store(&app, record("a", State::Success, Value::from(42))).await;
    assert_eq!(waiting.await.unwrap().unwrap(), 42);
    assert!(result.is_ready().await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_its_deadline() {
    let app = app("outcome-timeout");
    let error = app.result::<i64>("nobody").get(SOON).await.unwrap_err();
    assert!(matches!(error, ResultError::Timeout { .. }), "{error}");
    assert_eq!(error.to_string(), "task nobody has not ended within 5s");
}

#[tokio::test]
async fn a_failure_keeps_type_message_and_traceback() {
    let app = app("outcome-failure");
    let mut failed = record("f", State::Failure, TaskException::new("KeyError", "no such key").into_value());
    failed.traceback = Some("line 1".into());
    store(&app, failed).await;
    match app.result::<i64>("f").get(SOON).await.unwrap_err() {
        ResultError::Failed { exc_type, message, traceback, .. } => {
            assert_eq!(
                (&*exc_type, &*message, traceback.as_deref()),
                ("KeyError", "no such key", Some("line 1"))
            );
        }
        other => panic!("expected a failure, got {other}"),
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_and_no_panic() {
    let app = app("outcome-type");
    store(&app, record("t", State::Success, Value::from("text"))).await;
    let error = app.result::<i64>("t").get(SOON).await.unwrap_err();
    assert!(error.to_string().contains("returned something else than i64"), "{error}");
}

#[tokio::test]
async fn progress_is_what_the_task_said_last() {
    let app = app("outcome-progress");
    let result: AsyncResult = app.result("p");
    assert_eq!(result.progress().await.unwrap(), None);
    store(&app, record("p", State::Custom("PROGRESS".into()), Value::from(7))).await;
    assert_eq!(result.progress().await.unwrap(), Some(("PROGRESS".into(), Value::from(7))));
}

#[tokio::test]
async fn a_forgotten_result_is_gone() {
    let app = app("outcome-forget");
    store(&app, record("g", State::Success, Value::Null)).await;
    let result: AsyncResult = app.result("g");
    result.forget().await.unwrap();
    assert_eq!(result.state().await.unwrap(), State::Pending);
}

#[tokio::test]
async fn a_task_revoked_while_it_waits_leaves_its_queue_and_says_so() {
    let app = app("outcome-revoke");
    let result = app.send_task::<i64>("proj.add", args![1], kwargs! {}).await.unwrap();
    result.revoke(false).await.unwrap();
    let error = result.get(SOON).await.unwrap_err();
    assert!(matches!(&error, ResultError::Revoked { reason, .. } if reason == "revoked"), "{error}");
    let queues = app.store().await.unwrap().broker().queues(&["celery".into()]).await.unwrap();
    assert_eq!(queues[0].ready, 0);
}

#[tokio::test]
async fn revoking_again_stores_a_result_that_was_not_stored_the_first_time() {
    let app = app("outcome-revoke-again");
    let result = app.send_task::<i64>("proj.add", args![1], kwargs! {}).await.unwrap();
    // A program that ended, or lost its result backend, between removing the message and storing the result.
    let (task_id, expires_after) = (result.id().clone(), SOON);
    let revocation = Revocation { task_id, terminate: false, expires_after };
    app.store().await.unwrap().revocations().revoke(vec![revocation]).await.unwrap();
    assert_eq!(result.state().await.unwrap(), State::Pending);
    assert_eq!(app.revoke(&[result.id().clone()], false).await.unwrap(), [result.id().clone()]);
    assert_eq!(result.state().await.unwrap(), State::Revoked);
}

#[test]
fn a_program_without_a_runtime_can_wait() {
    let app = app("outcome-blocking");
    let store = app.store_blocking().unwrap();
    let result = StoreResult::new(record("b", State::Success, Value::from(1)), SOON);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.results().store(vec![result])).unwrap();
    assert_eq!(app.result::<u8>("b").get_blocking(SOON).unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_expires_after_0_seconds_stays_for_ever() {
    let app = app("outcome-for-ever").settings(|settings| settings.result_expires = Duration::ZERO);
    let result = app.send_task::<u8>("proj.add", args![], kwargs! {}).await.unwrap();
    result.revoke(false).await.unwrap();
    assert!(matches!(result.get(SOON).await, Err(ResultError::Revoked { .. })));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_result_that_is_ignored() {
    let app = app("outcome-ignored");
    let call = || celeriac_app::Signature::<i64>::named("proj.add", args![1], kwargs! {});
    let since = tokio::time::Instant::now();
    let mut sent = app.send_many([call().ignore_result(true)]).await.unwrap();
    sent.push(app.send(call().ignore_result(true)).await.unwrap());
    for result in sent {
        assert!(result.is_ignored());
        let error = result.clone().get(SOON).await.unwrap_err();
        assert!(matches!(&error, ResultError::Ignored { id } if id == result.id()), "{error}");
        assert_eq!(result.state().await.unwrap(), State::Pending, "its state can be asked for");
    }
    assert_eq!(since.elapsed(), Duration::ZERO);
    let stored = app.send(call()).await.unwrap();
    assert!(!stored.is_ignored());
}
