//! The steps of a chain: nested chains taken apart, groups with something after them made chords.

use std::collections::VecDeque;

use celeriac_protocol::Value;

use crate::canvas::MAX_DEPTH;
use crate::canvas::freeze::{Freezer, Place};
use crate::canvas::node::{Chord, Kind, Node, too_deep};
use crate::canvas::options::Options;
use crate::canvas::results::ResultIndex;
use crate::producer::SendError;

/// What the steps of a chain are made for.
#[derive(Default)]
pub(super) struct Steps<'a> {
    /// For its first step.
    pub(super) args: Vec<Value>,
    /// For its first step.
    pub(super) kwargs: Vec<(Box<str>, Value)>,
    /// Where the chain stands, which is where its last step stands; the root is of all.
    pub(super) place: Place<'a>,
    /// For every step.
    pub(super) link_error: Vec<Value>,
    /// Whether the chain runs now. One that waits is kept as it was written.
    pub(super) runs: bool,
}

/// The steps that are made, the last one first, and their results.
type Made = (Vec<Node>, Vec<ResultIndex>);

impl Freezer {
    /// The steps of a chain, frozen, the last one first.
    ///
    /// Source: `celery/canvas.py`, `_chain.prepare_steps`, Celery 5.7.0.
    pub(super) fn prepare_steps(&mut self, tasks: Vec<Node>, chain: &Steps<'_>) -> Result<Made, SendError> {
        let mut steps = VecDeque::from(tasks);
        find_first(&mut steps);
        let mut made: Made = Default::default();
        let mut before: Option<ResultIndex> = None;
        while let Some(task) = steps.pop_back() {
            let is_first = steps.is_empty();
            let mut task = task.unroll_single();
            if task.is_empty_group() && !(is_first && made.0.is_empty()) {
                continue;
            }
            if chain.runs && is_led_by_task(&task) {
                steps.extend(unroll_body(task));
                continue;
            }
            if let Kind::Chain(nested) = task.kind {
                steps.extend(nested);
                continue;
            }
            if is_first {
                task.merge_arguments(&chain.args, &chain.kwargs);
            }
            let is_last = made.0.is_empty();
            if task.is_group() && !is_last {
                (task, before) = self.upgrade(task, &mut made, before)?;
            }
            let root_id = chain.place.root_id;
            let place = if is_last { chain.place } else { Place { root_id, ..Place::default() } };
            let result = self.freeze(&mut task, Place { parent_id: None, ..place })?;
            self.follow(before, result, !made.0.is_empty());
            for errback in &chain.link_error {
                task.link_error(errback);
            }
            // What ran before a chord ran before its header.
            let is_chord = matches!(task.kind, Kind::Chord(_));
            before = Some(if is_chord { self.results.first_of(result) } else { result });
            made.0.push(task);
            made.1.push(result);
        }
        Ok(made)
    }

    /// The result of the step after this one comes from it.
    fn follow(&mut self, after: Option<ResultIndex>, result: ResultIndex, has_next: bool) {
        if let (Some(after), true) = (after, has_next)
            && self.results.parent(after).is_none()
        {
            self.results.set_parent(after, Some(result));
        }
    }

    /// A group with something after it is a chord: takes the step after it as the body.
    ///
    /// Its arguments are kept, where Celery forgets them.
    fn upgrade(
        &mut self,
        group: Node,
        made: &mut Made,
        mut before: Option<ResultIndex>,
    ) -> Result<(Node, Option<ResultIndex>), SendError> {
        let (Some(body), Some(body_result)) = (made.0.pop(), made.1.pop()) else {
            return Ok((group, before));
        };
        let (members, args) = match group {
            Node { kind: Kind::Group(members), args, .. } => (members, args),
            other => (vec![other], Vec::new()),
        };
        let mut chord = Node::chord(members, body);
        chord.args = args;
        if chord.depth > MAX_DEPTH {
            return Err(too_deep(&chord.task));
        }
        // What follows was linked to the result of the body, and is now to be linked to that of the chord.
        let mut node = made.1.last().copied();
        while let Some(at) = node
            && self.results.parent(at) != Some(body_result)
        {
            node = self.results.parent(at);
        }
        if let Some(at) = node {
            self.results.set_parent(at, None);
            before = Some(at);
        }
        Ok((chord, before))
    }
}

