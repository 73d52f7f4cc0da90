//! Runs the program of `program.rs` in a folder of its own, with a deadline on everything.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use celeriac_protocol::{Value, json};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long anything may take here; only what hangs takes that long.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// The program, and the folder in which it keeps its store.
pub(crate) struct Program {
    folder: TempDir,
    /// What else it finds in its environment.
    variables: Vec<(&'static str, &'static str)>,
    /// What starts it in its place.
    launcher: &'static [&'static str],
}

/// How one run of the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A run of the program that goes on, such as a worker. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// Every line until now, for the message of a test that fails.
    seen: Vec<String>,
}

impl Program {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        Self { folder, variables: Vec::new(), launcher: &[] }
    }

    /// The same program, started by another one that takes its command line.
    pub(crate) fn started_by(mut self, launcher: &'static [&'static str]) -> Self {
        self.launcher = launcher;
        self
    }

    /// The same program with one more environment variable.
    pub(crate) fn with_variable(mut self, name: &'static str, value: &'static str) -> Self {
        self.variables.push((name, value));
        self
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder().join(name);
        std::fs::write(&path, content).expect("the temporary folder can be written");
        path
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Self::end(args, self.command(args).spawn().expect("the program starts"))
    }

    /// As [`Program::run`], with this on standard input.
    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("the stream is a pipe");
        stdin.write_all(input.as_bytes()).expect("a few bytes fit into a pipe");
        drop(stdin);
        Self::end(args, child)
    }

    fn end(args: &[&str], mut child: Child) -> Ended {
        let (out, err) = (read_all(child.stdout.take()), read_all(child.stderr.take()));
        let within = || format!("{args:?} ends within {DEADLINE:?}");
        let out = out.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}", killed(&mut child, &within())));
        let err = err.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{}", killed(&mut child, &within())));
        let code =
            child.wait().expect("a child can be waited for").code().expect("the program ends by itself");
        Ended { code, out, err }
    }

    /// Runs a command that must succeed, and returns what it printed, trimmed.
    pub(crate) fn succeed(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{args:?}: {ended:?}");
        ended.out.trim_end().to_owned()
    }

    /// As [`Program::succeed`] with `--json`, parsed.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let text = self.succeed(&[args, &["--json"]].concat());
        json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{args:?}: {error}: {text}"))
    }

    /// Starts a command that goes on, its output and errors as one stream of lines.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let mut child = self.command(args).spawn().expect("the program starts");
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take(), sender.clone());
        forward(child.stderr.take(), sender);
        Running { child, lines, seen: Vec::new() }
    }

    /// Starts a worker and waits until it takes tasks.
    pub(crate) fn start_worker(&self, args: &[&str]) -> Running {
        let mut worker = self.start(&[&["worker", "-l", "info"], args].concat());
        worker.wait_for("ready");
        worker
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = match self.launcher {
            [] => Command::new(executable()),
            [launcher, arguments @ ..] => {
                let mut command = Command::new(launcher);
                command.args(arguments).arg(executable());
                command
            }
        };
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CELERIAC_"))
        {
            command.env_remove(name);
        }
        command.args(args).current_dir(self.folder()).env("CELERIAC_BROKER_URL", "sqlite:///tasks.db");
        command.envs(self.variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

impl Running {
    /// Waits for a line with this text and returns it.
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("no line with {text:?} came: {:#?}", self.seen);
            };
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a child that was not waited for can be signalled");
    }

    /// Waits until it ends, and returns its exit code and the lines it printed.
    pub(crate) fn end(mut self) -> (i32, Vec<String>) {
        let deadline = Instant::now() + DEADLINE;
        // The streams end with the process.
        while let Ok(line) = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen.push(line);
        }
        assert!(Instant::now() < deadline, "it did not end: {:#?}", self.seen);
        let status = self.child.wait().expect("a child can be waited for");
        let code = status.code().unwrap_or_else(|| panic!("it ended by {status}: {:#?}", self.seen));
        (code, std::mem::take(&mut self.seen))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The example beside this test.
fn executable() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    let folder = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let program = folder.join("examples/cli-test-program");
    assert!(program.exists(), "build it first: cargo build -p celeriac-cli --example cli-test-program");
    program
}

fn read_all(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let mut stream = stream.expect("the stream is a pipe");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

fn forward(stream: Option<impl Read + Send + 'static>, lines: mpsc::Sender<String>) {
    let stream = stream.expect("the stream is a pipe");
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
}

fn killed(child: &mut Child, expected: &str) -> String {
    let _ = child.kill();
    format!("it had to be killed; expected: {expected}")
}
