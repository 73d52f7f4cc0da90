//! A private store, and the programs of both languages on it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use celeriac::Settings;
use celeriac::prelude::*;
use celeriac_faults::Server;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::package;

/// How long anything may take before it counts as not happening.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One test for each of these and each store.
macro_rules! on_each_store {
    ($($name:ident,)*) => {
        mod on_redis {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::harness::Broker::start()).await;
            })*
        }

        mod embedded {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::harness::Broker::embedded()).await;
            })*
        }
    };
}

pub(crate) use on_each_store;

/// One store for one test.
pub(crate) struct Broker {
    place: Place,
    /// Transport options of the broker and of the results, for the programs of both languages.
    options: [&'static str; 2],
}

/// Where the messages and results of a test are.
enum Place {
    Redis(Server),
    /// The embedded store, and our Python package as if it was installed.
    File {
        folder: tempfile::TempDir,
        installed: tempfile::TempDir,
    },
}

/// A process with its children, which ends with its test.
pub(crate) struct Program(Child);

impl Broker {
    pub(crate) fn start() -> Self {
        Self::with_options("", "")
    }

    /// As [`Broker::start`], with transport options as JSON that everybody has.
    pub(crate) fn with_options(broker: &'static str, results: &'static str) -> Self {
        Self { place: Place::Redis(Server::start()), options: [broker, results] }
    }

    /// A file that is not there yet.
    pub(crate) fn embedded() -> Self {
        let folder = tempfile::tempdir().expect("tests can write to the temporary folder");
        Self { place: Place::File { folder, installed: package::install() }, options: ["", ""] }
    }

    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Redis(server) => server.url(0),
            Place::File { .. } => format!("sqlite:///{}", self.file().display()),
        }
    }

    /// The file of an embedded store.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.place {
            Place::Redis(_) => panic!("a server has no file"),
            Place::File { folder, .. } => folder.path().join("celeriac.db"),
        }
    }

    /// The server itself.
    pub(crate) fn redis(&self) -> redis::Connection {
        match &self.place {
            Place::Redis(server) => server.connection(),
            Place::File { .. } => panic!("a file is no server"),
        }
    }

    /// The program in Rust as a client.
    pub(crate) fn app(&self) -> App {
        let (url, [broker, results]) = (self.url(), self.options);
        celeriac_interop::app().settings(|settings: &mut Settings| {
            settings.broker_url = url;
            settings.set("broker_transport_options", broker).unwrap();
            settings.set("result_backend_transport_options", results).unwrap();
        })
    }

    /// Starts a worker in Rust on the queue that everybody uses, and waits until it takes tasks.
    pub(crate) async fn rust_worker(&self, settings: &[(&str, &str)]) -> Program {
        self.rust_worker_on("celery", settings).await
    }

    /// As [`Broker::rust_worker`], on another queue.
    pub(crate) async fn rust_worker_on(&self, queue: &str, settings: &[(&str, &str)]) -> Program {
        let program = self.rust_worker_of(queue, settings);
        self.wait_for("rust", queue).await;
        program
    }

    /// Starts a worker in Rust, which takes tasks when it can.
    fn rust_worker_of(&self, queues: &str, settings: &[(&str, &str)]) -> Program {
        let mut worker = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
        worker
            .args(["worker", "--loglevel", "warning", "--concurrency", "2", "--queues", queues])
            .env("CELERIAC_BROKER_URL", self.url())
            .env("CELERIAC_BROKER_TRANSPORT_OPTIONS", self.options[0])
            .env("CELERIAC_RESULT_BACKEND_TRANSPORT_OPTIONS", self.options[1])
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Program::start(worker)
    }

    /// Starts a stock Celery worker and waits until it takes tasks.
    pub(crate) async fn python_worker(&self, settings: &[(&str, &str)]) -> Program {
        let program = self.stock_worker(&["tasks", "worker", "--concurrency", "1"], settings);
        self.wait_for("python", "celery").await;
        program
    }

    /// Starts a stock Celery worker, which takes tasks when it can: `app` and more.
    fn stock_worker(&self, app: &[&str], settings: &[(&str, &str)]) -> Program {
        let mut worker = self.python();
        worker
            .args(["-m", "celery", "--app"])
            .args(app)
            .args(["--loglevel", "WARNING"])
            .envs(settings.iter().copied())
            .stdout(Stdio::null());
        Program::start(worker)
    }

    /// Starts a stock worker that knows the tasks of canvases, on its own queue and the shared one.
    pub(crate) fn stock_canvas_worker(&self) -> Program {
        let queues = ["--queues", "stock,shared", "--hostname", "stock@interop"];
        let app = [&["canvas_tasks", "worker", "--concurrency", "2"], &queues[..]].concat();
        self.stock_worker(&app, &[("CELERY_QUEUE", "stock")])
    }

    /// Starts a worker in Rust that knows the tasks of canvases, on its own queue and the shared one.
    pub(crate) fn rust_canvas_worker(&self, settings: &[(&str, &str)]) -> Program {
        let settings = [&[("CELERIAC_TASK_DEFAULT_QUEUE", "ours")], settings].concat();
        self.rust_worker_of("ours,shared", &settings)
    }

    /// Waits until a worker of that kind takes tasks, whoever else does.
    async fn wait_for(&self, kind: &str, queue: &str) {
        let app = self.app();
        let until = Instant::now() + DEADLINE;
        loop {
            assert!(Instant::now() < until, "no worker in {kind} takes tasks");
            let calls = (0..20).map(|n| celeriac_interop::shared_add.s(n, 1).queue(queue));
            let mut sent = Vec::new();
            for call in calls {
                sent.push(call.apply_async(&app).await.unwrap());
            }
            let mut seen = false;
            for result in sent {
                seen |= result.get(DEADLINE).await.expect("somebody runs tasks").1 == kind;
            }
            if seen {
                return;
            }
        }
    }

    /// Begins one scenario of a script in Python.
    pub(crate) fn begin(&self, script: &str, name: &str) -> Program {
        self.run(script, &[name])
    }

    /// Begins a script in Python.
    pub(crate) fn run(&self, script: &str, arguments: &[&str]) -> Program {
        let mut command = self.python();
        // A failing test says what it said: see `Program::succeed`.
        command.arg(script).args(arguments).stdout(Stdio::piped());
        Program::start(command)
    }

    /// Begins a script in Python, in this folder.
    pub(crate) fn run_in(&self, folder: &Path, script: &str, arguments: &[&str]) -> Program {
        let mut command = self.python();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script);
        command.arg(script).args(arguments).current_dir(folder).env("CELERY_RESULT_BACKEND", self.url());
        command.stdout(Stdio::piped());
        Program::start(command)
    }

    /// The interpreter, in the folder of the scripts.
    pub(crate) fn python(&self) -> Command {
        let interpreter = std::env::var_os("CELERIAC_TEST_PYTHON")
            .expect("CELERIAC_TEST_PYTHON names a Python with Celery: `cargo xtask test` makes one");
        let mut command = Command::new(interpreter);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("python"))
            .env("CELERY_BROKER_URL", self.url())
            .env("RUST_TASKS", env!("CARGO_BIN_EXE_rust-tasks"))
            .env("RUST_CANVASES", env!("CARGO_BIN_EXE_rust-canvases"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        if let Place::File { installed, .. } = &self.place {
            command.env("PYTHONPATH", package::path(installed));
        }
        let names = ["BROKER_TRANSPORT_OPTIONS", "RESULT_TRANSPORT_OPTIONS"];
        for (name, options) in names.into_iter().zip(self.options) {
            command.env(name, if options.is_empty() { "{}" } else { options });
        }
        command
    }
}

