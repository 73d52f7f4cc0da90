//! Workers as processes of their own, on a store in a temporary folder or on a server.

use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

use celeriac::Settings;
use celeriac::prelude::*;
use celeriac::store::{ConnectOptions, Store, connect};
use celeriac_recovery::patient;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The name of the file of an embedded store.
const FILE: &str = "ward.db";

/// How long a worker may take to end.
const ENDS: Duration = Duration::from_secs(60);

/// A store, its diary, and the workers on it.
pub(crate) struct Ward {
    folder: TempDir,
    /// The store as workers see it, and as tests do.
    urls: [String; 2],
    workers: u32,
    /// Whether workers keep their log to themselves.
    is_quiet: bool,
    settings: Vec<(String, String)>,
}

/// One running worker.
pub(crate) struct Patient {
    /// Its number in the diary.
    pub(crate) number: u32,
    process: Child,
}

impl Ward {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("the temporary folder is writable");
        let url = format!("sqlite:///{}", folder.path().join(FILE).display());
        Self { folder, urls: [url.clone(), url], workers: 0, is_quiet: false, settings: Vec::new() }
    }

    /// On the server of these URLs: the first is that of the workers.
    pub(crate) fn on(workers: String, tests: String) -> Self {
        Self { urls: [workers, tests], ..Self::new() }
    }

    /// Sets a setting of the workers that start from now on.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.settings.push((format!("CELERIAC_{}", name.to_uppercase()), value.to_owned()));
        self
    }

    /// The file of its store, unless that is on a server.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }

    /// Workers that start from now on keep their log to themselves: many tasks fail, as they should.
    pub(crate) fn quiet(self) -> Self {
        Self { is_quiet: true, ..self }
    }

    /// Where the tasks write down what they do.
    pub(crate) fn diary(&self) -> PathBuf {
        self.folder.path().join("diary")
    }

    /// While this file is there, no child of a worker gets through its start.
    pub(crate) fn stuck(&self) -> PathBuf {
        self.folder.path().join("stuck")
    }

    /// The program as a client of this store.
    pub(crate) fn app(&self) -> App {
        let url = self.urls[1].clone();
        patient::app().settings(|settings: &mut Settings| settings.broker_url = url)
    }

    /// The store itself.
    pub(crate) async fn store(&self) -> Store {
        self.store_with(&ConnectOptions::default()).await
    }

    /// The store itself, whose answers may take that long.
    pub(crate) async fn patient_store(&self, deadline: Duration) -> Store {
        self.store_with(&ConnectOptions { deadline, ..ConnectOptions::default() }).await
    }

    async fn store_with(&self, options: &ConnectOptions) -> Store {
        connect(&self.urls[1], options).await.expect("the store opens")
    }

    /// Starts a worker.
    pub(crate) fn start_worker(&mut self) -> Patient {
        let number = self.workers + 1;
        let mut worker = self.worker("warning");
        if self.is_quiet {
            worker.stderr(Stdio::null());
        }
        let process = worker.spawn().expect("the worker program is built with the tests");
        Patient { number, process }
    }

    /// Starts a worker whose log is read, down to this level.
    pub(crate) fn start_worker_with_log(&mut self, level: &str) -> (Patient, ChildStderr) {
        let number = self.workers + 1;
        let mut worker = self.worker(level);
        let mut process =
            worker.stderr(Stdio::piped()).spawn().expect("the worker program is built with the tests");
        let log = process.stderr.take().expect("it is piped");
        (Patient { number, process }, log)
    }

    fn worker(&mut self, level: &str) -> Command {
        self.workers += 1;
        let number = self.workers;
        let mut worker = Command::new(env!("CARGO_BIN_EXE_patient"));
        worker
            .args(["worker", "--loglevel", level, "--concurrency", "4"])
            .args(["--hostname", &format!("patient{number}@ward")])
            .env("CELERIAC_BROKER_URL", &self.urls[0])
            .env(patient::DIARY, self.diary())
            .env(patient::STUCK, self.stuck())
            .env(patient::WORKER, number.to_string())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        worker
    }
}

impl Patient {
    /// Whether it has ended by itself.
    pub(crate) fn is_dead(&mut self) -> bool {
        self.process.try_wait().expect("the worker is our child").is_some()
    }

    /// The number of its process.
    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it this signal, and awaits the code with which it ends.
    pub(crate) fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.process), signal).expect("the worker is our child");
        self.wait()
    }

    /// Awaits the code with which it ends by itself.
    #[expect(
        clippy::disallowed_methods,
        reason = "the end of a process cannot be awaited for a limited time"
    )]
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().expect("the worker is our child") {
                return status.code();
            }
            assert!(began.elapsed() < ENDS, "the worker has not ended within {ENDS:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, and the end of the process awaited.
    pub(crate) fn kill(mut self) -> u32 {
        self.process.kill().expect("the worker is our child");
        self.process.wait().expect("the worker is our child");
        self.number
    }
}

impl Drop for Patient {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
