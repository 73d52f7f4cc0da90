//! What the children of the tests are: tests that do nothing unless they run as a child.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use celeriac_app::resource::{LocalSet, ResourceRequest};
use celeriac_app::task::{Isolation, Returned, TaskOptions};
use celeriac_app::{
    App, Arguments, CancellationToken, Context, Process, Resource, TaskBody, TaskDefinition, TaskError,
    signals,
};
use celeriac_protocol::Value;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Signal, getpid, getppid, kill_process};

use super::super::child::connection::{Receiver, Sender};
use super::super::child::take_socket;
use super::super::protocol::{self, FromChild, JobHead, TaskEnding, ToChild, VERSION};
use super::super::{frame, run_if_child};
use super::harness::{Bench, arguments_of};

/// The sockets that the program of this child has made.
static OWN_SOCKETS: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// The start of the argument that names the file in which programs leave what they did.
pub(super) const DIARY: &str = "diary=";

/// Ends this test process if it was a child.
fn be_child(app: &App) {
    if let Some(ended) = run_if_child(app) {
        std::process::exit(if ended == ExitCode::SUCCESS { 0 } else { 70 });
    }
}

#[test]
fn ordinary_child() {
    be_child(&app());
}

/// The tasks that children of the tests run.
pub(super) fn app() -> App {
    let tasks: [Named; 20] = [
        ("echo", |_, _, arguments| Ok(first(arguments))),
        ("pid", |_, _, _| Ok(Value::Int(std::process::id().into()))),
        ("fail", |_, _, _| Err(TaskError::failure("Broken", "it broke").permanent())),
        ("retry", |_, _, _| Err(TaskError::retry().countdown(Duration::from_secs(7)))),
        ("ignore", |_, _, _| Err(TaskError::ignore())),
        ("refuse", |_, _, _| Err(TaskError::reject(true, "not now"))),
        ("panic", |_, _, _| panic!("the sky falls")),
        ("obey", |context, _, _| Ok(context.cancellation().sleep_blocking(HOURS).map(|()| Value::Null)?)),
        ("hang", |_, _, _| hang()),
        ("signal", |_, _, arguments| die(&first(arguments))),
        ("exit", |_, _, arguments| std::process::exit(number(&first(arguments)) as i32)),
        ("report", report),
        ("print", print),
        ("large", |_, _, arguments| Ok(text_of(number(&first(arguments)) as usize))),
        ("grow", |_, _, arguments| grow(number(&first(arguments)) as usize)),
        ("run_out_of_memory", run_out_of_memory),
        ("nap", nap),
        ("start_myself", |_, _, _| start_myself()),
        ("panic_twice", |_, _, _| std::panic::panic_any(PanicsOnceMore)),
        ("close_sockets", |_, _, _| close_sockets()),
    ];
    App::new("tests").tasks(tasks.map(isolated))
}

