//! Down, from where a workflow begins to what is not sent yet.

use std::collections::HashSet;

use celeriac_protocol::{Embed, GroupId, Shape, Signature, TaskId, TaskName, Value};
use celeriac_store::Result;

use super::climb::{Beginning, Found};
use super::follows::{Linked, embed_of, text, unrolled};
use super::sources::{Facts, Sources};
use super::survey::{Survey, of_listed, of_unlisted};
use super::{GroupNode, MOST_STEPS, NodeKind, Remark, Role, Standing, TaskNode, WorkflowNode};
use crate::MOST_CHILDREN;

/// What is still to be visited, and where it stands in the tree.
struct Item {
    role: Role,
    level: u32,
    what: Visit,
}

enum Visit {
    /// A task that was sent.
    Sent(TaskId),
    /// A task that may not be sent yet, and what it waits for.
    Unsent {
        id: Option<TaskId>,
        name: Option<TaskName>,
        after: Option<TaskId>,
    },
    /// A composition that is not sent yet, and what it waits for.
    Call(Box<Signature>, Option<TaskId>),
    /// A group that was sent.
    Group {
        id: GroupId,
        listed: Option<Vec<Value>>,
        known: Vec<TaskId>,
        body: Option<TaskId>,
    },
    Others {
        count: u64,
        standing: &'static str,
    },
}

struct Walk<'s, 'a> {
    asked: &'s str,
    sources: &'s mut Sources<'a>,
    nodes: Vec<WorkflowNode>,
    /// What is to be visited, the next one last.
    left: Vec<Item>,
    seen: HashSet<TaskId>,
    seen_groups: HashSet<GroupId>,
}

/// The nodes of the workflow that begins there.
pub(super) async fn walk(
    asked: &str,
    beginning: Beginning,
    sources: &mut Sources<'_>,
) -> Result<Vec<WorkflowNode>> {
    let Beginning { first, groups } = beginning;
    let is_member = |group: &Found| first.as_ref().is_some_and(|first| group.members.contains(first));
    let begins_with_group = first.is_none() || groups.first().is_some_and(is_member);
    let mut items: Vec<Item> = groups
        .into_iter()
        .map(|Found { id, members, body }| {
            Item::new(Role::Start, 0, Visit::Group { id, listed: None, known: members, body })
        })
        .collect();
    let first = first.map(|first| Item::new(Role::Start, 0, Visit::Sent(first)));
    let at = if begins_with_group { items.len() } else { 0 };
    items.splice(at..at, first);
    let mut walk = Walk {
        asked,
        sources,
        nodes: Vec::new(),
        left: Vec::new(),
        seen: HashSet::new(),
        seen_groups: HashSet::new(),
    };
    walk.next(items);
    while let Some(item) = walk.left.pop() {
        walk.visit(item).await?;
    }
    Ok(walk.nodes)
}

impl Item {
    fn new(role: Role, level: u32, what: Visit) -> Self {
        Self { role, level, what }
    }
}

impl Walk<'_, '_> {
    /// These come next, in this order.
    fn next(&mut self, items: Vec<Item>) {
        self.left.extend(items.into_iter().rev());
    }

    async fn visit(&mut self, Item { role, level, what }: Item) -> Result<()> {
        if self.seen.len() >= MOST_STEPS {
            self.left.clear();
            self.sources.remark(Remark::Long);
            return Ok(());
        }
        match what {
            Visit::Sent(id) => self.task(id, None, None, role, level).await?,
            Visit::Unsent { id, name, after } => self.unsent(id, name, after, role, level).await?,
            Visit::Call(call, after) => self.call(*call, after, role, level).await?,
            Visit::Group { id, listed, known, body } => {
                if self.seen_groups.insert(id.clone()) {
                    self.group(id, listed, &known, body, role, level).await?;
                }
            }
            Visit::Others { count, standing } => self.node(role, level, NodeKind::Others { count, standing }),
        }
        Ok(())
    }

    fn node(&mut self, role: Role, level: u32, what: NodeKind) {
        self.nodes.push(WorkflowNode { level, role, what });
    }

