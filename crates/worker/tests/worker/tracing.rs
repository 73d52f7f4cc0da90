//! What a worker records of its tasks for traces.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{Headers, TaskId, Value};
use celeriac_app::task::RetryFor;
use celeriac_app::trace::{Attribute, Kind, Sampler, Span, SpanContext, SpanSink, TRACEPARENT, Tracer};
use celeriac_app::{App, Signature, TaskBody, TaskDefinition, TaskError, TaskOptions};
use celeriac_worker::{Exit, Options};

use crate::harness::{Bench, START, Worker, blocking, hanging};

/// Keeps what is recorded.
#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Span>>>);

impl SpanSink for Spans {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

impl Spans {
    /// Those of this name, in the order in which they were recorded.
    fn named(&self, name: &str) -> Vec<Span> {
        self.0.lock().unwrap().iter().filter(|span| *span.name == *name).cloned().collect()
    }

    /// The only one of this name.
    fn only(&self, name: &str) -> Span {
        let [span] = &self.named(name)[..] else { panic!("one {name} in {:?}", self.0.lock().unwrap()) };
        span.clone()
    }
}

async fn bench(app: App) -> (Bench, Spans) {
    let spans = Spans::default();
    let tracer = Tracer::new(Sampler::default(), spans.clone());
    (Bench::new(app.with_tracer(tracer)).await, spans)
}

fn task(name: &'static str, result: fn() -> Result<Value, TaskError>) -> TaskDefinition {
    TaskDefinition::new(name, TaskBody::asynchronous(move |_, _| async move { result() }))
}

/// Ends the worker once everything is done, so that every span has been recorded.
async fn finish(bench: &Bench, worker: Worker) {
    bench.drained().await;
    assert_eq!(worker.stop().await, Exit::Warm);
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    match span.attributes.iter().find(|(other, _)| other == name)? {
        (_, Attribute::Text(text)) => Some(text),
        _ => None,
    }
}

/// Whether the second span lies in the first.
#[track_caller]
fn assert_within(outer: &Span, inner: &Span) {
    assert_eq!(inner.context.trace_id, outer.context.trace_id, "{inner:?}");
    assert_eq!(inner.parent, Some(outer.context.span_id), "{inner:?} in {outer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_task_waits_and_runs_in_the_span_that_sent_it() {
    let (bench, spans) = bench(App::new("test").task(task("add", || Ok(Value::Int(3))))).await;
    let result = bench.call("add").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    finish(&bench, bench.start()).await;

    let (sent, waited, ran) = (spans.only("apply_async/add"), spans.only("wait/add"), spans.only("run/add"));
    assert_eq!((sent.kind, sent.parent, sent.start), (Kind::Producer, None, START));
    assert_within(&sent, &waited);
    assert_within(&sent, &ran);
    assert_eq!((waited.start, waited.end), (START, ran.start));
    assert_eq!(ran.start, START.saturating_add(Duration::from_secs(4)));
    assert_eq!((ran.kind, ran.error.as_deref()), (Kind::Consumer, None));
    assert_eq!(text(&ran, "celery.action"), Some("run"));
    assert_eq!(text(&ran, "celery.state"), Some("SUCCESS"));
    assert_eq!(text(&ran, "celery.task_name"), Some("add"));
    assert_eq!(text(&ran, "messaging.message.id"), Some(result.id().as_str()));
    assert_eq!(text(&ran, "messaging.destination"), Some("celery"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_exception_of_its_span() {
    let failing = || Err(TaskError::failure("ValueError", "no tea"));
    let (bench, spans) = bench(App::new("test").task(task("fail", failing))).await;
    bench.call("fail").await;
    finish(&bench, bench.start()).await;
    let ran = spans.only("run/fail");
    assert_eq!((ran.error.as_deref(), &*ran.events[0].name), (Some("no tea"), "exception"));
    let class = &ran.events[0].attributes[0];
    assert_eq!((&*class.0, &class.1), ("exception.type", &Attribute::Text("ValueError".into())));
    assert_eq!(text(&ran, "celery.state"), Some("FAILURE"));
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_sent_and_runs_in_the_run_before() {
    let body = TaskBody::asynchronous(|context, _| async move {
        if context.retries() == 0 { Err(TaskError::failure("IOError", "not yet")) } else { Ok(Value::Null) }
    });
    let mut options = TaskOptions::default();
    (options.retry.retry_for, options.retry.jitter) = (RetryFor::Everything, false);
    options.retry.backoff = Some(Duration::from_secs(8));
    let flaky = TaskDefinition::new("flaky", body).with_options(options);
    let (bench, spans) = bench(App::new("test").task(flaky)).await;
    bench.call("flaky").await;
    finish(&bench, bench.start()).await;

    let (sent, ran) = (spans.named("apply_async/flaky"), spans.named("run/flaky"));
    assert_eq!((sent.len(), ran.len()), (2, 2));
    assert_within(&sent[0], &ran[0]);
    assert_within(&ran[0], &sent[1]);
    assert_within(&sent[1], &ran[1]);
    assert_eq!(ran[0].error, None, "it is not over");
    assert_eq!(text(&ran[0], "celery.retry.reason"), Some("Retry in 8s: IOError('not yet')"));
    let waited = &spans.named("wait/flaky")[1];
    let wait = waited.end.saturating_since(waited.start);
    assert!(wait < Duration::from_secs(1), "since its ETA: {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_task_is_sent_in_its_run() {
    let tasks = ["first", "second"].map(|name| task(name, || Ok(Value::Null)));
    let (bench, spans) = bench(App::new("test").tasks(tasks)).await;
    let call = |name: &str| Signature::<i64>::named(name, vec![], vec![]);
    bench.send(call("first").link(call("second"))).await;
    finish(&bench, bench.start()).await;
    let sent = spans.only("apply_async/second");
    assert_within(&spans.only("run/first"), &sent);
    assert_within(&sent, &spans.only("run/second"));
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_chord_is_sent_in_the_run_of_its_last_member() {
    use celeriac_app::canvas::{chord, group};
    let tasks = ["member", "body"].map(|name| task(name, || Ok(Value::Null)));
    let (bench, spans) = bench(App::new("test").tasks(tasks)).await;
    let call = |name: &str| Signature::<i64>::named(name, vec![], vec![]);
    let members = group([call("member"), call("member")]);
    chord(members, call("body")).apply_async(&bench.app).await.unwrap();
    finish(&bench, bench.start()).await;
    let sent = spans.only("apply_async/body");
    assert!(spans.named("run/member").iter().any(|member| sent.parent == Some(member.context.span_id)));
    assert_within(&sent, &spans.only("run/body"));
}

#[tokio::test(start_paused = true)]
async fn a_task_sends_others_in_its_run() {
    let sends = TaskBody::asynchronous(|context, _| async move {
        Signature::<i64>::named("inner", vec![], vec![]).apply_async(&context).await?;
        Ok(Value::Null)
    });
    let tasks = [TaskDefinition::new("outer", sends), task("inner", || Ok(Value::Null))];
    let (bench, spans) = bench(App::new("test").tasks(tasks)).await;
    bench.call("outer").await;
    finish(&bench, bench.start()).await;
    let sent = spans.only("apply_async/inner");
    assert_within(&spans.only("run/outer"), &sent);
    assert_within(&sent, &spans.only("run/inner"));
}

/// The feature makes the run the current span of its code.
#[cfg(feature = "otlp")]
#[tokio::test]
async fn what_a_task_sends_by_its_program_lies_in_its_run_too() {
    let call = || Signature::<i64>::named("inner", vec![], vec![]);
    let asynchronous = TaskBody::asynchronous(move |context, _| async move {
        context.app().send(call()).await?;
        Ok(Value::Null)
    });
    let blocking = TaskBody::blocking(move |context, _, _| {
        call().apply_blocking(context.app())?;
        Ok(Value::Null)
    });
    for body in [asynchronous, blocking] {
        let tasks = [TaskDefinition::new("outer", body), task("inner", || Ok(Value::Null))];
        let (bench, spans) = bench(App::new("test").tasks(tasks)).await;
        bench.call("outer").await;
        finish(&bench, bench.start()).await;
        assert_within(&spans.only("run/outer"), &spans.only("apply_async/inner"));
    }
}

/// Sends a message of a foreign producer with this context.
async fn with_context(bench: &Bench, name: &str, context: &str) -> TaskId {
    let put = |headers: &mut Headers| {
        headers.other.retain(|(name, _)| **name != *TRACEPARENT);
        headers.other.push((TRACEPARENT.into(), Value::from(context)));
        headers.other.push(("tracestate".into(), Value::from("a=1")));
    };
    bench.publish(name, |message| put(&mut message.headers)).await.id().clone()
}

#[tokio::test(start_paused = true)]
async fn a_trace_that_is_not_sampled_is_handed_on_and_not_recorded() {
    let (seen, sees) = std::sync::mpsc::channel();
    let inner = TaskBody::asynchronous(move |context, _| {
        seen.send(context.headers().clone()).unwrap();
        async { Ok(Value::Null) }
    });
    let outer = TaskBody::asynchronous(|context, _| async move {
        Signature::<i64>::named("inner", vec![], vec![]).apply_async(&context).await?;
        Ok(Value::Null)
    });
    let tasks = [TaskDefinition::new("outer", outer), TaskDefinition::new("inner", inner)];
    let (bench, spans) = bench(App::new("test").tasks(tasks)).await;
    with_context(&bench, "outer", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00").await;
    finish(&bench, bench.start()).await;
    assert_eq!(spans.0.lock().unwrap().len(), 0);
    let headers = sees.recv().unwrap();
    let carried = SpanContext::of(&headers).unwrap();
    assert_eq!(format!("{:x}", carried.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(!carried.sampled && carried.span_id != 0x00f0_67aa_0ba9_02b7);
    assert!(headers.other.contains(&("tracestate".into(), Value::from("a=1"))));
}

#[tokio::test(start_paused = true)]
async fn what_comes_without_a_trace_begins_one() {
    let (bench, spans) = bench(App::new("test").task(task("add", || Ok(Value::Null)))).await;
    with_context(&bench, "add", "nonsense").await;
    finish(&bench, bench.start()).await;
    let ran = spans.only("run/add");
    assert_eq!(ran.parent, None);
    assert_within(&ran, &spans.only("wait/add"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_never_ran_has_no_span_of_a_run() {
    let (bench, spans) = bench(App::new("test").task(task("add", || Ok(Value::Null)))).await;
    let call = Signature::<i64>::named("add", vec![], vec![]).expires(Duration::from_secs(1));
    bench.send(call).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    finish(&bench, bench.start()).await;
    assert_eq!((spans.named("wait/add").len(), spans.named("run/add").len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_task_beyond_its_limit_is_an_error() {
    let (task, _starts) = hanging("hang");
    let (bench, spans) = bench(App::new("test").task(task)).await;
    let bench = bench.with(|options: &mut Options| options.time_limit = Some(Duration::from_secs(3)));
    bench.call("hang").await;
    finish(&bench, bench.start()).await;
    let ran = spans.only("run/hang");
    assert_eq!(ran.error.as_deref(), Some("TimeLimitExceeded(3)"));
    assert_eq!(ran.end.saturating_since(ran.start), Duration::from_secs(3));
}

#[tokio::test]
async fn a_task_on_a_thread_has_its_span_too() {
    let (task, release) = blocking("block");
    let (bench, spans) = bench(App::new("test").task(task)).await;
    bench.call("block").await;
    let worker = bench.start();
    drop(release);
    finish(&bench, worker).await;
    assert_within(&spans.only("apply_async/block"), &spans.only("run/block"));
}
