//! Starting children: one permanent thread does nothing else.
//!
//! The kernel kills a child when the *thread* that started it ends, not the process
//! (`PR_SET_PDEATHSIG`, prctl(2)). A thread of an async runtime may end at any time; this one ends only
//! when the pool has seen its last child die.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use super::ahead::Ahead;
use super::process::Process;
use super::template::{Runs, Template};

/// The variable that makes a fresh process a child: it holds the process id of the parent.
///
/// A process that merely inherited the variable has another parent, and ignores it.
pub(super) const PARENT_VARIABLE: &str = "CELERIAC_CHILD_OF";

/// What to start: by default this executable with its own arguments.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// The path to execute.
    pub(crate) path: OsString,
    /// The name it is given, its `argv[0]`.
    pub(crate) name: OsString,
    /// The arguments after the name.
    pub(crate) arguments: Vec<OsString>,
}

impl Program {
    /// This program again, even if its file has been replaced or removed since it started.
    pub(crate) fn this() -> Self {
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| "celeriac".into());
        Self { path: "/proc/self/exe".into(), name, arguments: arguments.collect() }
    }
}

/// Where children come from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// A program that is started anew for each.
    Program(Program),
    /// A Python process that makes them.
    Template {
        template: Template,
        /// How they run tasks.
        runs: Runs,
        /// The index of the first of them; other pools have those before.
        first: usize,
    },
}

impl Source {
    /// What the child of this number is called in logs.
    pub(super) fn name_of(&self, number: u32) -> String {
        match self {
            Self::Program(_) => format!("child-{number}"),
            Self::Template { runs, .. } => format!("{}-{number}", runs.name()),
        }
    }
}

/// What a new child is.
#[derive(Clone, Debug)]
pub(super) struct Birth {
    /// Counts the children of a pool, from 1.
    pub(super) number: u32,
    /// Which slot it is for.
    pub(super) index: usize,
    /// What it is called in logs.
    pub(super) name: Box<str>,
    /// How many tasks it is to take at once.
    pub(super) jobs: usize,
}

/// A child that was just started, with the parent's ends of everything it is connected by.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) process: Process,
    pub(super) socket: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// Where it can be given jobs ahead.
    pub(super) ahead: Option<Ahead>,
    /// What it is called in logs, if that is another name than was asked for.
    pub(super) name: Option<Box<str>>,
}

/// Starts children. When this is dropped, what lives of them ends.
#[derive(Debug)]
pub(super) enum Spawner {
    /// By a thread that does nothing else, and ends with this.
    Thread(mpsc::Sender<oneshot::Sender<io::Result<Spawned>>>),
    /// By asking the template for children that run tasks like this, the first of them at this index.
    Template(Template, Runs, usize),
}

impl Spawner {
    /// Makes ready to start children.
    pub(super) fn start(source: Source) -> io::Result<Self> {
        let program = match source {
            Source::Program(program) => program,
            Source::Template { template, runs, first } => return Ok(Self::Template(template, runs, first)),
        };
        let (orders, received) = mpsc::channel::<oneshot::Sender<io::Result<Spawned>>>();
        thread::Builder::new().name("spawner".into()).spawn(move || {
            for order in received {
                // If nobody waits for it any more, the child sees its socket close and ends.
                let _ = order.send(spawn(&program));
            }
        })?;
        Ok(Self::Thread(orders))
    }

    /// Starts one child; the answer comes when it has been started, well before it is ready.
    pub(super) fn spawn(&self, birth: Birth) -> oneshot::Receiver<io::Result<Spawned>> {
        let (answer, started) = oneshot::channel();
        match self {
            // The thread only ends with this sender, so that it is gone can only mean that it could not go on;
            // the dropped answer then tells the caller.
            Self::Thread(orders) => drop(orders.send(answer)),
            Self::Template(template, runs, first) => {
                let index = first + birth.index;
                template.fork(Birth { index, ..birth }, *runs, answer);
            }
        }
        started
    }
}

/// Starts one child in a process group of its own, with its end of a new socket pair as standard input.
///
/// Standard input is the one descriptor that can be handed over without unsafe code, and without its being
/// inherited by a sibling that is started at the same moment: everything else here is close-on-exec.
fn spawn(program: &Program) -> io::Result<Spawned> {
    let (socket, theirs) = UnixStream::pair()?;
    let mut child = Command::new(&program.path)
        .arg0(&program.name)
        .args(&program.arguments)
        .env(PARENT_VARIABLE, std::process::id().to_string())
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let process = match Process::adopt(&child) {
        Ok(process) => process,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        unreachable!("both were asked for as pipes two lines above")
    };
    Ok(Spawned { process, socket, stdout: stdout.into(), stderr: stderr.into(), ahead: None, name: None })
}
