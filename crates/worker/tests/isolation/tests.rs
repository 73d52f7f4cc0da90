//! What the worker promises for tasks in processes of their own.

use std::pin::Pin;
use std::time::Duration;

use celeriac_app::canvas::Apply;
use celeriac_app::protocol::{self, State, Value};
use celeriac_app::trace::{Sampler, Tracer};
use celeriac_app::{AsyncResult, Signature};
use celeriac_worker::Exit;
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use tokio::time::{Instant, sleep};

use crate::program::{Bench, PATIENCE, Spans, WAITS_FOR, app, with_diary};

type Test = fn() -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        /// Every test with its name.
        pub(crate) const ALL: &[(&str, Test)] = &[$((stringify!($name), || Box::pin($name()))),*];
    };
}

tests! {
    one_worker_runs_tasks_here_and_in_children,
    every_child_opens_its_own_connection_once,
    children_that_cannot_build_their_resources_keep_nothing_else_from_running,
    a_task_that_crashes_once_is_delivered_again,
    a_task_that_always_crashes_ends_among_the_failed_with_its_signal,
    a_child_killed_from_outside_costs_no_task,
    a_hard_time_limit_ends_what_does_not_stop,
    a_soft_time_limit_is_a_failure_that_kills_nobody,
    a_running_task_that_is_revoked_stops_even_if_it_does_not_want_to,
    a_task_in_a_child_sends_more_tasks,
    what_a_task_in_a_child_sends_lies_in_its_run,
    a_task_in_a_child_is_replaced,
    a_chord_collects_from_children_what_they_return_and_add,
    a_task_that_leaves_too_much_behind_fails_at_once,
    a_warm_shutdown_gives_back_what_does_not_end_in_time,
    a_worker_that_adopts_orphans_reaps_them,
    idle_children_end_in_order_while_a_thread_does_not,
}

