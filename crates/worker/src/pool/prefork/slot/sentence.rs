//! The decision that a child is to end.

use celeriac_protocol::TaskId;
use tokio::time::Instant;

use crate::pool::prefork::doom::{self, Doom};

/// Why a child is to end, and how that is carried out.
#[derive(Debug)]
pub(super) struct Sentence {
    pub(super) doom: Doom,
    /// The task that it is about, if it is about one.
    pub(super) task: Option<TaskId>,
    pub(super) next: Option<(Instant, Blow)>,
    pub(super) struck: bool,
    /// The milder sentence that stands again should this one be lifted.
    pub(super) milder: Option<Doom>,
}

/// What is done to a child next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blow {
    /// It was told to end, and has not.
    GiveUp,
    Terminate,
    Kill,
}

impl Sentence {
    /// Whether it can still be lifted: it is about this task alone, and nothing has been done to its child.
    pub(super) fn may_be_lifted_by(&self, id: &TaskId) -> bool {
        self.doom.is_of_its_task() && !self.struck && self.task.as_ref() == Some(id)
    }

    /// What stands once it is lifted.
    pub(super) fn lifted(self) -> Option<Self> {
        self.milder.map(|doom| Self { doom, task: None, next: None, struck: false, milder: None })
    }

    /// Whether its child dies of it whatever it does.
    pub(super) fn is_deadly(&self) -> bool {
        self.doom.severity() == doom::DEADLY
    }

    /// Whether one as severe as this changes nothing. To be killed at once outweighs to be killed soon.
    pub(super) fn outweighs(&self, severity: u8) -> bool {
        let is_sooner = severity == doom::DEADLY && self.next.is_some();
        self.doom.severity() >= severity && !is_sooner && !self.is_spent()
    }

    /// Whether it was about a task that did not end by it, and nothing more will come of it.
    fn is_spent(&self) -> bool {
        self.doom.is_of_its_task() && !self.struck && self.next.is_none()
    }
}
