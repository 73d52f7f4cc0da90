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
//!                                ◀──     tell {what, id, task, ...} + the message
//!    told {done}                 ──▶
//!                                ◀──     command {method, queues} + its arguments
//!    obeyed {came, wishes} + the reply  ──▶
//! ```

mod backlog;
mod description;
mod process;
mod sources;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{QueueName, TaskId, TaskName, Value};
use tokio::sync::oneshot;

pub use description::{
    CommandLine, Description, HostPool, HostPoolKind, HostedBinding, HostedTask, Unsupported,
};

use super::spawner::{Birth, Spawned};
use crate::telling::{Telling, Told, What};
use backlog::{Backlog, Load, Waiting};
use process::TemplateProcess;

/// How long the application may take in its template for what it is told of one task. It interrupts what takes too long there,
/// so that one which has not answered by then hangs, and is replaced.
pub(crate) const ANSWERS: Duration = Duration::from_secs(30);

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
pub struct Template(Arc<Hand>);

/// How a template is reached, and what it has said of its application.
#[derive(Debug)]
struct Hand {
    orders: mpsc::Sender<Order>,
    load: Arc<Load>,
    /// The signals to which receivers are connected.
    listened_to: Vec<String>,
    /// Whether the results of the application are kept where this worker keeps results.
    keeps_results_here: bool,
    /// The commands of remote control that the application has added.
    commands: Vec<String>,
    /// What remote control tells of it that does not change.
    stats: serde_json::Value,
}

/// What the thread of a template is to do.
enum Order {
    Fork(Birth, Runs, oneshot::Sender<io::Result<Spawned>>),
    Signal {
        name: &'static str,
        data: serde_json::Value,
        sent: mpsc::Sender<()>,
    },
    Tell(Box<Waiting>),
    /// Once everything else has been done.
    Answer {
        sent: mpsc::Sender<()>,
    },
    Obey {
        asked: Asked,
        answer: oneshot::Sender<io::Result<Obeyed>>,
    },
}

/// What a command of remote control asks of the application.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The name of the command.
    pub method: Box<str>,
    /// Its arguments by name.
    pub arguments: Value,
    /// Where the worker takes tasks from.
    pub queues: Vec<QueueName>,
}

/// What came of a command of remote control in the template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Obeyed {
    /// This is replied, once the worker has obeyed these commands about its queues.
    Reply(Value, Vec<ControlCommand>),
    /// It raised this, as Python shows it.
    Error(Box<str>),
    /// It wants the worker to end.
    Shutdown,
    /// There is no such command.
    Unknown,
}

