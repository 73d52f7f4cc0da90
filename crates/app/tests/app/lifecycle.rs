//! The life of resources: built once, checked, rebuilt, dropped in order.

use std::cell::Cell;
use std::fmt::Debug;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::resource::{
    HealthBoard, LocalSet, MissingResource, ProcessKind, ResourcePlan, ResourceRequest, ResourceState,
    SharedSet,
};
use celeriac_app::{App, CancellationToken, Cancelled, Process, Reason, Resource, TaskBody, TaskDefinition};
use tracing::field::Field;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// What happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A value that notes its birth and its death.
struct Noted<const N: u8>(Journal);

impl<const N: u8> Noted<N> {
    fn new(journal: &Journal) -> Self {
        journal.note(format!("build {N}"));
        Self(journal.clone())
    }
}

impl<const N: u8> Drop for Noted<N> {
    fn drop(&mut self) {
        self.0.note(format!("drop {N}"));
    }
}

fn task(resources: Vec<ResourceRequest>) -> TaskDefinition {
    let mut task = TaskDefinition::new("t", TaskBody::blocking(|_, _, _| Ok(Default::default())));
    task.resources = resources;
    task
}

fn sets(app: &App, requests: &[ResourceRequest]) -> (ResourcePlan, HealthBoard) {
    let plan = app.resource_plan([&task(requests.to_vec())]).unwrap();
    let health = HealthBoard::new(&plan, Process::this("w@h", ProcessKind::Worker));
    (plan, health)
}

#[tokio::test]
async fn shared_values_are_built_once_in_order_and_dropped_in_reverse() {
    let journal = Journal::default();
    let (first, second) = (journal.clone(), journal.clone());
    let app = App::new("r")
        .resource(Resource::per_process(move |_| Ok::<_, io::Error>(Noted::<1>::new(&first))))
        .resource(Resource::per_process_async(move |_| {
            let second = second.clone();
            async move { Ok::<_, io::Error>(Noted::<2>::new(&second)) }
        }))
        .resource(Resource::value(String::from("nobody asks for it")));
    let requests = [ResourceRequest::shared::<Noted<2>>(), ResourceRequest::shared::<Noted<1>>()];
    let (plan, health) = sets(&app, &requests);
    let shared = SharedSet::new(&plan, &health);
    shared.build().await.unwrap();
    shared.build().await.unwrap();
    for _ in 0..3 {
        shared.ensure(&requests).await.unwrap();
        assert!(shared.get::<Noted<1>>().is_some() && shared.get::<Noted<2>>().is_some());
    }
    assert!(shared.get::<String>().is_none(), "what no task asks for is not built");
    assert_eq!(journal.take(), ["build 1", "build 2"]);
    shared.close();
    assert_eq!(journal.take(), ["drop 2", "drop 1"]);
    assert!(health.snapshot().iter().all(|resource| resource.state == ResourceState::Closed));
}

#[test]
fn local_values_are_built_once_per_thread_and_dropped_in_reverse() {
    let journal = Journal::default();
    let (first, second) = (journal.clone(), journal.clone());
    let app = App::new("r")
        .resource(Resource::per_thread(move |_| Ok::<_, io::Error>(Noted::<1>::new(&first))))
        .resource(Resource::per_thread(move |_| Ok::<_, io::Error>(Noted::<2>::new(&second))));
    let requests = [ResourceRequest::local::<Noted<1>>(), ResourceRequest::local::<Noted<2>>()];
    let (plan, health) = sets(&app, &requests);
    for _ in 0..2 {
        let (plan, health) = (plan.clone(), health.clone());
        let thread = std::thread::spawn(move || {
            let locals = LocalSet::new(&plan, &health);
            locals.build().unwrap();
            for _ in 0..3 {
                locals.ensure(&requests).unwrap();
                drop(locals.get::<Noted<1>>().unwrap());
            }
        });
        thread.join().unwrap();
        assert_eq!(journal.take(), ["build 1", "build 2", "drop 2", "drop 1"]);
    }
    let of_first = &health.snapshot()[0];
    assert_eq!((of_first.builds, of_first.rebuilds, of_first.alive), (2, 0, 0));
}

