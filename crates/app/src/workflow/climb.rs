//! Up, from what was asked for to where its workflow begins.

use std::collections::HashSet;

use celeriac_protocol::{GroupId, Signature, TaskId};
use celeriac_store::{Result, Sighting};

use super::follows::{embed_of, is_member, leads_to, text, unrolled};
use super::sources::{Facts, Sources};
use super::standing::Standing;

/// The most tasks above the one that was asked for.
const HIGHEST: usize = 1000;

/// Where a workflow begins.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    /// Its first task that is known.
    pub first: Option<TaskId>,
    /// Groups that no task of it is known to have sent, the first one first.
    pub groups: Vec<Found>,
}

/// A group, as it was come upon.
#[derive(Debug)]
pub(super) struct Found {
    pub id: GroupId,
    /// Some of its members.
    pub members: Vec<TaskId>,
    /// The body, if it is the header of a chord whose body was come from.
    pub body: Option<TaskId>,
}

/// One task on the way up.
struct Stage {
    id: TaskId,
    facts: Facts,
    group: Option<GroupId>,
}

/// Finds where the workflow of this task or group begins.
pub(super) async fn climb(asked: &str, sources: &mut Sources<'_>) -> Result<Option<Beginning>> {
    let task = TaskId::from(asked);
    let facts = sources.facts(&task).await?;
    if facts.record.is_some() || facts.standing != Standing::Unknown {
        return from_task(task, sources).await.map(Some);
    }
    let group = GroupId::from(asked);
    let (mentions, _) = sources.mentions(asked).await?;
    let found = mentions.iter().find(|seen| has_to_do_with(seen, asked));
    if let Some(id) = found.and_then(|seen| seen.message.headers.id.clone()) {
        return from_task(id, sources).await.map(Some);
    }
    let saved = sources.saved(&group).await?;
    let first = saved.as_ref().and_then(|members| unrolled(members.first()?).into_iter().next());
    if saved.is_none() && sources.chord(&group).await?.is_none() {
        return Ok(None);
    }
    let first = first.map(|first| TaskId::from(first.id()));
    let mut beginning = match &first {
        Some(first) => from_task(first.clone(), sources).await?,
        None => Beginning::default(),
    };
    if !beginning.groups.iter().any(|found| found.id == group) {
        beginning.groups.insert(0, Found { id: group, members: first.into_iter().collect(), body: None });
    }
    Ok(Some(beginning))
}

/// Whether a message that mentions an id does so as a part of the same workflow, and not among its arguments.
fn has_to_do_with(seen: &Sighting, id: &str) -> bool {
    let headers = &seen.message.headers;
    let relatives = [&headers.parent_id, &headers.root_id];
    relatives.iter().any(|relative| relative.as_ref().is_some_and(|relative| relative.as_str() == id))
        || is_member(&seen.message, &GroupId::from(id))
        || leads_to(&embed_of(&seen.message), id)
}

async fn from_task(start: TaskId, sources: &mut Sources<'_>) -> Result<Beginning> {
    let mut stages: Vec<Stage> = Vec::new();
    let (mut seen, mut next) = (HashSet::new(), Some(start));
    while let Some(id) = next {
        if stages.len() >= HIGHEST || !seen.insert(id.clone()) {
            break;
        }
        let facts = sources.facts(&id).await?;
        next = facts.parent().or_else(|| failed_member(&facts));
        let group = facts.group().or_else(|| group_of_chain(&facts));
        stages.push(Stage { id, facts, group });
    }
    let groups = groups_of(&stages);
    Ok(Beginning { first: stages.pop().map(|top| top.id), groups })
}

/// The groups on the way that no task on the way has sent, the highest first.
fn groups_of(stages: &[Stage]) -> Vec<Found> {
    let mut sent = HashSet::new();
    for tuple in stages.iter().flat_map(|stage| stage.facts.children()) {
        sent.extend(unrolled(tuple).iter().map(|linked| linked.id().to_owned()));
    }
    let mut groups: Vec<Found> = Vec::new();
    for (at, stage) in stages.iter().enumerate().rev() {
        let Some(group) = stage.group.clone().filter(|group| !sent.contains(group.as_str())) else {
            continue;
        };
        // What came after a member, and is neither another one nor sent by it, is what the whole group was waited for.
        let below = at.checked_sub(1).map(|below| &stages[below]);
        let body = below.filter(|below| {
            below.group.as_ref() != Some(&group)
                && stage.facts.standing.is_final()
                && !sent.contains(below.id.as_str())
        });
        let body = body.map(|body| body.id.clone());
        match groups.iter_mut().find(|found| found.id == group) {
            Some(found) => {
                found.members.push(stage.id.clone());
                found.body = found.body.take().or(body);
            }
            None => groups.push(Found { id: group, members: vec![stage.id.clone()], body }),
        }
    }
    groups
}

/// The group whose member is the chain that this task is a step of.
fn group_of_chain(facts: &Facts) -> Option<GroupId> {
    let chain = embed_of(facts.message()?).chain;
    text(chain.first()? as &Signature, "group_id").map(GroupId::from)
}

/// The member because of which a body failed.
///
/// Source: `celery/backends/base.py`, `Backend.on_chord_part_return`, Celery 5.7.0: `Dependency ID raised ERROR`.
fn failed_member(facts: &Facts) -> Option<TaskId> {
    let exception = facts.record.as_ref()?.exception()?;
    if &*exception.exc_type != "ChordError" {
        return None;
    }
    let message = exception.message();
    message.strip_prefix("Dependency ")?.split(' ').next().map(TaskId::from)
}
