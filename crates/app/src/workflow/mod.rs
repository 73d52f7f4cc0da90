//! What became of a workflow, and what it waits for: for people who ask in the middle of the night.
//!
//! [`App::workflow`](crate::App::workflow) finds the workflow that a task or a group belongs to and tells of each node how
//! it stands. It reads only what is kept anyway: results with their parents and children, saved groups, the counts of
//! chords, and messages, in which everything is that is not sent yet.
//!
//! - `sources.rs` asks the stores, in batches, and remembers the answers.
//! - `standing.rs`, pure, says how a task stands from what is known of it; `follows.rs`, pure, what follows a message.
//! - `climb.rs` goes up from what was asked for to where the workflow begins.
//! - `walk.rs` goes down from there, `survey.rs` through the members of groups.
//!
//! Nobody promises that the data make sense: a task is told once, whatever refers to it, and nothing here recurses.

mod climb;
mod follows;
mod sources;
mod standing;
mod survey;
mod walk;

use std::fmt;
use std::time::Duration;

use celeriac_protocol::{GroupId, TaskId, TaskName};
use celeriac_store::QueueStats;

pub use standing::{Doom, Standing};

use crate::{App, ResultError};

/// How much is told of a workflow, and how hard it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkflowOptions {
    /// The most members of a group that are told one by one in each way that they stand, and the most steps of a chain that
    /// stand the same way. Others are counted. Default: 10.
    pub limit: usize,
    /// The most messages that are read to find one, where nothing leads to it. Default: 20,000.
    pub effort: usize,
    /// How long workers may take to say what they run. Default: 1 second.
    pub patience: Duration,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self { limit: 10, effort: 20_000, patience: Duration::from_secs(1) }
    }
}

/// The most tasks that are asked for one after the other; [`Remark::Long`] says that there are more.
pub(crate) const MOST_STEPS: usize = 20_000;

/// A workflow: its nodes in the order of running, as far as anybody knows them.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkflowTree {
    /// The id of the task or group that was asked for.
    pub asked: Box<str>,
    /// The nodes: each before those that are part of it or follow it.
    pub nodes: Vec<WorkflowNode>,
    /// The queues in which something of it waits, as they are.
    pub queues: Vec<QueueStats>,
    /// What is not as complete as it looks.
    pub remarks: Vec<Remark>,
}

/// One node of a workflow.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct WorkflowNode {
    /// How deep it is: the members of a group are one level deeper than the group, the steps of a chain on one level.
    pub level: u32,
    /// What part it has in what is before it.
    pub role: Role,
    /// What it is.
    pub what: NodeKind,
}

/// What part a node has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Where it begins.
    Start,
    /// A step of a chain, a callback, or what else a task has sent.
    Step,
    /// A callback that is not sent yet.
    Callback,
    /// A member of the group above it.
    Member,
    /// The body of a chord, whose header is the group before it.
    Body,
}

impl Role {
    /// For programs: `start`, `step`, `callback`, `member` or `body`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Step => "step",
            Self::Callback => "callback",
            Self::Member => "member",
            Self::Body => "body",
        }
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeKind {
    /// One task.
    Task(TaskNode),
    /// A group, or the header of a chord. Those of its members that are told follow.
    Group(GroupNode),
    /// Several tasks that stand the same way and are not told one by one.
    Others {
        /// How many.
        count: u64,
        /// How they stand: [`Standing::as_str`].
        standing: &'static str,
    },
}

/// One task.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TaskNode {
    /// Its id; none where it gets one only when it is sent.
    pub id: Option<TaskId>,
    /// Its name, where that is known: messages have it, and results only with `result_extended`.
    pub name: Option<TaskName>,
    /// How it stands.
    pub standing: Standing,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct GroupNode {
    /// Its id; none where it gets one only when it is sent.
    pub id: Option<GroupId>,
    /// How many members it has, where that is known.
    pub size: Option<u64>,
    /// Whether it is the header of a chord, whose body waits for all members.
    pub is_header: bool,
    /// How many members stand in each way, by [`Standing::as_str`]; `group` for members that are groups.
    pub counts: Vec<(&'static str, u64)>,
}

impl GroupNode {
    /// How many members stand so.
    pub fn count(&self, standing: &str) -> u64 {
        self.counts.iter().find(|(name, _)| *name == standing).map_or(0, |(_, count)| *count)
    }

    fn add(&mut self, standing: &'static str, count: u64) {
        add_to(&mut self.counts, standing, count);
    }
}

/// Counts so many more that stand so.
fn add_to(counts: &mut Vec<(&'static str, u64)>, standing: &'static str, count: u64) {
    match counts.iter_mut().find(|(name, _)| *name == standing) {
        Some((_, known)) => *known += count,
        None if count > 0 => counts.push((standing, count)),
        None => {}
    }
}

/// What is not as complete as it looks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remark {
    /// Not all messages were read: what is unknown or counted as such may wait somewhere.
    NotAllRead {
        /// How many may be read for one question.
        effort: usize,
    },
    /// The members of a group are nowhere listed: those that have ended are only counted.
    MembersUnlisted(GroupId),
    /// A chord waits for members of which there is neither a report nor a message.
    MembersMissing {
        /// The chord.
        chord: GroupId,
        /// How many.
        count: u64,
    },
    /// There are more tasks than are asked for one after the other.
    Long,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllRead { effort } => {
                write!(f, "only {effort} messages were read: what is unknown may wait behind them")
            }
            Self::MembersUnlisted(group) => {
                write!(
                    f,
                    "the members of group {group} are listed nowhere: those that ended are only counted"
                )
            }
            Self::MembersMissing { chord, count } => write!(
                f,
                "{count} members of chord {chord} have neither reported nor a message: were they purged?"
            ),
            Self::Long => write!(f, "more than {MOST_STEPS} tasks: the rest is not shown"),
        }
    }
}

impl App {
    /// The workflow that the task or group with this id belongs to; none if nothing is known of it.
    ///
    /// Each answer of the stores is of its moment, so what runs meanwhile may be told in two places or with a state that
    /// was. Tasks whose results are ignored, or have expired, are [`Standing::Unknown`] once their message is gone.
    ///
    /// ```
    /// # use celeriac_app::App;
    /// use celeriac_app::workflow::WorkflowOptions;
    ///
    /// # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
    /// let tree = app.workflow("0198c2f0-4c1e-7a57-9d06-6ab3a1f4ad10", &WorkflowOptions::default()).await?;
    /// println!("{} nodes", tree.map_or(0, |tree| tree.nodes.len()));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Why a store could not be asked.
    pub async fn workflow(
        &self,
        id: impl AsRef<str>,
        options: &WorkflowOptions,
    ) -> Result<Option<WorkflowTree>, ResultError> {
        let id = id.as_ref();
        let store = self.store().await?;
        let mut sources = sources::Sources::new(store, self.client().now(), *options);
        let told = async {
            let Some(begin) = climb::climb(id, &mut sources).await? else { return Ok(None) };
            let nodes = walk::walk(id, begin, &mut sources).await?;
            let queues = sources.queues_of(&nodes).await?;
            Ok(Some(WorkflowTree { asked: id.into(), nodes, queues, remarks: sources.remarks }))
        };
        told.await.map_err(|source| ResultError::Store { id: TaskId::new(id), source })
    }
}
