//! The program under test: its tasks, and a worker for it.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_app::protocol::{self, State, Value};
use celeriac_app::resource::{LocalSet, ResourceRequest};
use celeriac_app::store::{ConnectOptions, Store, connect};
use celeriac_app::task::{Isolation, Returned, TaskOptions};
use celeriac_app::trace::{Span, SpanSink};
use celeriac_app::{
    App, Arguments, AsyncResult, Context, Process, Resource, Signature, TaskBody, TaskDefinition, signals,
};
use celeriac_worker::{Error, Exit, Options, Shutdown, Stopper};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// After this time a test gives up waiting for what should have happened.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Stands for a connection: it knows which process opened it.
struct Connection(u32);

type Body = fn(&Context, &LocalSet, Arguments) -> Returned;

/// The tasks, which all but one run in children.
pub(crate) fn app() -> App {
    let isolated: [(&str, Body); 10] = [
        ("pid", |_, _, _| Ok(Value::Int(std::process::id().into()))),
        ("crash", |_, _, _| std::process::abort()),
        ("crash_once", crash_once),
        ("wait", wait),
        ("hang", hang),
        ("send", send),
        ("leave_an_orphan", leave_an_orphan),
        ("replaced", replaced),
        ("adds", adds),
        ("leaves_too_much", leaves_too_much),
    ];
    let task = |(name, body): (&'static str, Body)| {
        let mut options = TaskOptions::default();
        options.isolation = Isolation::Process;
        TaskDefinition::new(name, TaskBody::blocking(body)).with_options(options)
    };
    let mut connected = task(("connected", connected));
    connected.resources = vec![ResourceRequest::local::<Connection>()];
    let here: Body = |_, _, _| Ok(Value::Int(std::process::id().into()));
    App::new("isolation")
        .on(signals::worker_process_shutdown, note_in_diary)
        .resource(Resource::per_thread(connect_as))
        .tasks(isolated.map(task))
        .task(connected)
        .task(TaskDefinition::new("here", TaskBody::blocking(here)))
        .task(TaskDefinition::new("hang_here", TaskBody::blocking(hang)))
}

/// What comes before the path of a file in the name of a worker whose children cannot connect before that file exists.
pub(crate) const WAITS_FOR: &str = "waits-for:";

fn connect_as(process: &Process) -> std::io::Result<Connection> {
    if let Some(path) = process.worker().strip_prefix(WAITS_FOR) {
        std::fs::metadata(path)?;
    }
    Ok(Connection(process.pid()))
}

/// Says which process opened the connection, if that is the one it runs in.
fn connected(context: &Context, locals: &LocalSet, _: Arguments) -> Returned {
    let connection = context.local::<Connection>(locals)?;
    let own = connection.0 == std::process::id();
    Ok(if own { Value::Int(connection.0.into()) } else { Value::Null })
}

fn crash_once(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    if context.deliveries() == 1 {
        std::process::abort();
    }
    Ok(Value::Int(context.deliveries().into()))
}

/// Says that it runs, and waits to be told to stop.
fn wait(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    context.update_state("RUNNING", std::process::id())?;
    context.cancellation().sleep_blocking(PATIENCE * 10)?;
    Ok(Value::Null)
}

/// Says that it runs, and goes on whatever it is told.
fn hang(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    context.update_state("RUNNING", std::process::id())?;
    loop {
        std::thread::park();
    }
}

/// The node name of a worker whose processes leave their ids in this file when they end in order.
pub(crate) fn with_diary(file: &Path) -> String {
    format!("{DIARY}{}", file.display())
}

const DIARY: &str = "diary@";

fn note_in_diary(process: &Process) {
    let Some(path) = process.worker().strip_prefix(DIARY) else { return };
    let mut diary = OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(diary, "{}", std::process::id()).unwrap();
}