impl Program {
    /// Starts it as the head of a process group of its own.
    pub(crate) fn start(mut command: Command) -> Self {
        Self(command.process_group(0).spawn().expect("the program is built, or the interpreter installed"))
    }

    /// Kills it and its children at once, as the end of their machine does.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// Stops it and its children where they are, as a debugger does, until [`Program::go_on`] or its end.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Program::pause`].
    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(group) = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw) {
            // There is nobody left to hear it when it has ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }

    /// Kills it, and not its children.
    pub(crate) fn kill_alone(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Waits for its end, which must be a success.
    pub(crate) async fn succeed(self) {
        let (status, said) = self.ended().await;
        assert!(status.success(), "{status}: its errors are above, and this is what it said:\n{said}");
    }

    /// Waits for its end, and what it said until then if that is asked for ([`Broker::run`]).
    pub(crate) async fn ended(mut self) -> (ExitStatus, String) {
        let stdout = self.0.stdout.take();
        let wait = move || (stdout.map(std::io::read_to_string), self.0.wait());
        let (said, status) = tokio::task::spawn_blocking(wait).await.unwrap();
        (status.unwrap(), said.transpose().unwrap().unwrap_or_default())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Where `shared.slow` says that it runs.
pub(crate) struct Attendant(tokio::net::TcpListener);

/// One run of `shared.slow`, which lasts as long as this.
pub(crate) struct Run {
    pub(crate) kind: String,
    connection: tokio::net::TcpStream,
}

impl Attendant {
    pub(crate) async fn listen() -> Self {
        Self(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The argument of the task.
    pub(crate) fn address(&self) -> String {
        self.0.local_addr().unwrap().to_string()
    }

    /// The next run, which must begin soon.
    pub(crate) async fn run(&self) -> Run {
        tokio::time::timeout(DEADLINE, self.accept()).await.expect("the task begins to run")
    }

    /// The next run, however long it takes to begin.
    pub(crate) async fn accept(&self) -> Run {
        let mut connection = self.0.accept().await.unwrap().0;
        let mut kind = String::new();
        while !kind.ends_with('\n') {
            kind.push(connection.read_u8().await.expect("the task says who runs it").into());
        }
        Run { kind: kind.trim().to_owned(), connection }
    }
}

impl Run {
    /// Lets it end.
    pub(crate) async fn end(mut self) {
        self.connection.write_all(b".").await.expect("the task still runs");
    }
}

/// Whether what a test needs is there, as this command shows. Where it is not the test is skipped, visibly, unless nothing
/// may be.
pub(super) fn succeeds(what: &str, command: &mut Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = status.is_ok_and(|status| status.success());
    let is_required = std::env::var_os("CELERIAC_TEST_REQUIRE").is_some_and(|value| value != "0");
    assert!(found || !is_required, "{what} is missing");
    if !found {
        eprintln!("skipped: {what} is missing");
    }
    found
}