#[tokio::test]
async fn a_failed_check_rebuilds_once_for_all_who_wait() {
    let broken = Arc::new(AtomicBool::new(false));
    let builds = Arc::new(AtomicU32::new(0));
    let (repair, count, look) = (Arc::clone(&broken), Arc::clone(&builds), Arc::clone(&broken));
    let app = App::new("r").resource(
        Resource::per_process(move |_| {
            repair.store(false, Ordering::SeqCst);
            Ok::<_, io::Error>(count.fetch_add(1, Ordering::SeqCst))
        })
        .named("connection")
        .check(move |_| if look.load(Ordering::SeqCst) { Err("gone away") } else { Ok(()) }),
    );
    let requests = [ResourceRequest::shared::<u32>()];
    let (plan, health) = sets(&app, &requests);
    let shared = SharedSet::new(&plan, &health);
    shared.build().await.unwrap();
    assert!(shared.has_checks(&requests));

    broken.store(true, Ordering::SeqCst);
    let (a, b) = tokio::join!(shared.ensure(&requests), shared.ensure(&requests));
    a.and(b).unwrap();
    assert_eq!(*shared.get::<u32>().unwrap(), 1);
    let resource = &health.snapshot()[0];
    assert_eq!((resource.builds, resource.rebuilds, resource.alive), (1, 1, 1));
    assert_eq!((&*resource.name, resource.last_error.as_deref()), ("connection", Some("gone away")));
}

#[tokio::test(start_paused = true)]
async fn a_failed_build_is_shown_and_tried_again_until_it_succeeds() {
    let failures = AtomicU32::new(3);
    let app = App::new("r").resource(Resource::per_process(move |_| {
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err("refused".to_owned()),
            Err(_) => Ok(7_u8),
        }
    }));
    let (plan, health) = sets(&app, &[ResourceRequest::shared::<u8>()]);
    let shared = SharedSet::new(&plan, &health);
    let error = shared.build().await.unwrap_err();
    assert_eq!((&*error.name, &*error.reason), ("u8", "refused"));
    assert_eq!(health.snapshot()[0].state, ResourceState::Failing);

    shared.build_until_ready(&CancellationToken::new()).await.unwrap();
    let resource = &health.snapshot()[0];
    assert_eq!((resource.state, resource.failures, resource.builds), (ResourceState::Ready, 3, 1));
}

#[tokio::test]
async fn a_resource_that_cannot_be_built_keeps_no_other_from_being_built() {
    let app = App::new("r")
        .resource(Resource::per_process(|_| Err::<u8, _>("refused")))
        .resource(Resource::value(7_u16))
        .resource(Resource::per_thread(|_| Err::<u32, _>("refused")))
        .resource(Resource::per_thread(|_| Ok::<_, io::Error>(7_u64)));
    let [failing, built] = [ResourceRequest::shared::<u8>(), ResourceRequest::shared::<u16>()];
    let [failing_local, built_local] = [ResourceRequest::local::<u32>(), ResourceRequest::local::<u64>()];
    let (plan, health) = sets(&app, &[failing, built, failing_local, built_local]);
    let (shared, locals) = (SharedSet::new(&plan, &health), LocalSet::new(&plan, &health));
    assert_eq!(&*shared.build().await.unwrap_err().name, "u8");
    assert_eq!(&*locals.build().unwrap_err().name, "u32");
    assert!(health.lacks(&[failing]) && health.lacks(&[failing_local, built_local]));
    assert!(!health.lacks(&[built, built_local]));
}

#[tokio::test(start_paused = true)]
async fn the_log_says_which_resource_of_which_process_waits_why_and_until_when() {
    let failures = AtomicU32::new(2);
    let app = App::new("r").resource(Resource::per_process(move |_| {
        match failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err("refused".to_owned()),
            Err(_) => Ok(7_u8),
        }
    }));
    let (plan, health) = sets(&app, &[ResourceRequest::shared::<u8>()]);
    let shared = SharedSet::new(&plan, &health);
    let lines = Lines::default();
    let _kept = tracing::subscriber::set_default(lines.clone());
    shared.build_until_ready(&CancellationToken::new()).await.unwrap();
    let lines = lines.0.take();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for line in &lines[..2] {
        for part in ["WARN", "resource=u8", "process=worker w@h", "reason=refused", "again_in="] {
            assert!(line.contains(part), "{line}");
        }
    }
    assert!(lines[2].starts_with("INFO") && lines[2].contains("failures=2"), "{lines:?}");
}

