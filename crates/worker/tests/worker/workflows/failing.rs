//! Tasks fail, or never run, and all that waits for them hears of it.

use std::time::Duration;

use celeriac_app::App;
use celeriac_app::protocol::{Signature, State, Value};

use super::canvas::{call, calls_of, chain, chord, group, program, with_callbacks, with_errback, with_id};
use crate::harness::{Bench, START, hanging};

/// A call that has expired before it is sent.
fn expired(task: &str) -> Signature {
    let mut signature = call(task, []);
    signature.options.push(("expires".into(), START.to_string().into()));
    signature
}

#[tokio::test(start_paused = true)]
async fn an_errback_of_one_argument_gets_the_id() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let result = bench.apply(with_errback(call("fail", []), call("heard", []))).await;
    bench.drained().await;
    assert_eq!(calls_of(&calls, "heard"), [[Value::from(result.id().as_str())]]);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_errback_of_three_arguments_gets_the_request_the_exception_and_the_traceback() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let result = bench.apply(with_errback(call("fail", [7]), call("heard_all", []))).await;
    bench.drained().await;
    let heard = calls_of(&calls, "heard_all");
    let [request, error, _traceback] = &heard[0][..] else { panic!("three: {heard:?}") };
    assert_eq!(request.get("id").unwrap().as_str(), Some(result.id().as_str()));
    assert_eq!(request.get("args"), Some(&Value::List(vec![Value::Int(7)])));
    assert_eq!(error.get("exc_type").unwrap().as_str(), Some("ValueError"));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_steps_after_a_failed_one_fail_with_it() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let steps = [call("fail", []), with_id(call("heard", []), "second"), with_id(call("heard", []), "third")];
    bench.apply(chain(steps)).await;
    assert_eq!(bench.failure(&"second".into()).await, "ValueError: bad");
    assert_eq!(bench.failure(&"third".into()).await, "ValueError: bad");
    assert!(calls_of(&calls, "heard").is_empty());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_member_of_a_group_after_a_failed_step_fails() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let members = ["a", "b"].map(|id| with_id(call("heard", []), id));
    let result = bench.apply(chain([call("fail", []), group(members)])).await;
    for member in result.members() {
        assert_eq!(bench.failure(member.id()).await, "ValueError: bad");
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_member_fails_the_body_and_calls_its_errback_once() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let header = [call("echo", [1]), with_id(call("fail", []), "culprit"), call("fail", [])];
    let body = with_errback(with_id(call("add", []), "body"), call("heard", []));
    let result = bench.apply(chord(header, body)).await;
    let failure = bench.failure(result.id()).await;
    assert!(failure.starts_with("ChordError: Dependency "), "{failure}");
    assert!(failure.ends_with(" raised ValueError('bad')"), "{failure}");
    bench.drained().await;
    assert_eq!(calls_of(&calls, "heard"), [[Value::from(result.id().as_str())]]);
    assert!(calls_of(&calls, "add").is_empty());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chord_is_told_whatever_became_of_its_member() {
    let unknown = call("nobody.knows", []);
    let undone = chain([expired("heard"), call("heard", [])]);
    for (member, expected) in [
        (unknown, "raised NotRegistered("),
        (expired("heard"), "raised TaskRevokedError('expired')"),
        (undone, "raised TaskRevokedError('expired')"),
        (chain([call("fail", []), call("heard", [])]), "raised ValueError('bad')"),
    ] {
        let bench = Bench::new(program().0).await;
        let worker = bench.start();
        let result = bench.apply(chord([call("echo", [1]), member], call("add", []))).await;
        let failure = bench.failure(result.id()).await;
        assert!(failure.contains(expected), "{failure}");
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_chord_is_told_of_a_member_that_was_revoked_and_of_one_that_took_too_long() {
    let (task, mut starts) = hanging("hangs");
    let bench = Bench::new(program().0.task(task)).await;
    let worker = bench.start();
    let result = bench.apply(chord([with_id(call("hangs", []), "revoked")], call("add", []))).await;
    starts.recv().await.unwrap();
    bench.app.revoke(&["revoked".into()], true).await.unwrap();
    assert!(bench.failure(result.id()).await.ends_with("raised TaskRevokedError('terminated')"));

    let mut slow = call("hangs", []);
    slow.options.push(("time_limit".into(), Value::Int(3)));
    let result = bench.apply(chord([slow], call("add", []))).await;
    assert!(bench.failure(result.id()).await.contains("raised TimeLimitExceeded("));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_member_that_waits_tells_its_chord() {
    let bench = Bench::new(program().0).await;
    let member = with_id(call("echo", [1]), "waits");
    let result = bench.apply(chord([call("echo", [2]), member], call("add", []))).await;
    bench.app.revoke(&["waits".into()], false).await.unwrap();
    let worker = bench.start();
    assert!(bench.failure(result.id()).await.ends_with("raised TaskRevokedError('revoked')"));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn each_member_of_a_group_that_is_the_body_fails_with_the_cause() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let members = [with_errback(call("add", []), call("heard", [])), call("add", [])];
    let result = bench.apply(chord([call("fail", []), call("echo", [1])], group(members))).await;
    for member in result.members() {
        assert_eq!(bench.failure(member.id()).await, "ValueError: bad");
    }
    bench.drained().await;
    assert_eq!(calls_of(&calls, "heard").len(), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_chord_tells_the_chord_around_it_and_the_steps_after_it() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let inner = chain([call("add", [1]), chord([call("fail", []), call("echo", [1])], call("add", []))]);
    let outer = chord([inner, call("echo", [1])], call("add", []));
    let result = bench.apply(chain([outer, with_id(call("heard", []), "after")])).await;
    let failure = bench.failure(&"after".into()).await;
    assert!(failure.contains("raised ChordError("), "{failure}");
    assert_eq!(result.id().as_str(), "after");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_fails_and_its_members_do_not() {
    let mut bench = Bench::new(program().0).await;
    let options = celeriac_app::store::ConnectOptions {
        message_limit: 40_000,
        clock: bench.options.clock.clone(),
        ..Default::default()
    };
    bench.store = celeriac_app::store::connect("memory://workflow-too-large", &options).await.unwrap();
    bench.app = bench.app.clone().with_store(bench.store.clone());
    let worker = bench.start();
    let mut member = Signature::new("echo");
    member.args.push("x".repeat(15_000).as_str().into());
    let members = ["m1", "m2", "m3"].map(|id| with_id(member.clone(), id));
    let body = with_callbacks(call("add", []), [call("heard", [])]);
    let result = bench.apply(chord(members, body)).await;
    let failure = bench.failure(result.id()).await;
    assert!(failure.starts_with("ChordError: Callback error: "), "{failure}");
    assert!(failure.contains("store_message_limit"), "{failure}");
    for member in ["m1", "m2", "m3"] {
        assert_eq!(bench.ended(&member.into()).await.state, State::Success);
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_dies_in_the_middle_of_a_chord_leaves_nothing_undone() {
    let (task, mut starts) = hanging("hangs");
    let (app, calls) = program();
    let bench = Bench::new(app.clone().task(task)).await;
    let dying = bench.start();
    let header = [call("hangs", []), call("echo", [1])];
    let result = bench.apply(chord(header, call("add", []))).await;
    starts.recv().await.unwrap();
    dying.die().await;
    let body = celeriac_app::TaskBody::asynchronous(|_, _| async { Ok(Value::Int(5)) });
    let app = app.task(celeriac_app::TaskDefinition::new("hangs", body));
    let next = Bench { app: app.with_store(bench.store.clone()), ..bench };
    let worker = next.start();
    assert_eq!(next.value(&result).await, Value::Int(6));
    assert_eq!(calls_of(&calls, "add").len(), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_workflow_sends_nothing() {
    let (app, _) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let result = bench.call("fail").await;
    assert_eq!(bench.ending(&result).await.state, State::Failure);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(bench.in_store().await, 0);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_unknown_errback_is_sent_on_with_the_id() {
    let bench = Bench::new(App::new("test").task(program_task())).await;
    let worker = bench.start();
    bench.apply(with_errback(call("fail", []), with_id(call("elsewhere.notify", []), "errback"))).await;
    let kept = bench.failed(&"errback".into()).await;
    assert_eq!(&*kept.reason.code, "unknown-task");
    worker.stop().await;
}

fn program_task() -> celeriac_app::TaskDefinition {
    super::canvas::task("fail", &Default::default(), |_| {
        Err(celeriac_app::TaskError::failure("ValueError", "bad").permanent())
    })
}
