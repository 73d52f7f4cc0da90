//! The template: a Python process that has imported a Celery application and forks the children in which its tasks run.
//!
//! It does in Python what the parent of a Celery worker does there before it forks: it loads the application, sends the
//! signals of the start, and says what the application asks for. Its children become children of this process (it forks
//! twice, and this process adopts orphans), so they are supervised as all others are. When it dies, the children that there
//! are work on, and the next one needs a new template.
//!
//! ```text
//!  template                              parent
//!                                ◀──     sources + the Python code of the template
//!    hello {version, pid}        ──▶
//!                                ◀──     start + the command line
//!    app + what the application asks for, or failed {why}  ──▶
//!                                ◀──     fork {number, index, name, runs, jobs} + the child's end of its socket
//!    forked {number, pid, name}  ──▶
//!                                ◀──     signal {name, data}
//!    signalled {name}            ──▶
//! ```

mod description;
mod process;
mod sources;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

pub use description::{CommandLine, Description, HostPool, HostPoolKind, HostedTask, Unsupported};

use super::spawner::{Birth, Spawned};
use process::TemplateProcess;

/// How a template is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The Python that has Celery and the application.
    pub interpreter: PathBuf,
    /// The arguments of `celery` that would start the worker, `worker` among them.
    pub arguments: Vec<String>,
}

/// Why there is no template: the arguments were wrong, or there is no such application.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What Celery says.
    pub why: String,
    /// With which code `celery` would exit.
    pub code: u8,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refused {}

/// How a child of a template runs tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Runs {
    Prefork,
    Solo,
    Threads,
    Gevent,
    Eventlet,
    /// The coroutines among them, on one event loop.
    Loop,
}

impl Runs {
    /// What such children are called in logs.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Prefork => "ForkPoolWorker",
            Self::Solo => "SoloPoolWorker",
            Self::Threads => "ThreadPoolWorker",
            Self::Gevent => "GeventPoolWorker",
            Self::Eventlet => "EventletPoolWorker",
            Self::Loop => "LoopPoolWorker",
        }
    }
}

impl From<HostPoolKind> for Runs {
    fn from(kind: HostPoolKind) -> Self {
        match kind {
            HostPoolKind::Prefork => Self::Prefork,
            HostPoolKind::Solo => Self::Solo,
            HostPoolKind::Threads => Self::Threads,
            HostPoolKind::Gevent => Self::Gevent,
            HostPoolKind::Eventlet => Self::Eventlet,
        }
    }
}

/// A running template. Cheap to clone; with the last clone it ends.
#[derive(Clone, Debug)]
pub struct Template(Arc<mpsc::Sender<Order>>);

/// What the thread of a template is to do.
enum Order {
    Fork(Birth, Runs, oneshot::Sender<io::Result<Spawned>>),
    Signal { name: &'static str, data: serde_json::Value, sent: mpsc::Sender<()> },
}

impl Template {
    /// Starts a template, and waits until the application has been imported.
    ///
    /// # Errors
    /// What the application or its Python says; it holds a [`Refused`] where Celery refuses the arguments.
    pub fn start(launch: Launch) -> io::Result<(Self, Description)> {
        // The children it forks are to be this process's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (orders, received) = mpsc::channel();
        let (answer, started) = mpsc::channel();
        // The kernel kills a process when the thread that started it ends.
        thread::Builder::new().name("template".into()).spawn(move || {
            let first = TemplateProcess::start(&launch).map(|(process, description)| {
                let _ = answer.send(Ok(description));
                process
            });
            match first {
                Ok(process) => serve(&launch, process, &received),
                Err(error) => drop(answer.send(Err(error))),
            }
        })?;
        let description =
            started.recv().map_err(|_| io::Error::other("the template's thread has ended"))??;
        Ok((Self(Arc::new(orders)), description))
    }

    /// Lets it fork a child.
    pub(super) fn fork(&self, birth: Birth, runs: Runs, answer: oneshot::Sender<io::Result<Spawned>>) {
        // Without a thread the answer is dropped, which tells the caller.
        let _ = self.0.send(Order::Fork(birth, runs, answer));
    }

    /// Sends a signal of Celery's to the receivers in the template, such as `worker_ready`; waits at most this long until they
    /// have returned.
    pub fn signal(&self, name: &'static str, data: serde_json::Value, patience: Duration) {
        let (sent, heard) = mpsc::channel();
        if self.0.send(Order::Signal { name, data, sent }).is_ok() {
            let _ = heard.recv_timeout(patience);
        }
    }
}

/// Obeys until nobody can order any more.
fn serve(launch: &Launch, first: TemplateProcess, orders: &mpsc::Receiver<Order>) {
    let mut process = Some(first);
    for order in orders {
        match order {
            Order::Fork(birth, runs, answer) => {
                drop(answer.send(fork(launch, &mut process, &birth, runs)));
            }
            Order::Signal { name, data, sent } => {
                let signalled = process.as_mut().map_or(Ok(()), |process| process.signal(name, &data));
                if let Err(error) = signalled {
                    tracing::error!(%error, signal = name, "the application's template cannot be reached");
                    process = None;
                }
                // Whoever waited for it may have given up.
                let _ = sent.send(());
            }
        }
    }
}

/// Forks a child from the template, which is started anew if it has died.
fn fork(
    launch: &Launch,
    process: &mut Option<TemplateProcess>,
    birth: &Birth,
    runs: Runs,
) -> io::Result<Spawned> {
    let template = match process {
        Some(template) => template,
        None => {
            tracing::warn!("the application's template has died: it is started again");
            process.insert(TemplateProcess::start(launch)?.0)
        }
    };
    let forked = template.fork(birth, runs);
    if forked.as_ref().is_err_and(process::is_gone) {
        *process = None;
    }
    forked
}