/// Leaves a process behind whose parent has ended, gives its process id, and lets it end.
fn leave_an_orphan(_: &Context, _: &LocalSet, _: Arguments) -> Returned {
    let mut shell = Command::new("sh")
        .args(["-c", "exec 3<&0; cat <&3 >/dev/null & echo $!"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lets_it_end = shell.stdin.take();
    let said = shell.wait_with_output()?.stdout;
    drop(lets_it_end);
    Ok(Value::Int(String::from_utf8_lossy(&said).trim().parse()?))
}

/// Sends another task, on a connection of the child's own.
fn send(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    let sent: AsyncResult<i64> = Signature::named("here", vec![], vec![]).apply_blocking(context)?;
    Ok(Value::String(sent.id().as_str().into()))
}

fn replaced(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    Err(context.replace(protocol::Signature::new("pid")))
}

/// Leaves more behind than goes through to the parent.
fn leaves_too_much(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    context.trail().sent([Value::from("x".repeat(3 << 20).as_str())]);
    Ok(Value::Null)
}

/// Adds another task to its chord.
fn adds(context: &Context, _: &LocalSet, _: Arguments) -> Returned {
    context.add_to_chord(protocol::Signature::new("pid"))?;
    Ok(Value::Int(0))
}

/// Keeps the spans that are recorded.
#[derive(Clone, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<Span>>>);

impl SpanSink for Spans {
    fn record(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

impl Spans {
    /// The only one of this name.
    pub(crate) fn only(&self, name: &str) -> Span {
        let all = self.0.lock().unwrap();
        let [span] = &all.iter().filter(|span| *span.name == *name).collect::<Vec<_>>()[..] else {
            panic!("one {name} in {all:?}");
        };
        (*span).clone()
    }
}

/// A program with a worker on a fresh store.
pub(crate) struct Bench {
    pub(crate) app: App,
    pub(crate) store: Store,
    pub(crate) stopper: Stopper,
    worker: JoinHandle<Result<Exit, Error>>,
}

impl Bench {
    /// A worker with this many children on a fresh store in memory.
    pub(crate) async fn start(processes: usize) -> Self {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let url = format!("memory://isolation-{}", STORES.fetch_add(1, Ordering::Relaxed));
        Self::on(&url, processes, |_| {}).await
    }

    /// A worker with this many children on the store of this URL.
    pub(crate) async fn on(url: &str, processes: usize, change: impl FnOnce(&mut Options)) -> Self {
        Self::of(app(), url, processes, change).await
    }

    /// A worker of this program.
    pub(crate) async fn of(app: App, url: &str, processes: usize, change: impl FnOnce(&mut Options)) -> Self {
        let store = connect(url, &ConnectOptions::default()).await.unwrap();
        let app = app.settings(|settings| settings.broker_url = url.to_owned()).with_store(store.clone());
        let (stopper, shutdown) = Shutdown::new();
        let mut options = Options { processes, threads: 1, ..Options::default() };
        change(&mut options);
        let worker = tokio::spawn({
            let app = app.clone();
            async move { celeriac_worker::run(&app, options, shutdown).await }
        });
        Self { app, store, stopper, worker }
    }

    pub(crate) async fn call(&self, task: &str) -> AsyncResult<i64> {
        self.send(Signature::named(task, vec![], vec![])).await
    }

    pub(crate) async fn send(&self, signature: Signature<i64>) -> AsyncResult<i64> {
        self.app.send(signature).await.unwrap()
    }

    /// Calls a task that says when it runs, waits for that, and gives the process it runs in.
    pub(crate) async fn running(&self, task: &str) -> (AsyncResult<i64>, u32) {
        let result = self.call(task).await;
        let pid = self.runs_elsewhere(&result, 0).await;
        (result, pid)
    }

    /// Waits until this task says that it runs in another process than that one, and gives that.
    pub(crate) async fn runs_elsewhere(&self, result: &AsyncResult<i64>, not_in: u32) -> u32 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some((state, Value::Int(pid))) = result.progress().await.unwrap()
                && &*state == "RUNNING"
                && pid != i64::from(not_in)
            {
                return u32::try_from(pid).unwrap();
            }
            assert!(Instant::now() < deadline, "it does not start");
            // A result backend tells of final results only.
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub(crate) async fn state_of(&self, result: &AsyncResult<i64>) -> State {
        result.wait(PATIENCE).await.unwrap().state
    }

    /// Stops the worker as SIGTERM does, and waits for its end.
    pub(crate) async fn stop(self) -> Exit {
        self.stopper.terminate();
        self.worker.await.unwrap().unwrap()
    }
}
