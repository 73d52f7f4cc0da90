//! What a slot knows of the child that is in it.

use celeriac_protocol::TaskId;
use tokio::time::Instant;

use super::Rules;
use super::sentence::Sentence;
use crate::pool::prefork::doom::Doom;

/// How far a child has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::pool::prefork) enum Phase {
    /// The process exists; `main` has not yet reached the child's role.
    Starting,
    /// It builds resources and runs `worker_process_init`.
    Init,
    /// It takes tasks.
    Ready,
}

impl Phase {
    pub(in crate::pool::prefork) fn as_str(self) -> &'static str {
        match self {
            Phase::Starting => "starting",
            Phase::Init => "initializing",
            Phase::Ready => "ready",
        }
    }
}

/// A child, from when it was started.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) phase: Phase,
    /// How many tasks it runs at once.
    pub(super) jobs: usize,
    /// How many more it may be given ahead.
    pub(super) ahead: usize,
    /// The tasks it was given, those that were assigned first in front.
    pub(super) runs: Vec<Run>,
    /// Those among them that it was told to stop and has said nothing of since.
    pub(super) urged: Vec<Urged>,
    pub(super) sentence: Option<Sentence>,
    pub(super) born: Instant,
    pub(super) heard: Instant,
    /// When to look again whether it is silent, once it seemed to be.
    pub(super) suspected: Option<Instant>,
    pub(super) start_memory: u64,
    pub(super) memory: u64,
    pub(super) tasks: u64,
    /// Why it cannot go on, in its own words.
    pub(super) said: Option<Box<str>>,
}

/// A task that a child was given.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: TaskId,
    /// When it was assigned, and then when the child said that it started.
    pub(super) since: Instant,
    /// Whether nothing may be given ahead until it has started.
    pub(super) alone: bool,
    pub(super) started: bool,
}

/// A task that a child of several was told to stop.
#[derive(Debug)]
pub(super) struct Urged {
    pub(super) id: TaskId,
    pub(super) why: Doom,
    pub(super) since: Instant,
}

/// When a child that gives no sign of life is taken to be hung.
pub(super) struct Silent {
    pub(super) since: Instant,
    pub(super) at: Instant,
}

impl Child {
    /// One that has just been started.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Starting,
            jobs: 1,
            ahead: 0,
            runs: Vec::new(),
            urged: Vec::new(),
            sentence: None,
            born: now,
            heard: now,
            suspected: None,
            start_memory: 0,
            memory: 0,
            tasks: 0,
            said: None,
        }
    }

    /// Whether it is being killed whatever it does.
    pub(super) fn is_struck(&self) -> bool {
        self.sentence.as_ref().is_some_and(Sentence::is_deadly)
    }

    pub(super) fn run(&self, id: &TaskId) -> Option<&Run> {
        self.runs.iter().find(|run| run.id == *id)
    }

    /// Whether it can be given this task now: not beside another run of the same, which it could not tell apart.
    pub(super) fn takes(&self, id: &TaskId) -> bool {
        let has_room = self.runs.len() < self.jobs + self.ahead;
        has_room && self.runs.iter().all(|run| run.id != *id && (run.started || !run.alone))
    }

    /// When it will have been silent for too long, unless it is being killed already.
    ///
    /// A child that starts is not heard of, whatever its program does before it becomes a child.
    pub(super) fn silent_from(&self, rules: Rules) -> Option<Silent> {
        let (since, limit) = match self.phase {
            Phase::Starting => (self.born, rules.start),
            Phase::Init | Phase::Ready => (self.heard, rules.silence),
        };
        (!self.is_struck()).then(|| Silent { since, at: self.suspected.unwrap_or(since + limit) })
    }
}
