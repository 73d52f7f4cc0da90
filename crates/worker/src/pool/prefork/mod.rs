//! The prefork pool: tasks in processes of their own.
//!
//! A child is this same executable, started again. It builds its own resources, runs one task at a time, and when
//! it crashes, hangs or must be killed, nothing else is hurt. (Those that run several tasks of a Celery application at
//! once, as its pools of threads and greenlets do, end them one by one as far as they can, and die with all of them.) What each file is for:
//!
//! - both sides: [`frame`] cuts the socket into frames, [`protocol`] says what is in them;
//! - the parent: [`supervisor`] decides, by the rules of [`slot`], [`doom`] and [`recycle`], [`hearing`] listens, and [`size`] changes how many children there are;
//!   [`spawner`] starts children, [`link`] carries, with [`patience`], what is to come next lies [`ahead`], [`capture`] logs what they print, [`process`], [`sys`] and
//!   [`oom`] ask the kernel, [`board`] is for people;
//! - the child: [`child`]; children of a Celery application are forked by a Python process, the [`template`].

mod ahead;
mod backoff;
mod board;
mod capture;
mod channel;
mod child;
mod doom;
mod frame;
mod giving;
mod hearing;
mod link;
mod member;
mod oom;
mod options;
mod patience;
mod process;
mod protocol;
mod recycle;
mod size;
mod slot;
mod spawner;
mod supervisor;
mod sys;
mod template;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use celeriac_app::App;
use celeriac_protocol::Value;
use tokio::sync::mpsc;

use self::board::Board;
pub use self::child::run_if_child;
pub(crate) use self::options::Options;
use self::spawner::Spawner;
use self::supervisor::{Command, Supervisor};
pub(crate) use self::template::{ANSWERS, Asked, Obeyed};
pub use self::template::{
    CommandLine, Description, HostPool, HostPoolKind, HostedBinding, HostedTask, Launch, Refused, Template,
    Unsupported,
};
use super::slot::identity;
use super::{Events, Job, Kill, Pool, PoolKind, StopReason};
use crate::error::Error;
use crate::request::Request;

/// The pool of child processes, as the loop of the worker holds it.
pub(crate) struct Prefork {
    kind: PoolKind,
    /// How many children there are to be, and how many jobs each of them runs at once.
    processes: usize,
    jobs: usize,
    /// How many jobs could be running now.
    capacity: Arc<AtomicUsize>,
    /// How many of them would be running at once.
    at_once: Arc<AtomicUsize>,
    /// How many jobs were submitted and are not known to have finished.
    busy: usize,
    commands: mpsc::UnboundedSender<Command>,
    board: Board,
}

impl Prefork {
    /// Starts the pool. Its children are started at once and take jobs as soon as they are ready.
    ///
    /// # Errors
    /// [`Error::Spawn`] if not even the thread that starts them can be started.
    ///
    /// # Panics
    /// Outside a Tokio runtime with I/O and time.
    pub(crate) fn start(app: &App, options: Options, events: Events) -> Result<Self, Error> {
        let (kind, processes, jobs) = (options.kind(), options.processes, options.jobs);
        let spawner = Spawner::start(options.source.clone()).map_err(|source| Error::Spawn {
            what: "the thread that starts child processes".into(),
            source,
        })?;
        let (commands, obeyed) = mpsc::unbounded_channel();
        let (supervisor, inbox) = Supervisor::new(app.clone(), options, spawner, obeyed, events);
        let pool = Self {
            kind,
            processes,
            jobs,
            capacity: supervisor.capacity(),
            at_once: supervisor.at_once(),
            busy: 0,
            commands,
            board: supervisor.board(),
        };
        tokio::spawn(supervisor.run(inbox));
        Ok(pool)
    }

    fn command(&self, command: Command) {
        // After the last event of the pool there is nothing left to command.
        let _ = self.commands.send(command);
    }
}

impl Pool for Prefork {
    fn kind(&self) -> PoolKind {
        self.kind
    }

    fn size(&self) -> usize {
        self.processes * self.jobs
    }

    fn width(&self) -> usize {
        self.processes
    }

    fn resize(&mut self, width: usize, _promised: usize) -> io::Result<()> {
        self.processes = width.max(1);
        self.command(Command::Resize(self.processes));
        Ok(())
    }

    fn restart(&mut self) {
        self.command(Command::Restart);
    }

    fn free(&self) -> usize {
        self.capacity.load(Ordering::Acquire).saturating_sub(self.busy)
    }

    fn idle(&self) -> usize {
        self.at_once.load(Ordering::Acquire).saturating_sub(self.busy)
    }

    fn withdraw(&mut self, request: &Request) {
        self.command(Command::Withdraw(identity(request)));
    }

    fn is_held_up(&self) -> bool {
        self.capacity.load(Ordering::Acquire) == 0 && self.board.is_held_up()
    }

    fn submit(&mut self, job: Job) {
        self.busy += 1;
        self.command(Command::Submit(job));
    }

    fn ask(&mut self, request: &Request, reason: StopReason) {
        self.command(Command::Ask(identity(request), reason));
    }

    fn kill(&mut self, request: &Request, reason: StopReason) -> Kill {
        self.command(Command::Kill(identity(request), reason));
        Kill::Pending
    }

    fn finished(&mut self, _request: &Request) {
        self.busy = self.busy.saturating_sub(1);
    }

    fn close(&mut self, force: bool) {
        self.command(Command::Close { force });
    }

    fn facts(&self) -> Value {
        self.board.to_value()
    }
}

#[cfg(test)]
mod tests;