    /// A task of which something is known, or should be.
    async fn task(
        &mut self,
        id: TaskId,
        name: Option<TaskName>,
        waits_for: Option<Option<TaskId>>,
        role: Role,
        level: u32,
    ) -> Result<()> {
        if !self.seen.insert(id.clone()) {
            return Ok(());
        }
        let facts = self.sources.facts(&id).await?;
        let standing = match (&facts.standing, waits_for) {
            (Standing::Unknown, Some(after)) => Standing::NotSent { after },
            (standing, _) => standing.clone(),
        };
        let name = facts.name().or(name);
        let task = TaskNode { id: Some(id.clone()), name, standing };
        if !self.is_one_of_many(&task, role, level) {
            self.node(role, level, NodeKind::Task(task));
        }
        self.follow(&id, &facts, level).await
    }

    /// A long run of steps that have succeeded is told by its beginning and its number.
    fn is_one_of_many(&mut self, task: &TaskNode, role: Role, level: u32) -> bool {
        let is_done = |task: &TaskNode| matches!(task.standing, Standing::Succeeded { .. });
        let is_asked = task.id.as_ref().is_some_and(|id| id.as_str() == self.asked);
        if !is_done(task) || is_asked || role != Role::Step {
            return false;
        }
        let limit = self.sources.options.limit.max(1);
        match self.nodes.last_mut() {
            Some(WorkflowNode { level: at, what: NodeKind::Others { count, standing }, .. })
                if *at == level && *standing == "succeeded" =>
            {
                *count += 1;
                return true;
            }
            _ => {}
        }
        let is_alike = |node: &WorkflowNode| {
            node.level == level && matches!(&node.what, NodeKind::Task(task) if is_done(task))
        };
        let is_long = self.nodes.len() >= limit && self.nodes.iter().rev().take(limit).all(is_alike);
        if is_long {
            self.node(role, level, NodeKind::Others { count: 1, standing: "succeeded" });
        }
        is_long
    }

    /// What the task has sent, and what will be sent when it has ended.
    async fn follow(&mut self, id: &TaskId, facts: &Facts, level: u32) -> Result<()> {
        let mut items = Vec::new();
        for tuple in facts.children().iter().take(MOST_CHILDREN) {
            items.extend(linked(unrolled(tuple), Role::Step, level));
        }
        if let Some(message) = facts.message() {
            let Embed { callbacks, chain, .. } = embed_of(message);
            let after = || Some(id.clone());
            let call = |callback| Visit::Call(Box::new(callback), after());
            items.extend(callbacks.into_iter().map(|one| Item::new(Role::Callback, level + 1, call(one))));
            let steps: Vec<Signature> = chain.into_iter().rev().collect();
            items.extend(self.steps(steps, after(), Role::Step, level).await?);
        }
        self.next(items);
        Ok(())
    }

    /// The steps of a chain, each of which waits for the one before. Of many, some.
    async fn steps(
        &mut self,
        steps: Vec<Signature>,
        mut after: Option<TaskId>,
        mut role: Role,
        level: u32,
    ) -> Result<Vec<Item>> {
        let (limit, count) = (self.sources.options.limit, steps.len());
        let ids = steps.iter().filter_map(|step| text(step, "task_id")).take(limit);
        let ids: Vec<TaskId> = ids.map(TaskId::from).collect();
        self.sources.read_records(&ids).await?;
        let (mut items, mut left_out) = (Vec::new(), 0);
        for (at, step) in steps.into_iter().enumerate() {
            let id = text(&step, "task_id").map(TaskId::from);
            let is_asked = id.as_ref().is_some_and(|id| id.as_str() == self.asked);
            if at < limit || at + 1 == count || is_asked {
                items.extend(others(&mut left_out, "not-sent", role, level));
                items.push(Item::new(role, level, Visit::Call(Box::new(step), after)));
            } else {
                left_out += 1;
            }
            (after, role) = (id, Role::Step);
        }
        Ok(items)
    }

    async fn unsent(
        &mut self,
        id: Option<TaskId>,
        name: Option<TaskName>,
        after: Option<TaskId>,
        role: Role,
        level: u32,
    ) -> Result<()> {
        if let Some(id) = id.clone() {
            if self.seen.contains(&id) {
                return Ok(());
            }
            self.sources.read_records(std::slice::from_ref(&id)).await?;
            if self.sources.has_record(&id) {
                return self.task(id, name, Some(after), role, level).await;
            }
            self.seen.insert(id);
        }
        let standing = Standing::NotSent { after };
        self.node(role, level, NodeKind::Task(TaskNode { id, name, standing }));
        Ok(())
    }

