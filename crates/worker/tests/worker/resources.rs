//! Resources live as long as their process or thread, and tasks get them in working order.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{State, Value};
use celeriac_app::resource::ResourceRequest;
use celeriac_app::{App, Resource, Signature, TaskBody, TaskDefinition, signals};

use crate::harness::{Bench, assert_state};

/// A resource that writes down when it is built and dropped.
struct Noted(&'static str, Log);

type Log = Arc<Mutex<Vec<&'static str>>>;

impl Noted {
    fn build(name: &'static str, log: &Log) -> Result<Self, io::Error> {
        log.lock().unwrap().push(name);
        Ok(Self(name, Arc::clone(log)))
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(if self.0 == "built" { "dropped" } else { "other dropped" });
    }
}

/// An async task that needs the resource.
fn user<T: Send + Sync + 'static>() -> TaskDefinition {
    let body = TaskBody::asynchronous(|context, _| async move {
        context.shared::<T>()?;
        Ok(Value::Null)
    });
    TaskDefinition { resources: vec![ResourceRequest::shared::<T>()], ..TaskDefinition::new("user", body) }
}

#[tokio::test(start_paused = true)]
async fn a_shared_resource_is_built_once_and_dropped_after_the_last_signal() {
    let log = Log::default();
    let (built, told) = (Arc::clone(&log), Arc::clone(&log));
    let app = App::new("test")
        .task(user::<Noted>())
        .resource(Resource::per_process(move |_| Noted::build("built", &built)))
        .on(signals::worker_process_shutdown, move |_| told.lock().unwrap().push("process ends"));
    let bench = Bench::new(app).await;
    let worker = bench.start();
    for _ in 0..20 {
        assert_state(&bench.ending(&bench.call("user").await).await, &State::Success);
    }
    worker.stop().await;
    assert_eq!(*log.lock().unwrap(), ["built", "process ends", "dropped"]);
}

#[tokio::test]
async fn a_local_resource_is_built_once_for_each_thread() {
    let log = Log::default();
    let built = Arc::clone(&log);
    let body = TaskBody::blocking(|context, locals, _| {
        context.local::<Noted>(locals)?;
        Ok(Value::Null)
    });
    let task = TaskDefinition {
        resources: vec![ResourceRequest::local::<Noted>()],
        ..TaskDefinition::new("user", body)
    };
    let app =
        App::new("test").task(task).resource(Resource::per_thread(move |_| Noted::build("built", &built)));
    let bench = Bench::new(app).await.with(|options| options.threads = 2);
    let worker = bench.start();
    for _ in 0..20 {
        assert_state(&bench.ending(&bench.call("user").await).await, &State::Success);
    }
    // One thread can do all of it before the other has started.
    bench.until(async || log.lock().unwrap().len() == 2).await;
    worker.stop().await;
    assert_eq!(*log.lock().unwrap(), ["built", "built", "dropped", "dropped"]);
}

#[tokio::test(start_paused = true)]
async fn while_a_build_fails_nothing_is_fetched_and_everybody_can_see_why() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let works = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&works);
    let build = move |_: &celeriac_app::Process| {
        counted.fetch_add(1, Ordering::SeqCst);
        if switch.load(Ordering::SeqCst) { Ok(7_u8) } else { Err(io::Error::other("no route to database")) }
    };
    let app = App::new("test").task(user::<u8>()).resource(Resource::per_process(build).named("database"));
    let bench = Bench::new(app).await;
    let result = bench.call("user").await;
    let worker = bench.start();
    bench.until(async || attempts.load(Ordering::SeqCst) > 3).await;
    assert_eq!(bench.ready().await, 1, "nothing is fetched");
    let facts = &bench.workers().await[0].facts;
    assert_eq!(facts.get("state").and_then(Value::as_str), Some("starting"));
    let Some(Value::List(resources)) = facts.get("resources") else { panic!("{facts:?}") };
    assert_eq!(resources[0].get("last_error").and_then(Value::as_str), Some("no route to database"));
    assert_eq!(resources[0].get("state").and_then(Value::as_str), Some("failing"));

    works.store(true, Ordering::SeqCst);
    assert_state(&bench.ending(&result).await, &State::Success);
    worker.stop().await;
}

/// A program with a task that needs what cannot be built before the switch is on, and one that needs nothing.
fn half_working(works: &Arc<AtomicBool>, needy: TaskDefinition, resource: impl Into<Resource>) -> App {
    let free = TaskBody::asynchronous(|_, _| async { Ok(Value::Null) });
    assert!(!works.load(Ordering::SeqCst));
    App::new("test").task(needy).task(TaskDefinition::new("free", free)).resource(resource)
}