type Named = (&'static str, fn(&Context, &LocalSet, Arguments) -> Returned);

fn isolated((name, body): Named) -> TaskDefinition {
    let mut options = TaskOptions::default();
    options.isolation = Isolation::Process;
    TaskDefinition::new(name, TaskBody::blocking(body)).with_options(options)
}

const HOURS: Duration = Duration::from_secs(3600 * 10);

fn first(arguments: Arguments) -> Value {
    arguments.args.into_iter().next().unwrap_or_default()
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn text_of(length: usize) -> Value {
    Value::String("x".repeat(length).into())
}

/// Waits for what never happens, whatever it is asked.
pub(super) fn hang() -> ! {
    let never = Mutex::new(());
    let mut guard = never.lock().unwrap();
    loop {
        guard = Condvar::new().wait(guard).unwrap();
    }
}

fn die(signal: &Value) -> ! {
    let signal = i32::try_from(number(signal)).ok().and_then(Signal::from_named_raw).unwrap_or(Signal::KILL);
    kill_process(getpid(), signal).unwrap();
    hang()
}

fn report(context: &Context, _: &LocalSet, arguments: Arguments) -> Returned {
    for step in 0..number(&first(arguments)) {
        context.update_state("PROGRESS", step)?;
    }
    Ok(Value::Null)
}

fn print(_: &Context, _: &LocalSet, arguments: Arguments) -> Returned {
    let said = first(arguments);
    println!("{} on stdout", said.as_str().unwrap_or_default());
    eprint!("{} on stderr without an end", said.as_str().unwrap_or_default());
    Ok(Value::Null)
}

fn grow(mebibytes: usize) -> Returned {
    let memory = vec![1_u8; mebibytes << 20];
    std::hint::black_box(&memory);
    std::mem::forget(memory);
    Ok(Value::Int(std::process::id().into()))
}

/// Starts this executable as a task would start any program, and says how it ended.
fn start_myself() -> Returned {
    let status = Command::new("/proc/self/exe")
        .args(arguments_of("ordinary_child"))
        .stdin(Stdio::inherit())
        .stdout(Stdio::null())
        .status()?;
    Ok(Value::Bool(status.success()))
}

/// A panic that goes on after it was caught: outside of the task.
struct PanicsOnceMore;

impl Drop for PanicsOnceMore {
    fn drop(&mut self) {
        panic!("the sky has fallen");
    }
}

/// Closes the socket of this child and those that the program has made, as a careless library does with all files before it
/// starts another program. Not the other files: one that another thread has open for a moment would be closed twice, and those
/// of the runtime make it panic and close them again. In debug builds the standard library aborts then, sooner or later than
/// the child ends.
#[expect(unsafe_code, reason = "no safe code can close what it does not own")]
fn close_sockets() -> Returned {
    let mut sockets = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let number: RawFd = entry?.file_name().to_string_lossy().parse()?;
        // SAFETY: it is asked about, and whatever it is, an error says that it is not what is looked for.
        let file = unsafe { BorrowedFd::borrow_raw(number) };
        if socket_peercred(file).is_ok_and(|peer| Some(peer.pid) == getppid()) {
            sockets.push(number);
        }
    }
    assert_eq!(sockets.len(), 2, "the child has its socket twice");
    sockets.extend_from_slice(&OWN_SOCKETS.lock().unwrap());
    for socket in sockets {
        // SAFETY: none: that nothing can be relied on afterwards is what is tested.
        unsafe { libc::close(socket) };
    }
    Ok(Value::Null)
}

/// Counts a kill for want of memory, as the kernel would, and dies of it.
fn run_out_of_memory(_: &Context, _: &LocalSet, arguments: Arguments) -> Returned {
    std::fs::write(first(arguments).as_str().unwrap_or_default(), "oom_kill 1")?;
    die(&Value::Int(9))
}

/// Takes a moment: so many microseconds.
fn nap(context: &Context, _: &LocalSet, arguments: Arguments) -> Returned {
    let moment = Duration::from_micros(number(&first(arguments)).unsigned_abs());
    context.cancellation().sleep_blocking(moment)?;
    Ok(Value::Null)
}

/// The file that the parent named for this program.
fn diary() -> Option<PathBuf> {
    std::env::args().find_map(|argument| argument.strip_prefix(DIARY).map(PathBuf::from))
}

/// Leaves a line in the diary.
fn note(line: &str) {
    let Some(path) = diary() else { return };
    let mut diary = OpenOptions::new().append(true).create(true).open(path).unwrap();
    diary.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Something that notes when it comes and goes.
struct Noted(&'static str);

impl Noted {
    fn new(name: &'static str) -> Self {
        note(&format!("{name} built"));
        Self(name)
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        note(&format!("{} dropped", self.0));
    }
}

struct Pool(#[expect(dead_code, reason = "held for its drop")] Noted);

struct Connection(#[expect(dead_code, reason = "held for its drop")] Noted);

/// A task that asks for these resources.
fn using(resources: Vec<ResourceRequest>) -> TaskDefinition {
    let mut task = isolated(("use", |_, _, _| Ok(Value::Int(std::process::id().into()))));
    task.resources = resources;
    task
}

#[test]
fn child_with_diary() {
    fn infallible<T>(value: T) -> std::io::Result<T> {
        Ok(value)
    }
    be_child(
        &app()
            .resource(Resource::per_process(move |_| infallible(Pool(Noted::new("pool")))))
            .resource(Resource::per_thread(|_| infallible(Connection(Noted::new("connection")))))
            .on(signals::worker_process_init, |process: &Process| {
                note(&format!("init of {}", process.worker()));
            })
            .on(signals::worker_process_shutdown, |_| note("shutdown"))
            .task(using(vec![ResourceRequest::shared::<Pool>(), ResourceRequest::local::<Connection>()])),
    );
}

#[test]
fn child_that_waits_for_its_diary() {
    let build = |_: &Process| match diary() {
        Some(path) if path.exists() => Ok(Connection(Noted::new("connection"))),
        _ => Err("there is no diary yet"),
    };
    be_child(
        &app()
            .resource(Resource::per_thread(build))
            .task(using(vec![ResourceRequest::local::<Connection>()])),
    );
}

#[test]
fn child_without_its_resource() {
    be_child(&app().task(using(vec![ResourceRequest::local::<Connection>()])));
}

thread_local! {
    /// What a driver keeps for its thread.
    static KEPT: Cell<Option<UnixStream>> = const { Cell::new(None) };
}

/// Owns sockets: a resource has one, and the thread of tasks another.
#[test]
fn child_with_sockets() {
    let connect = |_: &Process| {
        let (one, other) = UnixStream::pair()?;
        OWN_SOCKETS.lock().unwrap().extend([one.as_raw_fd(), other.as_raw_fd()]);
        KEPT.set(Some(one));
        std::io::Result::Ok(other)
    };
    let mut task = isolated(("close_sockets", |_, _, _| close_sockets()));
    task.resources = vec![ResourceRequest::local::<UnixStream>()];
    be_child(&App::new("tests").resource(Resource::per_thread(connect)).task(task));
}

#[test]
fn child_with_slow_init() {
    be_child(&app().on(signals::worker_process_init, |_| {
        let long = CancellationToken::new().sleep_blocking(Duration::from_secs(5));
        assert!(long.is_ok(), "nobody cancels it");
    }));
}

#[test]
fn child_that_never_says_hello() {
    if take_socket().is_some() {
        hang();
    }
}

#[test]
fn child_that_exits() {
    if take_socket().is_some() {
        std::process::exit(5);
    }
}

#[test]
fn child_that_talks_nonsense() {
    if let Some(mut socket) = take_socket() {
        socket.write_all(&[0xff; 64]).unwrap();
        hang();
    }
}

/// Runs `large` by writing half of its result and dying, and every other task by doing nothing.
#[test]
fn child_that_dies_in_the_midst_of_a_frame() {
    let Some(mut socket) = take_socket() else { return };
    let sender = Sender::new(socket.try_clone().unwrap());
    let mut receiver = Receiver::new(socket.try_clone().unwrap());
    let say = |head| sender.send(&head, Bytes::new()).unwrap();
    say(FromChild::Hello { version: VERSION, pid: std::process::id() });
    say(FromChild::Ready { jobs: 1, memory: 0 });
    while let Some((head, _)) = receiver.receive::<ToChild>().unwrap() {
        let ToChild::Job(JobHead { id, task, .. }) = head else { continue };
        say(FromChild::Started { id: id.clone() });
        let done = FromChild::Done {
            id,
            ending: TaskEnding::Success,
            left: None,
            runtime: Duration::ZERO,
            memory: Some(0),
        };
        if task.as_str() != "large" {
            say(done);
            continue;
        }
        let frame = protocol::encode(&done, vec![b'1'; 8 << 20].into(), frame::DEFAULT_LIMIT).unwrap();
        socket.write_all(&frame.start).unwrap();
        socket.write_all(&frame.body[..4 << 20]).unwrap();
        die(&Value::Int(9));
    }
}

/// A worker whose children outlive it, if they can: it prints their process ids and dies.
#[test]
fn worker_that_dies() {
    if diary().is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut bench = Bench::ready(2).await;
        bench.run("hang", []).await;
        bench.pids().iter().for_each(|pid| note(&pid.to_string()));
    });
    die(&Value::Int(9));
}
