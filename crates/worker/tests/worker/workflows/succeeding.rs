//! Tasks succeed, and what follows them runs.

use std::sync::{Arc, Mutex};

use celeriac_app::protocol::{Signature, State, Value};
use celeriac_app::{App, TaskBody, TaskDefinition, TaskError, TaskOptions, signals};

use super::canvas::{call, calls_of, chain, chord, group, ints, program, with_callbacks, with_id};
use crate::harness::Bench;

#[tokio::test(start_paused = true)]
async fn each_step_of_a_chain_gets_what_the_one_before_returned() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let result = bench.apply(chain([call("add", [1, 2]), call("add", [3]), call("add", [4])])).await;
    assert_eq!(bench.value(&result).await, Value::Int(10));
    let parent = result.parent().unwrap();
    assert_eq!(bench.value(&parent).await, Value::Int(6));
    assert_eq!(bench.value(&parent.parent().unwrap()).await, Value::Int(3));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_step_names_the_step_that_sent_it_and_the_first_one() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let steps = ["first", "second", "third"].map(|id| with_id(call("add", [1]), id));
    bench.apply(chain(steps)).await;
    let last = bench.ended(&"third".into()).await;
    assert!(last.other.contains(&("parent_id".into(), "second".into())), "{last:?}");
    let child = |id: &str| {
        Value::List(vec![Value::List(vec![Value::List(vec![id.into(), Value::Null]), Value::Null])])
    };
    assert_eq!(bench.ended(&"first".into()).await.children, child("second"));
    assert_eq!(last.children, Value::List(vec![]));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_program_is_told_of_what_its_worker_publishes() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let note = Arc::clone(&told);
    let app = program().0.on(signals::after_task_publish, move |published| {
        note.lock().unwrap().push(published.id.to_string());
    });
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let header = [call("echo", [1]), chain([call("echo", [2]), with_id(call("add", [3]), "second")])];
    let result = bench.apply(chord(header, with_id(call("add", []), "body"))).await;
    assert_eq!(bench.value(&result).await, Value::Int(6));
    worker.stop().await;
    let mut told = told.lock().unwrap().clone();
    told.sort_unstable();
    assert_eq!(told, ["body", "second"]);
}

