//! A private Redis server, and the programs of both languages on it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use celeriac::Settings;
use celeriac::prelude::*;
use tempfile::TempDir;

/// How long anything may take before it counts as not happening.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// One server for one test.
pub(crate) struct Broker {
    _folder: TempDir,
    port: u16,
    server: Child,
}

/// A process that ends with its test.
pub(crate) struct Program(Child);

impl Broker {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server can be started");
        let until = Instant::now() + DEADLINE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not listen");
            std::thread::yield_now();
        }
        Self { _folder: folder, port, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The program in Rust as a client.
    pub(crate) fn app(&self) -> App {
        let url = self.url();
        celeriac_interop::app().settings(|settings: &mut Settings| settings.broker_url = url)
    }

    /// Starts a worker in Rust on the queue that everybody uses, and waits until it takes tasks.
    pub(crate) async fn rust_worker(&self, settings: &[(&str, &str)]) -> Program {
        self.rust_worker_on("celery", settings).await
    }

    /// As [`Broker::rust_worker`], on another queue.
    pub(crate) async fn rust_worker_on(&self, queue: &str, settings: &[(&str, &str)]) -> Program {
        let worker = Command::new(env!("CARGO_BIN_EXE_rust-tasks"))
            .args(["worker", "--loglevel", "warning", "--concurrency", "2", "--queues", queue])
            .env("CELERIAC_BROKER_URL", self.url())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program is built with the tests");
        let program = Program(worker);
        let ready = celeriac_interop::add.s(1, 1).queue(queue).apply_async(&self.app()).await.unwrap();
        assert_eq!(ready.get(DEADLINE).await.expect("the worker in Rust runs tasks"), 2);
        program
    }

    /// Starts a stock Celery worker and waits until it takes tasks.
    pub(crate) async fn python_worker(&self, settings: &[(&str, &str)]) -> Program {
        let worker = self
            .python()
            .args(["-m", "celery", "--app", "tasks", "worker", "--concurrency", "1", "--loglevel", "WARNING"])
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("the interpreter starts");
        let program = Program(worker);
        let ready: AsyncResult<i64> =
            self.app().send_task("python.add", args![1, 1], kwargs! {}).await.unwrap();
        ready.get(DEADLINE).await.expect("the worker in Python runs tasks");
        program
    }

    /// Runs one scenario of a script in Python, which must succeed.
    pub(crate) fn scenario(&self, script: &str, name: &str) {
        let output = self.python().arg(script).arg(name).output().expect("the interpreter starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script} {name}: {}\n{said}", output.status);
    }

    /// The interpreter, in the folder of the scripts.
    fn python(&self) -> Command {
        let interpreter = std::env::var_os("CELERIAC_TEST_PYTHON")
            .expect("CELERIAC_TEST_PYTHON names a Python with Celery: `cargo xtask test` makes one");
        let mut command = Command::new(interpreter);
        command
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("python"))
            .env("CELERY_BROKER_URL", self.url())
            .env("RUST_TASKS", env!("CARGO_BIN_EXE_rust-tasks"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
