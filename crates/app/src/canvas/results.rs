//! The tree of results: what will be known of what a composition sends.

use std::fmt;
use std::sync::Arc;

use celeriac_protocol::{TaskId, Value};

/// The most parents that a result tuple tells of. A tuple nests one level for each, and readers take only so many.
const MAX_PARENTS: usize = 64;

/// A result within its tree, while it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResultIndex(u32);

/// Results that refer to each other by their place, so that no depth overflows a stack.
#[derive(Clone, Debug, Default)]
pub(super) struct Results {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    id: TaskId,
    parent: Option<ResultIndex>,
    /// Of a group: its members.
    members: Option<Vec<ResultIndex>>,
}

impl Results {
    pub(super) fn task(&mut self, id: TaskId) -> ResultIndex {
        self.add(Node { id, parent: None, members: None })
    }

    pub(super) fn group(&mut self, id: TaskId, members: Vec<ResultIndex>) -> ResultIndex {
        self.add(Node { id, parent: None, members: Some(members) })
    }

    fn add(&mut self, node: Node) -> ResultIndex {
        let index = u32::try_from(self.nodes.len()).expect("four billion signatures do not fit into memory");
        self.nodes.push(node);
        ResultIndex(index)
    }

    fn node(&self, at: ResultIndex) -> &Node {
        &self.nodes[at.0 as usize]
    }

    pub(super) fn id(&self, at: ResultIndex) -> &TaskId {
        &self.node(at).id
    }

    pub(super) fn is_group(&self, at: ResultIndex) -> bool {
        self.node(at).members.is_some()
    }

    pub(super) fn members(&self, at: ResultIndex) -> &[ResultIndex] {
        self.node(at).members.as_deref().unwrap_or_default()
    }

    pub(super) fn parent(&self, at: ResultIndex) -> Option<ResultIndex> {
        self.node(at).parent
    }

    pub(super) fn set_parent(&mut self, at: ResultIndex, parent: Option<ResultIndex>) {
        self.nodes[at.0 as usize].parent = parent;
    }

    /// The first of its parents, or itself.
    pub(super) fn first_of(&self, mut at: ResultIndex) -> ResultIndex {
        while let Some(parent) = self.parent(at) {
            at = parent;
        }
        at
    }

    /// Celery's nested tuples: `[[id, parent], null]` for a task, `[[id, parent], [member, ...]]` for a group.
    ///
    /// Source: `celery/result.py`, `AsyncResult.as_tuple` and `GroupResult.as_tuple`, Celery 5.7.0. Parents beyond
    /// the 64th are left out.
    pub(super) fn tuple(&self, at: ResultIndex) -> Value {
        self.tuple_within(at, MAX_PARENTS)
    }

    fn tuple_within(&self, at: ResultIndex, levels: usize) -> Value {
        let node = self.node(at);
        let next = levels.checked_sub(1);
        let tuple = |at: ResultIndex| next.map_or(Value::Null, |levels| self.tuple_within(at, levels));
        let parent = node.parent.map_or(Value::Null, tuple);
        let members = node.members.as_ref().map(|members| members.iter().map(|at| tuple(*at)).collect());
        let members: Option<Vec<Value>> = members;
        Value::List(vec![
            Value::List(vec![Value::from(node.id.as_str()), parent]),
            members.map_or(Value::Null, Value::List),
        ])
    }
}

/// A result, with those it comes from and those it is made of. Cheap to clone.
#[derive(Clone)]
pub struct ResultTree {
    results: Arc<Results>,
    at: ResultIndex,
}

/// What a result is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultNode {
    /// One task.
    Task,
    /// A group of tasks.
    Group,
}

impl ResultTree {
    pub(super) fn new(results: &Arc<Results>, at: ResultIndex) -> Self {
        Self { results: Arc::clone(results), at }
    }

    /// The id of the task or of the group.
    pub fn id(&self) -> &TaskId {
        self.results.id(self.at)
    }

    /// What it is the result of.
    pub fn node(&self) -> ResultNode {
        if self.results.is_group(self.at) { ResultNode::Group } else { ResultNode::Task }
    }

    /// The result of what ran before: the step of the chain, or the header of the chord.
    pub fn parent(&self) -> Option<Self> {
        self.results.parent(self.at).map(|at| Self { results: Arc::clone(&self.results), at })
    }

    /// The members of a group.
    pub fn members(&self) -> impl Iterator<Item = Self> + '_ {
        let members = self.results.members(self.at).iter();
        members.map(|at| Self { results: Arc::clone(&self.results), at: *at })
    }

    /// Celery's nested tuples: `[[id, parent], null]` for a task, `[[id, parent], [member, ...]]` for a group.
    ///
    /// Source: `celery/result.py`, `AsyncResult.as_tuple` and `GroupResult.as_tuple`, Celery 5.7.0. Parents beyond
    /// the 64th are left out, so that readers can read it.
    pub fn as_tuple(&self) -> Value {
        self.results.tuple(self.at)
    }
}

impl fmt::Debug for ResultTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultTree({:?} {})", self.node(), self.id())
    }
}