impl Template {
    /// Starts a template, and waits until the application has been imported. One that is not waited for ends.
    ///
    /// # Errors
    /// What the application or its Python says; it holds a [`Refused`] where Celery refuses the arguments.
    pub async fn start(launch: Launch) -> io::Result<(Self, Description)> {
        // The children it forks are to be this process's.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let (orders, received) = mpsc::channel();
        let (answer, started) = oneshot::channel();
        // The kernel kills a process when the thread that started it ends.
        let load = Arc::new(Load::default());
        let shared = Arc::clone(&load);
        thread::Builder::new().name("template".into()).spawn(move || {
            match TemplateProcess::start(&launch) {
                Ok((process, description)) => {
                    // Without somebody who waits there are no orders either.
                    let _ = answer.send(Ok(description));
                    Server { launch, process: Some(process), load: shared }.serve(&received);
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        })?;
        let description =
            started.await.map_err(|_| io::Error::other("the template's thread has ended"))??;
        let listened_to = description.listened_to.clone();
        let hand = Hand {
            orders,
            load,
            listened_to,
            keeps_results_here: description.keeps_results_here,
            commands: description.commands.clone(),
            stats: description.stats.clone(),
        };
        Ok((Self(Arc::new(hand)), description))
    }

    /// Lets it fork a child.
    pub(super) fn fork(&self, birth: Birth, runs: Runs, answer: oneshot::Sender<io::Result<Spawned>>) {
        // Without a thread the answer is dropped, which tells the caller.
        let _ = self.0.orders.send(Order::Fork(birth, runs, answer));
    }

    /// Sends a signal of Celery's to the receivers in the template, such as `worker_ready`; waits at most this long until they
    /// have returned.
    pub fn signal(&self, name: &'static str, data: serde_json::Value, patience: Duration) {
        let (sent, heard) = mpsc::channel();
        if self.0.orders.send(Order::Signal { name, data, sent }).is_ok() {
            let _ = heard.recv_timeout(patience);
        }
    }

    /// Waits until the code of the application has been told of everything that has happened, at most this long.
    pub fn wait_until_told(&self, patience: Duration) {
        let (sent, heard) = mpsc::channel();
        if self.0.orders.send(Order::Answer { sent }).is_ok() {
            let _ = heard.recv_timeout(patience);
        }
    }

    /// Tells the code of the application what has become of a task. The answer never comes if the application is too slow, or
    /// cannot be reached; else it comes within [`ANSWERS`] of everything that waited before.
    pub(crate) fn tell(&self, telling: Telling) -> oneshot::Receiver<Told> {
        let (answer, told) = oneshot::channel();
        if self.0.load.admits(&telling) {
            // Without a thread the answer is dropped, which tells the caller.
            let _ = self.0.orders.send(Order::Tell(Box::new((telling, answer))));
        }
        told
    }

    /// Lets the application obey a command of remote control.
    ///
    /// # Errors
    /// The template cannot be reached, or takes longer than [`ANSWERS`] with everything that waited before.
    pub(crate) async fn obey(&self, asked: Asked) -> io::Result<Obeyed> {
        let (answer, obeyed) = oneshot::channel();
        // Without a thread the answer is dropped.
        let _ = self.0.orders.send(Order::Obey { asked, answer });
        match tokio::time::timeout(ANSWERS, obeyed).await {
            Ok(Ok(obeyed)) => obeyed,
            Ok(Err(_)) => Err(io::Error::other("the template's thread has ended")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the application is too busy to answer")),
        }
    }

    /// Whether the application has a command of this name that is none of Celery's.
    pub(crate) fn has_command(&self, method: &str) -> bool {
        self.0.commands.iter().any(|name| name == method)
    }

    /// What remote control tells of the application that does not change, by its name.
    pub(crate) fn stats(&self, name: &str) -> Option<&serde_json::Value> {
        self.0.stats.get(name)
    }

    /// Whether the application does anything when it is told this.
    pub(crate) fn cares_for(&self, what: &What) -> bool {
        let listens = |signal| self.0.listened_to.iter().any(|name| name == signal);
        what.is_wanted() || what.signal().is_some_and(listens)
    }

    /// Whether the results of the application are kept where this worker keeps results.
    pub(crate) fn keeps_results_here(&self) -> bool {
        self.0.keeps_results_here
    }
}

/// The thread that speaks with the template, and starts it anew when it has died.
struct Server {
    launch: Launch,
    process: Option<TemplateProcess>,
    load: Arc<Load>,
}

impl Server {
    /// Obeys until nobody can order any more. Children come first: they are what tasks wait for.
    fn serve(mut self, orders: &mpsc::Receiver<Order>) {
        let mut backlog = Backlog::default();
        loop {
            let order = if backlog.is_empty() { orders.recv().ok() } else { orders.try_recv().ok() };
            match order {
                Some(Order::Fork(birth, runs, answer)) => drop(answer.send(self.fork(&birth, runs))),
                Some(Order::Tell(waiting)) => backlog.add(*waiting),
                // Who asked may have lost patience.
                Some(Order::Obey { asked, answer }) => drop(answer.send(self.obey(&asked))),
                Some(Order::Answer { sent }) => {
                    self.tell_all(&mut backlog);
                    let _ = sent.send(());
                }
                Some(Order::Signal { name, data, sent }) => {
                    // What has happened before it is told before it.
                    self.tell_all(&mut backlog);
                    self.signal(name, &data);
                    // Whoever waited for it may have given up.
                    let _ = sent.send(());
                }
                None => match backlog.next() {
                    Some(waiting) => self.tell(waiting),
                    None => return,
                },
            }
        }
    }

    fn tell_all(&mut self, backlog: &mut Backlog) {
        while let Some(waiting) = backlog.next() {
            self.tell(waiting);
        }
    }

    fn signal(&mut self, name: &str, data: &serde_json::Value) {
        let signalled = self.process.as_mut().map_or(Ok(()), |process| process.signal(name, data));
        if let Err(error) = signalled {
            tracing::error!(%error, signal = name, "the application's template cannot be reached");
            self.process = None;
        }
    }

    fn fork(&mut self, birth: &Birth, runs: Runs) -> io::Result<Spawned> {
        let forked = self.template()?.fork(birth, runs);
        if forked.as_ref().is_err_and(process::is_gone) {
            self.process = None;
        }
        forked
    }

    fn obey(&mut self, asked: &Asked) -> io::Result<Obeyed> {
        let obeyed = self.template()?.obey(asked, ANSWERS);
        if obeyed.as_ref().is_err_and(process::is_gone) {
            self.process = None;
        }
        obeyed
    }

    fn tell(&mut self, (telling, answer): Waiting) {
        let told = self.template().and_then(|template| template.tell(&telling, ANSWERS));
        self.load.release(&telling);
        match told {
            // Nobody need wait for it.
            Ok(told) => drop(answer.send(told)),
            Err(error) => {
                let (task_id, task_name) = (telling.id.as_ref().map(TaskId::as_str), telling.task.as_ref());
                let task_name = task_name.map(TaskName::as_str);
                tracing::error!(%error, task_id, task_name, "the application could not be told what became of a task");
                if process::is_gone(&error) {
                    self.process = None;
                }
            }
        }
    }

    /// The template, started anew if it has died.
    fn template(&mut self) -> io::Result<&mut TemplateProcess> {
        // What is said to one that has died would be lost.
        self.process.take_if(TemplateProcess::has_ended);
        match &mut self.process {
            Some(template) => Ok(template),
            empty => {
                tracing::warn!("the application's template has died: it is started again");
                Ok(empty.insert(TemplateProcess::start(&self.launch)?.0))
            }
        }
    }
}