async fn one_worker_runs_tasks_here_and_in_children() {
    let bench = Bench::start(2).await;
    let (here, there) = (bench.call("here").await, bench.call("pid").await);
    let own = i64::from(std::process::id());
    assert_eq!(here.get(PATIENCE).await.unwrap(), own);
    assert_ne!(there.get(PATIENCE).await.unwrap(), own);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn every_child_opens_its_own_connection_once() {
    let bench = Bench::start(1).await;
    let first = bench.call("connected").await.get(PATIENCE).await.unwrap();
    assert_eq!(bench.call("connected").await.get(PATIENCE).await.unwrap(), first);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn children_that_cannot_build_their_resources_keep_nothing_else_from_running() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("there");
    let name = format!("{WAITS_FOR}{}", path.display());
    let bench = Bench::on("memory://isolation-waiting", 1, |options| options.node_name = name).await;
    let (connected, here) = (bench.call("connected").await, bench.call("here").await);
    here.get(PATIENCE).await.unwrap();
    assert!(!connected.state().await.unwrap().is_ready());
    std::fs::write(path, "").unwrap();
    connected.get(PATIENCE).await.unwrap();
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_task_that_crashes_once_is_delivered_again() {
    let bench = Bench::start(1).await;
    assert_eq!(bench.call("crash_once").await.get(PATIENCE).await.unwrap(), 2);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_task_that_always_crashes_ends_among_the_failed_with_its_signal() {
    let bench = Bench::start(2).await;
    let crashes = bench.call("crash").await;
    let others = [bench.call("pid").await, bench.call("pid").await];
    assert_eq!(bench.state_of(&crashes).await, State::Failure);
    for other in others {
        other.get(PATIENCE).await.unwrap();
    }
    let failed = bench.store.failed().get(crashes.id()).await.unwrap().expect("it is among the failed");
    assert_eq!(failed.deliveries, 3);
    assert!(failed.reason.text.contains("SIGABRT"), "{}", failed.reason.text);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_child_killed_from_outside_costs_no_task() {
    let bench = Bench::start(2).await;
    let (result, pid) = bench.running("wait").await;
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    bench.runs_elsewhere(&result, pid).await;
    result.revoke(true).await.unwrap();
    assert_eq!(bench.state_of(&result).await, State::Revoked);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_hard_time_limit_ends_what_does_not_stop() {
    let bench = Bench::start(1).await;
    let limited = Signature::named("hang", vec![], vec![]).time_limit(Duration::from_millis(300));
    let result = bench.send(limited).await;
    let record = result.wait(PATIENCE).await.unwrap();
    assert_eq!(&*record.exception().unwrap().exc_type, "TimeLimitExceeded");
    bench.call("pid").await.get(PATIENCE).await.unwrap();
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_soft_time_limit_is_a_failure_that_kills_nobody() {
    let bench = Bench::start(1).await;
    let before = bench.call("pid").await.get(PATIENCE).await.unwrap();
    let limited = Signature::named("wait", vec![], vec![]).soft_time_limit(Duration::from_millis(50));
    let record = bench.send(limited).await.wait(PATIENCE).await.unwrap();
    assert_eq!(&*record.exception().unwrap().exc_type, "SoftTimeLimitExceeded");
    assert_eq!(bench.call("pid").await.get(PATIENCE).await.unwrap(), before);
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_running_task_that_is_revoked_stops_even_if_it_does_not_want_to() {
    let bench = Bench::start(2).await;
    for task in ["wait", "hang"] {
        let (result, _) = bench.running(task).await;
        result.revoke(true).await.unwrap();
        assert_eq!(bench.state_of(&result).await, State::Revoked, "{task}");
    }
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_task_in_a_child_sends_more_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("store.db").display());
    let bench = Bench::on(&url, 1, |_| {}).await;
    let sender = bench.call("send").await;
    let record = sender.wait(PATIENCE).await.unwrap();
    assert_eq!(record.state, State::Success, "{record:?}");
    assert_eq!(record.children.as_list().map(<[_]>::len), Some(1), "its result names it: {record:?}");
    let sent: AsyncResult<i64> = bench.app.result(record.result.as_str().unwrap());
    assert_eq!(sent.get(PATIENCE).await.unwrap(), i64::from(std::process::id()));
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn what_a_task_in_a_child_sends_lies_in_its_run() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("store.db").display());
    let spans = Spans::default();
    let app = app().with_tracer(Tracer::new(Sampler::default(), spans.clone()));
    let bench = Bench::of(app, &url, 1, |_| {}).await;
    let sent: AsyncResult<i64> =
        bench.app.result(bench.call("send").await.wait(PATIENCE).await.unwrap().result.as_str().unwrap());
    sent.get(PATIENCE).await.unwrap();
    assert_eq!(bench.stop().await, Exit::Warm);
    let [first, outer, second, inner] =
        ["apply_async/send", "run/send", "apply_async/here", "run/here"].map(|name| spans.only(name));
    for (span, parent) in [(&outer, &first), (&second, &outer), (&inner, &second)] {
        assert_eq!(
            (span.context.trace_id, span.parent),
            (first.context.trace_id, Some(parent.context.span_id))
        );
    }
}

async fn a_task_in_a_child_is_replaced() {
    let bench = Bench::start(1).await;
    let pid = bench.call("replaced").await.get(PATIENCE).await.unwrap();
    assert_ne!(pid, i64::from(std::process::id()), "it was that of another child task");
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_chord_collects_from_children_what_they_return_and_add() {
    let bench = Bench::start(2).await;
    let group = |tasks: &[&str]| {
        Value::List(tasks.iter().map(|task| protocol::Signature::new(*task).into_value()).collect())
    };
    let mut chord = protocol::Signature::new("celery.chord");
    chord.subtask_type = Some("chord".into());
    let body = protocol::Signature::new("celery.accumulate").into_value();
    let kwargs = [("kwargs", Value::Map(vec![])), ("header", group(&["adds", "pid"])), ("body", body)];
    chord.kwargs.extend(kwargs.map(|(name, value)| (name.into(), value)));
    let unfolded = bench.app.unfold(chord, Apply::default()).unwrap();
    bench.store.publish(unfolded.publication).await.unwrap();
    let result: AsyncResult<i64> = bench.app.result(unfolded.result.unwrap().id().clone());
    let record = result.wait(PATIENCE).await.unwrap();
    let results = record.result.as_list().and_then(|args| args[0].as_list());
    assert_eq!(results.map(<[_]>::len), Some(3), "{record:?}");
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_task_that_leaves_too_much_behind_fails_at_once() {
    let small = |options: &mut celeriac_worker::Options| options.max_body_bytes = 64 << 10;
    let bench = Bench::on("memory://isolation-leaves", 1, small).await;
    let result = bench.call("leaves_too_much").await;
    let failure = result.wait(PATIENCE).await.unwrap().exception().unwrap().to_string();
    assert!(failure.contains("beyond the limit"), "{failure}");
    assert_eq!(bench.stop().await, Exit::Warm);
}

async fn a_warm_shutdown_gives_back_what_does_not_end_in_time() {
    let short = |options: &mut celeriac_worker::Options| {
        options.shutdown_timeout = Some(Duration::from_millis(50));
    };
    let bench = Bench::on("memory://isolation-shutdown", 2, short).await;
    let (polite, _) = bench.running("wait").await;
    let (rude, _) = bench.running("hang").await;
    let (app, store) = (bench.app.clone(), bench.store.clone());
    assert_eq!(bench.stop().await, Exit::Warm);
    for result in [polite, rude] {
        let state = app.result::<i64>(result.id().clone()).state().await.unwrap();
        assert!(!state.is_ready(), "{state:?}");
    }
    let queues = store.broker().queues(&["celery".into()]).await.unwrap();
    assert_eq!(queues[0].ready, 2, "{queues:?}");
}

async fn a_worker_that_adopts_orphans_reaps_them() {
    set_child_subreaper(Some(getpid())).unwrap();
    let bench = Bench::start(1).await;
    let orphan = bench.call("leave_an_orphan").await.get(PATIENCE).await.unwrap();
    let deadline = Instant::now() + PATIENCE;
    while std::path::Path::new(&format!("/proc/{orphan}")).exists() {
        assert!(Instant::now() < deadline, "{orphan} is a zombie");
        // Nothing tells of it.
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(bench.stop().await, Exit::Warm);
    set_child_subreaper(None).unwrap();
}

async fn idle_children_end_in_order_while_a_thread_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let diary = folder.path().join("diary");
    let short = |options: &mut celeriac_worker::Options| {
        options.node_name = with_diary(&diary);
        options.shutdown_timeout = Some(Duration::from_secs(1));
    };
    let bench = Bench::on("memory://isolation-rude-thread", 1, short).await;
    let child = bench.call("pid").await.get(PATIENCE).await.unwrap();
    bench.running("hang_here").await;
    assert_eq!(bench.stop().await, Exit::Warm);
    let ended = std::fs::read_to_string(&diary).unwrap();
    assert!(ended.lines().any(|pid| pid == child.to_string()), "{child} is not among {ended:?}");
}
