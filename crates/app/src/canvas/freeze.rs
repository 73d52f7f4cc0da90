//! Freezing: every task gets its id and its place, and every result is known before anything is sent.

use std::collections::VecDeque;
use std::sync::Arc;

use celeriac_protocol::{Signature, TaskId};

use crate::canvas::node::{Chord, Kind, Node, refuse};
use crate::canvas::results::{ResultIndex, Results};
use crate::canvas::steps::Steps;
use crate::producer::SendError;

/// Gives ids and places, and keeps the results.
#[derive(Default)]
pub(super) struct Freezer {
    pub(super) results: Results,
}

/// Where a signature stands; what it has already goes before that, but for the chord and the workflow.
#[derive(Clone, Copy, Default)]
pub(super) struct Place<'a> {
    pub(super) id: Option<&'a str>,
    pub(super) group_id: Option<&'a str>,
    pub(super) chord: Option<&'a Arc<Signature>>,
    pub(super) root_id: Option<&'a str>,
    pub(super) parent_id: Option<&'a str>,
    pub(super) group_index: Option<i64>,
}

impl Freezer {
    /// Source: `celery/canvas.py`, `freeze` of `Signature`, `_chain`, `group` and `_chord`, Celery 5.7.0. As the header of
    /// a chord that waits does not hold the body a second time there (`_strip_chord_header_links`), it never does here.
    /// `reply_to` is left out: nothing here listens for replies.
    pub(super) fn freeze(&mut self, node: &mut Node, place: Place<'_>) -> Result<ResultIndex, SendError> {
        match &mut node.kind {
            Kind::Task => Ok(self.freeze_task(node, &place)),
            Kind::Chain(_) => self.freeze_chain(node, place),
            Kind::Group(_) => self.freeze_group(node, &place),
            Kind::Chord(_) => self.freeze_chord(node, place),
        }
    }

    fn freeze_task(&mut self, node: &mut Node, place: &Place<'_>) -> ResultIndex {
        let options = &mut node.options;
        let id = match (options.text("task_id"), place.id) {
            (Some(id), _) => TaskId::new(id),
            (None, id) => {
                let id = id.map_or_else(TaskId::fresh, TaskId::new);
                options.set("task_id", id.as_str());
                id
            }
        };
        for (name, given) in [("root_id", place.root_id), ("parent_id", place.parent_id)] {
            if let Some(given) = given {
                options.set(name, given);
            }
        }
        options.set_default("group_id", place.group_id);
        if let Some(chord) = place.chord {
            options.chord = Some(Arc::clone(chord));
        }
        if let Some(index) = place.group_index {
            options.set("group_index", index);
        }
        self.results.task(id)
    }

    fn freeze_chain(&mut self, node: &mut Node, place: Place<'_>) -> Result<ResultIndex, SendError> {
        let Kind::Chain(tasks) = &mut node.kind else { return Ok(self.freeze_task(node, &place)) };
        let steps = Steps { place, ..Steps::default() };
        let (mut tasks_made, results) = self.prepare_steps(std::mem::take(tasks), &steps)?;
        tasks_made.reverse();
        *tasks = tasks_made;
        let last =
            *results.first().ok_or_else(|| refuse(&node.task, "a chain without steps has no result"))?;
        node.options.set("task_id", self.results.id(last).as_str());
        Ok(last)
    }

    /// A group within the group is flattened. Its members come in reverse, as in Celery.
    fn freeze_group(&mut self, node: &mut Node, place: &Place<'_>) -> Result<ResultIndex, SendError> {
        let Kind::Group(members) = &mut node.kind else { return Ok(self.freeze_task(node, place)) };
        let options = &mut node.options;
        let id = options.text("task_id").map_or_else(TaskId::fresh, TaskId::new);
        options.set("task_id", id.as_str());
        if let Some(group_id) = place.group_id {
            options.set("group_id", group_id);
        }
        if let Some(chord) = place.chord {
            options.chord = Some(Arc::clone(chord));
        }
        if let Some(index) = place.group_index {
            options.set("group_index", index);
        }
        options.set_default("root_id", place.root_id);
        options.set_default("parent_id", place.parent_id);
        let (root_id, parent_id) = (options.text("root_id"), options.text("parent_id"));
        let mut waiting = VecDeque::from(std::mem::take(members));
        let mut results = Vec::with_capacity(waiting.len());
        members.reserve(waiting.len());
        while let Some(mut member) = waiting.pop_front() {
            if let Kind::Group(nested) = member.kind {
                nested.into_iter().for_each(|member| waiting.push_front(member));
                continue;
            }
            if member.is_empty_chain() {
                continue;
            }
            let index = i64::try_from(results.len()).ok();
            let place = Place { id: None, root_id, parent_id, group_index: index, ..*place };
            results.push(self.freeze(&mut member, place)?);
            members.push(member);
        }
        Ok(self.results.group(id, results))
    }

    fn freeze_chord(&mut self, node: &mut Node, place: Place<'_>) -> Result<ResultIndex, SendError> {
        let Kind::Chord(chord) = &mut node.kind else { return Ok(self.freeze_task(node, &place)) };
        let Chord { header, body, is_frozen } = &mut **chord;
        header.options.set_default("task_id", node.options.text("task_id"));
        let Place { parent_id, root_id, .. } = place;
        let header_result = self.freeze_group(header, &Place { parent_id, root_id, ..Place::default() })?;
        node.options.set("task_id", self.results.id(header_result).as_str());
        *is_frozen = true;
        let result = self.freeze(body, Place { parent_id: None, ..place })?;
        let first = self.results.first_of(result);
        self.results.set_parent(first, Some(header_result));
        Ok(result)
    }
}
