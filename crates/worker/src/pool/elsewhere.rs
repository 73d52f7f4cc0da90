//! The prefork pool on systems that cannot have it: it needs pidfds and the parent-death signal of Linux.

#[path = "prefork/template/description.rs"]
mod description;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use celeriac_app::App;
use celeriac_protocol::control::ControlCommand;
use celeriac_protocol::{QueueName, Value};
use tokio::sync::oneshot;

use super::{Events, Job, Kill, Pool, PoolKind, StopReason};
use crate::error::Error;
use crate::request::Request;
use crate::telling::{Telling, Told, What};

pub use description::{
    CommandLine, Description, HostPool, HostPoolKind, HostedBinding, HostedTask, Unsupported,
};

/// How the pool would run.
pub(crate) struct Options;

impl Options {
    pub(crate) fn of_worker(_app: &App, _worker: &crate::Options) -> Self {
        Self
    }

    pub(crate) fn of_host(_app: &App, _worker: &crate::Options, template: Template) -> Self {
        match template {}
    }

    pub(crate) fn of_loops(_app: &App, _worker: &crate::Options, template: Template) -> Self {
        match template {}
    }
}

/// How a template would be started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The Python that has Celery and the application.
    pub interpreter: PathBuf,
    /// The arguments of `celery` that would start the worker.
    pub arguments: Vec<String>,
}

/// Why there is no template, where there could be one.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What Celery would say.
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

/// How long a template may take to answer.
pub(crate) const ANSWERS: Duration = Duration::from_secs(30);

/// What a command of remote control would ask of the application.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The name of the command.
    pub method: Box<str>,
    /// Its arguments by name.
    pub arguments: Value,
    /// Where the worker takes tasks from.
    pub queues: Vec<QueueName>,
}

/// What would come of a command of remote control.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Obeyed {
    /// This is replied, once the worker has obeyed these commands.
    Reply(Value, Vec<ControlCommand>),
    /// It raised this.
    Error(Box<str>),
    /// It wants the worker to end.
    Shutdown,
    /// There is no such command.
    Unknown,
}

/// A process that there cannot be.
#[derive(Clone, Debug)]
pub enum Template {}

impl Template {
    /// # Errors
    /// Always.
    pub async fn start(_launch: Launch) -> io::Result<(Self, Description)> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "Celery applications need Linux"))
    }

    /// Sends nothing.
    pub fn signal(&self, _name: &'static str, _data: serde_json::Value, _patience: Duration) {
        match *self {}
    }

    /// Tells nothing.
    pub(crate) fn tell(&self, _telling: Telling) -> oneshot::Receiver<Told> {
        match *self {}
    }

    /// Whether there is somebody to tell.
    pub(crate) fn cares_for(&self, _what: &What) -> bool {
        match *self {}
    }

    /// # Errors
    /// None: there is nobody to obey.
    pub(crate) async fn obey(&self, _asked: Asked) -> io::Result<Obeyed> {
        match *self {}
    }

    /// Whether there is such a command.
    pub(crate) fn has_command(&self, _method: &str) -> bool {
        match *self {}
    }

    /// What remote control tells of the application.
    pub(crate) fn stats(&self, _name: &str) -> Option<&serde_json::Value> {
        match *self {}
    }

    /// Whether results are kept here.
    pub(crate) fn keeps_results_here(&self) -> bool {
        match *self {}
    }
}

/// No process is a child here: goes on with the program.
pub fn run_if_child(_app: &App) -> Option<ExitCode> {
    None
}

/// A pool that there cannot be.
pub(crate) enum Prefork {}

impl Prefork {
    /// # Errors
    /// Always: a task that asks for a process of its own is an error at the start, not a task that runs without.
    pub(crate) fn start(_app: &App, _options: Options, _events: Events) -> Result<Self, Error> {
        Err(Error::Spawn {
            what: "the child processes for tasks with `isolation = \"process\"`".to_owned(),
            source: io::Error::new(io::ErrorKind::Unsupported, "this needs Linux"),
        })
    }
}

impl Pool for Prefork {
    fn kind(&self) -> PoolKind {
        match *self {}
    }

    fn size(&self) -> usize {
        match *self {}
    }

    fn free(&self) -> usize {
        match *self {}
    }

    fn submit(&mut self, _job: Job) {
        match *self {}
    }

    fn ask(&mut self, _request: &Request, _reason: StopReason) {
        match *self {}
    }

    fn kill(&mut self, _request: &Request, _reason: StopReason) -> Kill {
        match *self {}
    }

    fn finished(&mut self, _request: &Request) {
        match *self {}
    }

    fn close(&mut self, _force: bool) {
        match *self {}
    }

    fn resize(&mut self, _width: usize, _promised: usize) -> io::Result<()> {
        match *self {}
    }

    fn facts(&self) -> Value {
        match *self {}
    }
}