#[tokio::test(start_paused = true)]
async fn callbacks_get_the_result_and_are_the_children() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let callbacks = [call("heard", []), group([call("heard", [1]), call("heard", [2])])];
    let result = bench.apply(with_callbacks(call("add", [40, 2]), callbacks)).await;
    let record = bench.ended(result.id()).await;
    assert_eq!(
        record.children.as_list().unwrap().len(),
        2,
        "the group, and the others as a group: {record:?}"
    );
    bench.drained().await;
    let mut heard = calls_of(&calls, "heard");
    heard.sort_by_key(Vec::len);
    let answer = Value::Int(42);
    assert_eq!(heard[0], std::slice::from_ref(&answer));
    assert_eq!((&heard[1][0], &heard[2][0]), (&answer, &answer));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_chord_gets_all_results_in_the_order_of_the_header() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let header = (0..30).map(|number| call("echo", [number]));
    let result = bench.apply(chord(header, call("echo", []))).await;
    assert_eq!(bench.value(&result).await, Value::List((0..30).map(Value::Int).collect()));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_chord_runs_once() {
    let (app, calls) = program();
    let bench = Bench::new(app).await;
    let workers = [bench.start(), bench.start(), bench.start()];
    let header = (0..100).map(|number| call("echo", [number]));
    let result = bench.apply(chord(header, call("add", []))).await;
    assert_eq!(bench.value(&result).await, Value::Int(4950));
    bench.drained().await;
    assert_eq!(calls_of(&calls, "add").len(), 1);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn groups_and_chords_within_a_header_keep_their_structure() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let nested = chain([call("add", [1, 1]), group([call("add", [10]), call("add", [20])])]);
    let inner = chord([call("echo", [5]), call("echo", [6])], call("add", []));
    let result = bench.apply(chord([nested, call("echo", [3]), inner], call("echo", []))).await;
    let expected = Value::List(vec![ints([12, 22]), Value::Int(3), Value::Int(11)]);
    assert_eq!(bench.value(&result).await, expected);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chord_within_a_chain_goes_on_with_its_body() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let steps = [
        call("add", [1, 1]),
        group([call("add", [10]), call("add", [20])]),
        call("add", []),
        group([call("add", [1]), call("add", [2])]),
    ];
    let result = bench.apply(chain(steps)).await;
    assert_eq!(bench.value(&result).await, ints([35, 36]));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_chord_in_the_body_of_a_chord_runs() {
    let bench = Bench::new(program().0).await;
    let worker = bench.start();
    let body = chord([call("add", [100]), call("add", [200])], call("add", []));
    let result = bench.apply(chord([call("echo", [1]), call("echo", [2])], body)).await;
    assert_eq!(bench.value(&result).await, Value::Int(306));
    worker.stop().await;
}

/// A task that fails this often before it returns its argument.
fn flaky(failures: u32) -> TaskDefinition {
    let body = TaskBody::asynchronous(move |context, arguments| async move {
        match context.retries() < failures {
            true => Err(TaskError::failure("Busy", "not yet")),
            false => Ok(arguments.args[0].clone()),
        }
    });
    let mut options = TaskOptions::default();
    options.retry.retry_for = celeriac_app::task::RetryFor::Everything;
    TaskDefinition::new("flaky", body).with_options(options)
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_retried_counts_once_at_its_end() {
    let (app, calls) = program();
    let bench = Bench::new(app.task(flaky(2))).await;
    let worker = bench.start();
    let header = [call("flaky", [1]), call("flaky", [2]), call("echo", [3])];
    let result = bench.apply(chord(header, call("add", []))).await;
    assert_eq!(bench.value(&result).await, Value::Int(6));
    assert_eq!(calls_of(&calls, "add").len(), 1);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_result_is_not_stored_counts_all_the_same() {
    let mut options = TaskOptions::default();
    options.ignore_result = Some(true);
    let body = TaskBody::asynchronous(|_, _| async { Ok(Value::Int(7)) });
    let silent = TaskDefinition::new("silent", body).with_options(options);
    let bench = Bench::new(program().0.task(silent)).await;
    let worker = bench.start();
    let result = bench.apply(chord([call("silent", []), call("echo", [1])], call("add", []))).await;
    assert_eq!(bench.value(&result).await, Value::Int(8));
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_task_sends_is_its_children() {
    let body = TaskBody::asynchronous(|context, _| async move {
        let call = celeriac_app::Signature::<i64>::named("add", celeriac_app::args![1], vec![]);
        call.task_id("sent").apply_async(&context).await?;
        Ok(Value::Null)
    });
    let bench = Bench::new(program().0.task(TaskDefinition::new("sender", body))).await;
    let worker = bench.start();
    let result = bench.apply(with_callbacks(call("sender", []), [with_id(call("heard", []), "then")])).await;
    let record = bench.ended(result.id()).await;
    let ids = |children: &Value| -> Vec<String> {
        let children = children.as_list().unwrap().iter();
        children
            .map(|child| child.as_list().unwrap()[0].as_list().unwrap()[0].as_str().unwrap().into())
            .collect()
    };
    assert_eq!(ids(&record.children), ["sent", "then"]);
    let sent = bench.ended(&"sent".into()).await;
    assert!(sent.other.contains(&("parent_id".into(), result.id().as_str().into())), "{sent:?}");
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_ignored_task_ends_its_workflow_unseen() {
    let body = TaskBody::asynchronous(|_, _| async { Err(TaskError::ignore()) });
    let (app, calls) = program();
    let bench = Bench::new(app.task(TaskDefinition::new("ignoring", body))).await;
    let worker = bench.start();
    bench.apply(chain([call("ignoring", []), with_id(call("heard", []), "next")])).await;
    bench.drained().await;
    assert!(calls_of(&calls, "heard").is_empty());
    assert_eq!(bench.result_of("next").state().await.unwrap(), State::Pending);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_callback_that_cannot_be_sent_fails_the_task() {
    let bench = Bench::new(App::new("test").task(flaky(0))).await;
    let worker = bench.start();
    let mut callback = Signature::new("flaky");
    callback.options.push(("priority".into(), "urgent".into()));
    let result = bench.apply(with_callbacks(call("flaky", [1]), [callback])).await;
    assert_eq!(bench.ended(result.id()).await.state, State::Failure);
    assert!(bench.failure(result.id()).await.contains("was to follow this task"));
    worker.stop().await;
}
