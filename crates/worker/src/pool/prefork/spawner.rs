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

use super::process::Process;

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

/// A child that was just started, with the parent's ends of everything it is connected by.
#[derive(Debug)]
pub(super) struct Spawned {
    pub(super) process: Process,
    pub(super) socket: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// The thread that starts children. When this is dropped the thread ends, and what lives of its children with it.
#[derive(Debug)]
pub(super) struct Spawner {
    orders: mpsc::Sender<oneshot::Sender<io::Result<Spawned>>>,
}

impl Spawner {
    /// Starts the thread.
    pub(super) fn start(program: Program) -> io::Result<Self> {
        let (orders, received) = mpsc::channel::<oneshot::Sender<io::Result<Spawned>>>();
        thread::Builder::new().name("spawner".into()).spawn(move || {
            for order in received {
                // If nobody waits for it any more, the child sees its socket close and ends.
                let _ = order.send(spawn(&program));
            }
        })?;
        Ok(Self { orders })
    }

    /// Starts one child; the answer comes when it has been started, well before it is ready.
    pub(super) fn spawn(&self) -> oneshot::Receiver<io::Result<Spawned>> {
        let (answer, started) = oneshot::channel();
        // The thread only ends with this sender, so that it is gone can only mean that it could not go on;
        // the dropped answer then tells the caller.
        let _ = self.orders.send(answer);
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
    Ok(Spawned { process, socket, stdout: stdout.into(), stderr: stderr.into() })
}