/// Keeps every line that is logged on this thread.
#[derive(Clone, Default)]
struct Lines(Journal);

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut |field: &Field, value: &dyn Debug| line += &format!(" {field}={value:?}"));
        self.0.note(line);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn waiting_for_a_build_ends_when_the_worker_does() {
    let app = App::new("r").resource(Resource::per_process(|_| Err::<u8, _>("refused")));
    let (plan, health) = sets(&app, &[ResourceRequest::shared::<u8>()]);
    let stop = CancellationToken::new();
    stop.cancel(Reason::Shutdown);
    let ended = SharedSet::new(&plan, &health).build_until_ready(&stop).await;
    assert_eq!(ended, Err(Cancelled(Reason::Shutdown)));
}

#[test]
fn a_local_value_that_fails_its_check_is_rebuilt_before_the_task() {
    let app = App::new("r").resource(
        Resource::per_thread(|_| Ok::<_, io::Error>(Cell::new(0_u32)))
            .check(|uses| if uses.get() < 2 { Ok(()) } else { Err("worn out") }),
    );
    let requests = [ResourceRequest::local::<Cell<u32>>()];
    let (plan, health) = sets(&app, &requests);
    let locals = LocalSet::new(&plan, &health);
    for expected in [0, 1, 0, 1, 0] {
        locals.ensure(&requests).unwrap();
        let lent = locals.get::<Cell<u32>>().unwrap();
        assert_eq!(lent.replace(lent.get() + 1), expected);
    }
    let resource = &health.snapshot()[0];
    assert_eq!((resource.builds, resource.rebuilds, resource.alive), (1, 2, 1));
}

#[test]
fn a_local_value_is_rebuilt_after_a_panic_while_it_was_lent() {
    let builds = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&builds);
    let app = App::new("r")
        .resource(Resource::per_thread(move |_| Ok::<_, io::Error>(count.fetch_add(1, Ordering::SeqCst))));
    let requests = [ResourceRequest::local::<u32>()];
    let (plan, health) = sets(&app, &requests);
    let locals = LocalSet::new(&plan, &health);
    locals.build().unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _lent = locals.get::<u32>();
        panic!("in the middle of a transaction");
    }));
    assert!(panicked.is_err());
    locals.ensure(&requests).unwrap();
    assert_eq!(*locals.get::<u32>().unwrap(), 1);
    assert_eq!(health.snapshot()[0].rebuilds, 1);
}

#[tokio::test]
async fn a_build_that_panics_is_a_failed_build() {
    let app = App::new("r")
        .resource(Resource::per_process(|_| -> Result<u8, io::Error> { panic!("no luck") }))
        .resource(Resource::per_thread(|_| -> Result<u16, io::Error> { panic!("no luck either") }));
    let (plan, health) = sets(&app, &[ResourceRequest::shared::<u8>(), ResourceRequest::local::<u16>()]);
    let shared = SharedSet::new(&plan, &health).build().await.unwrap_err();
    assert_eq!(shared.reason, "panicked: no luck");
    let local = LocalSet::new(&plan, &health).build().unwrap_err();
    assert_eq!(local.reason, "panicked: no luck either");
    assert!(local.retry_after > Duration::ZERO);
}

#[test]
fn asking_for_what_nobody_registered_is_an_error_at_the_start() {
    let app = App::new("r").resource(Resource::value(1_u8));
    let plan = |task: &TaskDefinition| app.resource_plan([task]).err().unwrap();
    let missing = plan(&task(vec![ResourceRequest::shared::<u16>()]));
    assert_eq!(
        missing.to_string(),
        "task t asks for the shared resource u16, which is not registered: add `.resource(...)` to the App"
    );
    let other = plan(&task(vec![ResourceRequest::local::<u8>()]));
    assert!(matches!(other, MissingResource::OtherKind { .. }), "{other}");
    let mut moving =
        TaskDefinition::new("t", TaskBody::asynchronous(|_, _| async { Ok(Default::default()) }));
    moving.resources = vec![ResourceRequest::local::<u8>()];
    assert!(matches!(plan(&moving), MissingResource::LocalInAsync { .. }));
}

#[test]
fn two_resources_of_one_type_are_an_error_at_the_start() {
    let app = App::new("r").resource(Resource::value(1_u8)).resource(Resource::value(2_u8));
    let twice = app.resource_plan([&task(vec![ResourceRequest::shared::<u8>()])]).err().unwrap();
    assert!(matches!(&twice, MissingResource::RegisteredTwice { name, .. } if name == "u8"), "{twice}");
    let per_thread = Resource::per_thread(|_| Ok::<_, io::Error>(3_u8));
    let app = App::new("r").resource(Resource::value(1_u8)).resource(per_thread);
    app.resource_plan([&task(vec![ResourceRequest::shared::<u8>()])]).unwrap();
}
