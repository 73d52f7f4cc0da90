//! Compositions as they are drawn.

use celeriac_app::protocol::TaskId;

/// A composition.
#[derive(Clone, Debug)]
pub enum Tree {
    /// One task.
    Task(Box<Task>),
    /// One step after the other.
    Chain(Vec<Tree>),
    /// Members side by side. None of them is a group: Celery makes one flat group of groups within groups.
    Group(Vec<Tree>),
    /// A header, and the body that gets what its members return.
    Chord(Vec<Tree>, Box<Tree>),
}

/// A task of a composition.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id, whatever it is part of.
    pub id: TaskId,
    /// Its number: another for each task of a nursery.
    pub number: u32,
    /// Which of [`crate::TASKS`] it calls.
    pub kind: usize,
    /// What it does.
    pub deed: Deed,
    /// Whether it ignores what came before.
    pub immutable: bool,
    /// What is called with what it returns.
    pub callback: Option<Tree>,
    /// What is called if it fails.
    pub errback: Option<Tree>,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Adds this to all that it gets.
    Add(i64),
    /// As [`Deed::Add`], when it is tried again.
    AddLater(i64),
    /// Fails.
    Fail,
    /// Nothing: it has expired.
    Expire,
}

impl Tree {
    /// Whether what comes out are the results of a group.
    pub(crate) fn ends_in_group(&self) -> bool {
        match self {
            Self::Task(_) => false,
            Self::Group(_) => true,
            Self::Chain(steps) => steps.last().is_some_and(Self::ends_in_group),
            Self::Chord(_, body) => body.ends_in_group(),
        }
    }
}

/// The steps of a chain as Celery's `|` composes them: chains in it become part of it, and what follows a chord that ends
/// in a group becomes part of its body.
pub(crate) fn folded(steps: &[Tree]) -> Vec<Tree> {
    let mut folded = Vec::new();
    for step in steps {
        match (step, folded.last_mut()) {
            (Tree::Chain(steps), _) => {
                for step in steps {
                    folded = self::folded(&[folded, vec![step.clone()]].concat());
                }
            }
            (step, Some(Tree::Chord(_, body))) if body.ends_in_group() => {
                **body = Tree::Chain(vec![(**body).clone(), step.clone()]);
            }
            (step, _) => folded.push(step.clone()),
        }
    }
    folded
}