/// A build that fails until the switch is on.
fn failing(works: &Arc<AtomicBool>) -> impl Fn(&celeriac_app::Process) -> Result<u8, io::Error> + use<> {
    let switch = Arc::clone(works);
    move |_| if switch.load(Ordering::SeqCst) { Ok(7) } else { Err(io::Error::other("refused")) }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_wait_for_a_shared_resource_keep_no_others_from_running() {
    let works = Arc::new(AtomicBool::new(false));
    let app = half_working(&works, user::<u8>(), Resource::per_process(failing(&works)));
    let bench = Bench::new(app).await;
    // More than a worker may hold.
    let needy: Vec<_> = (0..3000).map(|_| Signature::<i64>::named("user", vec![], vec![])).collect();
    let waiting = bench.app.send_many(needy).await.unwrap();
    let free = bench.call("free").await;
    let worker = bench.start();
    assert_state(&bench.ending(&free).await, &State::Success);
    assert!(!works.swap(true, Ordering::SeqCst), "the others wait");
    for result in &waiting {
        assert_state(&bench.ending(result).await, &State::Success);
    }
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_that_waits_for_a_resource_keeps_its_delivery_count() {
    let works = Arc::new(AtomicBool::new(false));
    let app = half_working(&works, user::<u8>(), Resource::per_process(failing(&works)));
    let bench = Bench::new(app).await;
    let suspect = bench.call("user").await;
    bench.subscribe().await.consumer.fetch(1).await.unwrap();
    tokio::time::advance(bench.options.lease * 2).await;

    let worker = bench.start();
    assert_state(&bench.ending(&bench.call("free").await).await, &State::Success);
    // Long enough for it to come and go some times.
    tokio::time::sleep(Duration::from_secs(21)).await;
    worker.die().await;
    tokio::time::advance(bench.options.lease * 2).await;
    let subscription = &mut bench.subscribe().await;
    assert_eq!(subscription.consumer.fetch(1).await.unwrap().remove(0).deliveries, 2);
    subscription.settler.close().await.unwrap();

    let worker = bench.start();
    assert_state(&bench.ending(&bench.call("free").await).await, &State::Success);
    works.store(true, Ordering::SeqCst);
    assert_state(&bench.ending(&suspect).await, &State::Success);
    worker.stop().await;
}

#[tokio::test]
async fn tasks_that_wait_for_a_local_resource_keep_no_others_from_running() {
    let works = Arc::new(AtomicBool::new(false));
    let body = TaskBody::blocking(|context, locals, _| {
        context.local::<u8>(locals)?;
        Ok(Value::Null)
    });
    let needy = TaskDefinition {
        resources: vec![ResourceRequest::local::<u8>()],
        ..TaskDefinition::new("user", body)
    };
    let app = half_working(&works, needy, Resource::per_thread(failing(&works)));
    let plain = TaskDefinition::new("plain", TaskBody::blocking(|_, _, _| Ok(Value::Null)));
    let bench = Bench::new(app.task(plain)).await;
    let waiting = bench.call("user").await;
    let others = [bench.call("free").await, bench.call("plain").await];
    let worker = bench.start();
    for other in &others {
        assert_state(&bench.ending(other).await, &State::Success);
    }
    works.store(true, Ordering::SeqCst);
    assert_state(&bench.ending(&waiting).await, &State::Success);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_build_that_hangs_is_not_waited_for_longer_than_a_start_may_take() {
    let hangs = |_| std::future::pending::<Result<u8, io::Error>>();
    let works = Arc::default();
    let bench = Bench::new(half_working(&works, user::<u8>(), Resource::per_process_async(hangs))).await;
    let (waiting, free) = (bench.call("user").await, bench.call("free").await);
    let worker = bench.start();
    assert_state(&bench.ending(&free).await, &State::Success);
    assert!(!waiting.state().await.unwrap().is_ready());
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_whose_resources_cannot_be_built_can_be_stopped() {
    let build = |_: &celeriac_app::Process| Err::<u8, _>(io::Error::other("never"));
    let app = App::new("test").task(user::<u8>()).resource(Resource::per_process(build));
    let bench = Bench::new(app).await;
    let worker = bench.start();
    tokio::time::advance(Duration::from_secs(5)).await;
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_fails_its_check_is_rebuilt_before_the_task() {
    let log = Log::default();
    let built = Arc::clone(&log);
    let healthy = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&healthy);
    let check = move |_: &Noted| match asked.swap(true, Ordering::SeqCst) {
        true => Ok(()),
        false => Err(io::Error::other("connection reset")),
    };
    let resource = Resource::per_process(move |_| Noted::build("built", &built)).check(check);
    let bench = Bench::new(App::new("test").task(user::<Noted>()).resource(resource)).await;
    let worker = bench.start();
    bench.ending(&bench.call("user").await).await;
    healthy.store(false, Ordering::SeqCst);
    assert_state(&bench.ending(&bench.call("user").await).await, &State::Success);
    assert_eq!(*log.lock().unwrap(), ["built", "dropped", "built"]);
    worker.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_nobody_registered_is_refused_at_the_start() {
    let bench = Bench::new(App::new("test").task(user::<u8>())).await;
    let refusal = bench.refusal().await;
    assert!(refusal.contains("user") && refusal.contains("u8"), "{refusal}");
}

/// A resource that is unfit for use, and panics when it is dropped for that.
struct Ticking(Arc<AtomicBool>);

impl Drop for Ticking {
    fn drop(&mut self) {
        assert!(self.0.swap(true, Ordering::Relaxed), "dropped for the first time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_beside_the_task_is_an_internal_error_with_its_signal() {
    let (dropped, reasons) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
    let (build, check, noted) = (Arc::clone(&dropped), Arc::clone(&dropped), Arc::clone(&reasons));
    let resource = Resource::per_process(move |_| Ok::<_, io::Error>(Ticking(Arc::clone(&build))))
        .check(move |_| if check.load(Ordering::Relaxed) { Ok(()) } else { Err("unfit") });
    let app = App::new("test")
        .resource(resource)
        .task(user::<Ticking>())
        .on(signals::task_internal_error, move |error| noted.lock().unwrap().push(error.reason.clone()));
    let bench = Bench::new(app).await;
    let worker = bench.start();
    let record = bench.ending(&bench.call("user").await).await;
    assert_eq!(&*record.exception().unwrap().exc_type, "InternalError");
    assert_eq!(reasons.lock().unwrap().len(), 1);
    assert_state(&bench.ending(&bench.call("user").await).await, &State::Success);
    worker.stop().await;
}