/// Takes nested chains at the beginning apart and drops empty groups there, so that the first of the steps is a task
/// that takes the arguments. Of nothing but empty groups, one is left.
fn find_first(steps: &mut VecDeque<Node>) {
    let mut dropped = None;
    while let Some(head) = steps.pop_front() {
        let head = head.unroll_single();
        match head.kind {
            Kind::Chain(nested) => nested.into_iter().rev().for_each(|step| steps.push_front(step)),
            Kind::Group(ref members) if members.is_empty() && !steps.is_empty() => dropped = Some(head),
            _ => {
                steps.push_front(head);
                break;
            }
        }
    }
    if steps.is_empty() {
        steps.extend(dropped);
    }
}

/// Whether it is a chord whose body is a chain that does not begin with a group.
///
/// Source: `celery/canvas.py`, `_is_chain_led_by_task`, Celery 5.7.0.
pub(super) fn is_led_by_task(node: &Node) -> bool {
    let Kind::Chord(chord) = &node.kind else { return false };
    matches!(&chord.body.kind, Kind::Chain(steps) if steps.first().is_some_and(|first| !first.is_group()))
}

/// A chord with the first step of its body as its body, and the other steps: every member of a header has a copy of the
/// body, which is to be small.
///
/// Source: `celery/canvas.py`, `_chord._unroll_body`, Celery 5.7.0.
pub(super) fn unroll_body(mut node: Node) -> Vec<Node> {
    let Kind::Chord(chord) = &mut node.kind else { return vec![node] };
    let Chord { body, .. } = &mut **chord;
    let mut options = std::mem::take(&mut body.options);
    let Kind::Chain(steps) = &mut body.kind else { return vec![node] };
    let steps = unchain(std::mem::take(steps), &mut options);
    let mut steps = steps.into_iter();
    if let Some(mut first) = steps.next() {
        first.options.merge(&first_task_options(options));
        *body = first;
    }
    std::iter::once(node).chain(steps).collect()
}

/// The steps of a chain with its links: what is called with the result is linked to the last step, errbacks to all.
///
/// Source: `celery/canvas.py`, `_chain.unchain_tasks`, Celery 5.7.0.
fn unchain(mut steps: Vec<Node>, options: &mut Options) -> Vec<Node> {
    if let Some(last) = steps.last_mut() {
        options.take_list("link").into_iter().for_each(|callback| last.link(callback));
    }
    for errback in options.take_list("link_error") {
        steps.iter_mut().for_each(|step| step.link_error(&errback));
    }
    steps
}

/// What a chain passes on to its first step.
///
/// Source: `celery/canvas.py`, `_CHAIN_RUN_OPTIONS`, Celery 5.7.0.
fn first_task_options(mut options: Options) -> Options {
    for name in ["group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id"] {
        options.take(name);
    }
    options.chord = None;
    options
}

/// Takes the bodies of chords apart before a chain is frozen.
///
/// Source: `celery/canvas.py`, `_chain._unroll_chords`, Celery 5.7.0.
pub(super) fn unroll_chords(chain: &mut Node) {
    let Kind::Chain(steps) = &mut chain.kind else { return };
    let mut waiting = VecDeque::from(std::mem::take(steps));
    while let Some(mut step) = waiting.pop_front() {
        unroll_chords(&mut step);
        if is_led_by_task(&step) {
            unroll_body(step).into_iter().rev().for_each(|step| waiting.push_front(step));
        } else {
            steps.push(step);
        }
    }
}
