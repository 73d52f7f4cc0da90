//! Through the members of a group, however many they are.

use celeriac_protocol::{GroupId, Signature, TaskId, Value};
use celeriac_store::Result;

use super::follows::{Linked, body_of, is_member, unrolled};
use super::sources::Sources;
use super::{GroupNode, Remark, add_to};

/// What is told of a group.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub node: GroupNode,
    /// Those of its members that are told one by one: each with what is before it in its chain.
    pub shown: Vec<Vec<Linked>>,
    /// How many others there are, by how they stand.
    pub others: Vec<(&'static str, u64)>,
    /// The body, where a member's message has it.
    pub body: Option<Signature>,
}

/// What a group within the group counts as.
const GROUP: &str = "group";

/// Surveys a group whose members are listed.
pub(super) async fn of_listed(
    id: GroupId,
    members: &[Value],
    asked: &str,
    sources: &mut Sources<'_>,
) -> Result<Survey> {
    let chains: Vec<Vec<Linked>> = members.iter().map(unrolled).filter(|chain| !chain.is_empty()).collect();
    let last = |chain: &Vec<Linked>| match chain.last() {
        Some(Linked::Task(id)) => Some(id.clone()),
        _ => None,
    };
    let tasks: Vec<TaskId> = chains.iter().filter_map(last).collect();
    let mut stands = sources.stands(&tasks).await?.into_iter();
    let stands: Vec<&'static str> = chains
        .iter()
        .map(|chain| match last(chain) {
            None => GROUP,
            Some(_) => match (stands.next().flatten(), chain.len()) {
                (Some(stands), _) => stands,
                (None, 1) => "unknown",
                (None, _) => "not-sent",
            },
        })
        .collect();
    let chord = sources.chord(&id).await?;
    let mut survey = Survey::default();
    survey.node = GroupNode {
        id: Some(id),
        size: Some(chains.len() as u64),
        is_header: chord.is_some(),
        ..survey.node
    };
    let limit = sources.options.limit;
    let (is_small, mut shown) = (chains.len() <= limit, Vec::<(&str, usize)>::new());
    for (chain, stands) in chains.into_iter().zip(stands) {
        survey.node.add(stands, 1);
        let at = match shown.iter().position(|(name, _)| *name == class(stands)) {
            Some(at) => at,
            None => {
                shown.push((class(stands), 0));
                shown.len() - 1
            }
        };
        let is_asked = chain.iter().any(|linked| linked.id() == asked);
        if is_small || is_asked || (stands != "succeeded" && shown[at].1 < limit) {
            shown[at].1 += 1;
            survey.shown.push(chain);
        } else {
            survey.leave_out(stands, 1);
        }
    }
    Ok(survey)
}

/// Members of one class share a limit.
fn class(stands: &'static str) -> &'static str {
    match stands {
        "succeeded" => "succeeded",
        "failed" | "revoked" => "failed",
        _ => "open",
    }
}

/// Surveys a group whose members nobody has listed: of those that have ended there is a count at most, and the others are
/// found by their messages.
pub(super) async fn of_unlisted(
    id: GroupId,
    known: &[TaskId],
    asked: &str,
    sources: &mut Sources<'_>,
) -> Result<Survey> {
    let chord = sources.chord(&id).await?;
    let (mut mentions, is_complete) = sources.mentions(id.as_str()).await?;
    mentions.retain(|seen| is_member(&seen.message, &id));
    let body = mentions.iter().find_map(|seen| body_of(&seen.message, &id));
    let mut survey = Survey { body, ..Survey::default() };
    let mut members: Vec<TaskId> = known.to_vec();
    mentions.sort_by_key(|seen| seen.message.headers.group_index);
    for id in mentions.iter().filter_map(|seen| seen.message.headers.id.clone()) {
        if !members.contains(&id) {
            members.push(id);
        }
    }
    let stands: Vec<&'static str> =
        sources.stands(&members).await?.into_iter().map(|stands| stands.unwrap_or("unknown")).collect();
    let node = &mut survey.node;
    (node.size, node.is_header) = (chord.and_then(|chord| chord.size), chord.is_some());
    let succeeded = stands.iter().filter(|stands| **stands == "succeeded").count() as u64;
    let unlisted = chord.map_or(0, |chord| chord.reported.saturating_sub(succeeded));
    survey.leave_out("succeeded", unlisted);
    survey.node.add("succeeded", unlisted);
    let limit = sources.options.limit;
    for (member, stands) in members.into_iter().zip(stands) {
        survey.node.add(stands, 1);
        if survey.shown.len() < limit || member.as_str() == asked || known.contains(&member) {
            survey.shown.push(vec![Linked::Task(member)]);
        } else {
            survey.leave_out(stands, 1);
        }
    }
    let told: u64 = survey.node.counts.iter().map(|(_, count)| count).sum();
    let missing = survey.node.size.map_or(0, |size| size.saturating_sub(told));
    survey.node.add("unknown", missing);
    survey.leave_out("unknown", missing);
    if missing > 0 && is_complete {
        sources.remark(Remark::MembersMissing { chord: id.clone(), count: missing });
    } else if chord.is_none() {
        sources.remark(Remark::MembersUnlisted(id.clone()));
    }
    survey.node.id = Some(id);
    Ok(survey)
}

impl Survey {
    fn leave_out(&mut self, stands: &'static str, count: u64) {
        add_to(&mut self.others, stands, count);
    }
}