    /// A signature, not sent yet.
    async fn call(&mut self, call: Signature, after: Option<TaskId>, role: Role, level: u32) -> Result<()> {
        let id = text(&call, "task_id");
        match call.shape() {
            Shape::Task => {
                let (id, name) = (id.map(TaskId::from), Some(call.task));
                self.next(vec![Item::new(role, level, Visit::Unsent { id, name, after })]);
            }
            Shape::Chain(steps) => {
                let steps = self.steps(steps, after, role, level).await?;
                self.next(steps);
            }
            Shape::Group(members) => {
                self.unsent_group(id.map(GroupId::from), members, None, after.as_ref(), role, level);
            }
            Shape::Chord(members, body) => {
                self.unsent_group(None, members, body, after.as_ref(), role, level);
            }
        }
        Ok(())
    }

    fn unsent_group(
        &mut self,
        id: Option<GroupId>,
        members: Vec<Signature>,
        body: Option<Signature>,
        after: Option<&TaskId>,
        role: Role,
        level: u32,
    ) {
        let size = members.len() as u64;
        let counts = vec![("not-sent", size)];
        let group = GroupNode { id, size: Some(size), is_header: body.is_some(), counts };
        self.node(role, level, NodeKind::Group(group));
        let limit = self.sources.options.limit;
        let mut left_out = size.saturating_sub(limit as u64);
        let shown = members.into_iter().take(limit);
        let visit = |member| Visit::Call(Box::new(member), after.cloned());
        let mut items: Vec<Item> =
            shown.map(|member| Item::new(Role::Member, level + 1, visit(member))).collect();
        items.extend(others(&mut left_out, "not-sent", Role::Member, level + 1));
        items.extend(body.map(|body| Item::new(Role::Body, level, Visit::Call(Box::new(body), None))));
        self.next(items);
    }

    /// A group that was sent.
    async fn group(
        &mut self,
        id: GroupId,
        listed: Option<Vec<Value>>,
        known: &[TaskId],
        body: Option<TaskId>,
        role: Role,
        level: u32,
    ) -> Result<()> {
        let listed = match listed {
            Some(listed) => Some(listed),
            None => self.sources.saved(&id).await?,
        };
        let survey = match listed {
            Some(members) => of_listed(id, &members, self.asked, self.sources).await?,
            None => of_unlisted(id, known, self.asked, self.sources).await?,
        };
        let Survey { mut node, shown, others: left_out, body: call } = survey;
        node.is_header |= body.is_some() || call.is_some();
        self.node(role, level, NodeKind::Group(node));
        let ids: Vec<TaskId> = shown.iter().flatten().map(|linked| TaskId::from(linked.id())).collect();
        self.sources.prepare(&ids).await?;
        let mut items = Vec::new();
        for member in shown {
            items.extend(linked(member, Role::Member, level + 1));
        }
        for (standing, mut count) in left_out {
            items.extend(others(&mut count, standing, Role::Member, level + 1));
        }
        let body = match (call, body) {
            (Some(call), _) => Some(Visit::Call(Box::new(call), None)),
            (None, Some(id)) => Some(Visit::Unsent { id: Some(id), name: None, after: None }),
            (None, None) => None,
        };
        items.extend(body.map(|body| Item::new(Role::Body, level, body)));
        self.next(items);
        Ok(())
    }
}

/// Those that are not told one by one, if there are any; then there are none any more.
fn others(count: &mut u64, standing: &'static str, role: Role, level: u32) -> Option<Item> {
    let count = std::mem::take(count);
    (count > 0).then(|| Item::new(role, level, Visit::Others { count, standing }))
}

/// Results of which each came after the one before: a task after a group is its body.
fn linked(results: Vec<Linked>, role: Role, level: u32) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut role, mut before) = (role, None);
    for result in results {
        let (visit, id) = match result {
            Linked::Group(id, members) => {
                (Visit::Group { id, listed: Some(members), known: Vec::new(), body: None }, None)
            }
            Linked::Task(id) => match items.last_mut() {
                Some(Item { what: Visit::Group { body, .. }, .. }) if body.is_none() => {
                    *body = Some(id);
                    continue;
                }
                Some(_) => {
                    let visit = Visit::Unsent { id: Some(id.clone()), name: None, after: before };
                    (visit, Some(id))
                }
                None => (Visit::Sent(id.clone()), Some(id)),
            },
        };
        items.push(Item::new(role, level, visit));
        (role, before) = (Role::Step, id);
    }
    items
}
