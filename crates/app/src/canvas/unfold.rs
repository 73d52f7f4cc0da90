//! Unfolding: what applying a signature publishes, batch by batch.

use std::sync::Arc;

use celeriac_protocol::{GroupId, Signature, TaskId, Value};
use celeriac_store::{NewChord, Publication, SavedGroup};

use crate::App;
use crate::canvas::freeze::{Freezer, Place};
use crate::canvas::node::{Kind, Node, override_with, refuse, take};
use crate::canvas::options::Options;
use crate::canvas::results::{ResultIndex, Results};
use crate::canvas::steps::{Steps, unroll_chords};
use crate::canvas::{Apply, ResultTree};
use crate::composer::Composer;
use crate::producer::SendError;

/// A signature on its way into messages. What is left of it shrinks as messages are made.
pub(crate) struct Unfolding<'a> {
    composer: Composer<'a>,
    freezer: Freezer,
    /// Members that are still to be applied; the innermost group is the last.
    waiting: Vec<Members>,
    batch: Publication,
    result: Option<ResultIndex>,
    has_parent: bool,
    children: Vec<ResultIndex>,
    /// The results, once nothing is added to them.
    tree: Option<Arc<Results>>,
}

/// The members of a group that are still to be applied, all in the same way.
struct Members {
    left: std::vec::IntoIter<Node>,
    applied: Arc<Applied>,
}

/// How a node is applied.
#[derive(Clone, Default)]
struct Applied {
    args: Vec<Value>,
    kwargs: Vec<(Box<str>, Value)>,
    options: Options,
}

impl<'a> Unfolding<'a> {
    /// Freezes the whole signature; messages come with the batches.
    pub(crate) fn start(app: &'a App, signature: Signature, mut apply: Apply) -> Result<Self, SendError> {
        let node = Node::new(signature)?;
        let options = apply.take_options();
        let Apply { args, kwargs, parent, .. } = apply;
        let has_parent = parent.is_some();
        let mut unfolding = Self {
            composer: Composer::new(app, parent),
            freezer: Freezer::default(),
            waiting: Vec::new(),
            batch: Publication::default(),
            result: None,
            has_parent,
            children: Vec::new(),
            tree: None,
        };
        unfolding.result = unfolding.apply(node, &Applied { args, kwargs, options })?;
        Ok(unfolding)
    }

    /// The next messages, at least one and at most so many; none when there are no more.
    pub(crate) fn next_batch(&mut self, limit: usize) -> Result<Option<Publication>, SendError> {
        while self.batch.messages.len() < limit {
            let Some(members) = self.waiting.last_mut() else { break };
            match members.left.next() {
                Some(member) => {
                    let applied = Arc::clone(&members.applied);
                    self.apply(member, &applied)?;
                }
                None => drop(self.waiting.pop()),
            }
        }
        let batch = std::mem::take(&mut self.batch);
        Ok((batch != Publication::default()).then_some(batch))
    }

    /// How many members of groups have not been applied yet.
    pub(crate) fn left(&self) -> usize {
        self.waiting.iter().map(|members| members.left.len()).sum()
    }

    /// What the caller gets. Complete from the start.
    pub(crate) fn result(&mut self) -> Option<ResultTree> {
        let at = self.result?;
        Some(ResultTree::new(self.tree(), at))
    }

    /// What becomes a child of the task that applies it.
    pub(crate) fn children(&self) -> Vec<Value> {
        let results = self.tree.as_deref().unwrap_or(&self.freezer.results);
        self.children.iter().map(|at| results.tuple(*at)).collect()
    }

    fn tree(&mut self) -> &Arc<Results> {
        let results = &self.freezer.results;
        self.tree.get_or_insert_with(|| Arc::new(results.clone()))
    }

    /// Applies a node: makes the message of a task, and leaves the members of a group for later. Goes no deeper than
    /// compositions are nested.
    fn apply(&mut self, node: Node, applied: &Applied) -> Result<Option<ResultIndex>, SendError> {
        match node.kind {
            Kind::Task => self.send(node, applied).map(Some),
            Kind::Chain(_) => self.run_chain(node, applied),
            Kind::Group(_) => self.run_group(node, applied).map(Some),
            Kind::Chord(_) => self.run_chord(node, applied).map(Some),
        }
    }

    /// Source: `celery/canvas.py`, `Signature.apply_async`, Celery 5.7.0.
    fn send(&mut self, mut node: Node, applied: &Applied) -> Result<ResultIndex, SendError> {
        node.merge_arguments(&applied.args, &applied.kwargs);
        let Node { task, args, kwargs, mut options, .. } = node;
        options.merge(&applied.options);
        let is_child = is_child(&mut options) && self.has_parent;
        let (id, publish) = self.composer.compose_wire(task, args, kwargs, options)?;
        self.batch.messages.push(publish);
        let result = self.freezer.results.task(id);
        self.children.extend(is_child.then_some(result));
        Ok(result)
    }

    /// Source: `celery/canvas.py`, `_chain.run`, Celery 5.7.0.
    fn run_chain(&mut self, node: Node, applied: &Applied) -> Result<Option<ResultIndex>, SendError> {
        let Kind::Chain(tasks) = node.kind else { return Ok(None) };
        let mut options = node.options;
        options.update(&applied.options);
        let (task_id, group_id) = (options.take_text("task_id"), options.take_text("group_id"));
        let root_id = options.take_text("root_id");
        let group_index = options.take("group_index").and_then(|index| index.as_i64());
        let (link, link_error) = (options.take_list("link"), options.take_list("link_error"));
        let chord = options.chord.take();
        options.take("parent_id");
        let place = Place {
            id: task_id.as_deref(),
            group_id: group_id.as_deref(),
            chord: chord.as_ref(),
            root_id: root_id.as_deref(),
            parent_id: None,
            group_index,
        };
        let (args, kwargs) = (applied.args.clone(), applied.kwargs.clone());
        let steps = Steps { args, kwargs, place, link_error, runs: true };
        let (mut steps, results) = self.freezer.prepare_steps(tasks, &steps)?;
        if let (Some(last), false) = (steps.first_mut(), link.is_empty()) {
            last.options.extend("link", link);
        }
        let Some(first) = steps.pop() else { return Ok(None) };
        let is_single = steps.is_empty();
        if !is_single {
            let after = options.chain.take();
            let after = after.iter().flat_map(|steps| steps.iter().cloned());
            options.chain = Some(after.chain(steps.into_iter().map(Node::into_signature)).collect());
        }
        let result = self.apply(first, &Applied { options, ..Applied::default() })?;
        Ok(if is_single { result } else { results.first().copied() })
    }

    /// Source: `celery/canvas.py`, `group.apply_async`, `_prepared` and `_apply_tasks`, Celery 5.7.0.
    fn run_group(&mut self, mut node: Node, applied: &Applied) -> Result<ResultIndex, SendError> {
        if applied.options.has("link") || applied.options.has("link_error") {
            return Err(refuse(
                &node.task,
                "a group has no callbacks: link them to its members, or use a chord",
            ));
        }
        if node.is_empty_group() {
            return self.freezer.freeze(&mut node, Place::default());
        }
        let mut call = applied.options.clone();
        let is_child = is_child(&mut call) && self.has_parent;
        let Node { args, mut options, kind, .. } = node;
        let Kind::Group(tasks) = kind else { return Ok(self.freezer.results.group(TaskId::fresh(), vec![])) };
        options.merge_group(&call);
        let id = options.take_text("task_id").map_or_else(TaskId::fresh, TaskId::new);
        options.set("group_id", id.as_str());
        options.take("group_index");
        let (mut members, mut results) = (Vec::with_capacity(tasks.len()), Vec::with_capacity(tasks.len()));
        let place =
            Place { group_id: Some(id.as_str()), root_id: options.text("root_id"), ..Place::default() };
        self.prepare_members(tasks, &place, &mut members, &mut results)?;
        self.begin_chord(&id, &members, &options);
        options.set("add_to_parent", false);
        let args =
            if args.is_empty() { applied.args.clone() } else { [&applied.args[..], &args[..]].concat() };
        let applied = Arc::new(Applied { args, kwargs: applied.kwargs.clone(), options });
        self.waiting.push(Members { left: members.into_iter(), applied });
        let mut result = self.freezer.results.group(id, results);
        // A group of a chain that ends in a group is that group to whoever waits for it.
        if let [single] = *self.freezer.results.members(result)
            && self.freezer.results.is_group(single)
        {
            result = single;
        }
        self.children.extend(is_child.then_some(result));
        Ok(result)
    }

    /// The members of a group and of the groups in it. As in Celery, those of each are counted from zero.
    fn prepare_members(
        &mut self,
        tasks: Vec<Node>,
        place: &Place<'_>,
        members: &mut Vec<Node>,
        results: &mut Vec<ResultIndex>,
    ) -> Result<(), SendError> {
        for (index, mut task) in tasks.into_iter().enumerate() {
            if task.is_empty_chain() {
                continue;
            }
            if let Kind::Group(nested) = task.kind {
                self.prepare_members(nested, place, members, results)?;
                continue;
            }
            let place = Place { group_index: i64::try_from(index).ok(), ..*place };
            results.push(self.freezer.freeze(&mut task, place)?);
            members.push(task);
        }
        Ok(())
    }

    /// The group is the header of a chord if its members say so, and say that it is their group.
    fn begin_chord(&mut self, id: &TaskId, members: &[Node], options: &Options) {
        let Some(last) = members.last() else { return };
        if options.chord.is_none() && last.options.chord.is_none() {
            return;
        }
        if options_group(last).is_some_and(|group| group != id.as_str()) {
            return;
        }
        self.batch.chords.push(NewChord {
            id: GroupId::new(id.as_str()),
            size: members.iter().map(Node::chord_size).sum(),
            expires_after: self.composer.result_lifetime(),
        });
    }

    /// Source: `celery/canvas.py`, `_chord.apply_async` and `_chord.run`, Celery 5.7.0.
    fn run_chord(&mut self, node: Node, applied: &Applied) -> Result<ResultIndex, SendError> {
        let Node { task, mut args, mut kwargs, mut options, immutable, kind, .. } = node;
        let Kind::Chord(chord) = kind else { return Err(refuse(&task, "it is no chord")) };
        let (mut header, mut body) = (chord.header, chord.body);
        let mut call = applied.options.clone();
        let mut delay = [("countdown", call.take("countdown")), ("eta", call.take("eta"))];
        let links = (call.take_list("link"), call.take_list("link_error"));
        let task_id = call.take_text("task_id");
        body.options.merge(&for_body(&call));

        header.options.set_default("task_id", options.text("task_id"));
        options.update(&call);
        if !links.0.is_empty() {
            options.set("link", links.0);
        }
        if !links.1.is_empty() {
            options.set("link_error", links.1);
        }
        for (name, given) in &mut delay {
            let own = options.take(name);
            *given = given.take().or(own);
        }
        let body_id = task_id.or(options.take_text("task_id"));
        ["interval", "max_retries", "eager"].iter().for_each(|name| drop(options.take(name)));
        let root_id: Option<Box<str>> = body.options.text("root_id").map(Into::into);
        add_body_callbacks(&mut body, &mut options);
        body.options.update(&for_body(&options));

        let group_id = header.options.text("task_id").map_or_else(TaskId::fresh, TaskId::new);
        header.options.set("task_id", group_id.as_str());
        unroll_chords(&mut body);
        let (group, root) = (Some(group_id.as_str()), root_id.as_deref());
        let place = Place { id: body_id.as_deref(), group_id: group, root_id: root, ..Place::default() };
        let body_result = self.freezer.freeze(&mut body, place)?;

        (options.chain, options.chord) = (None, None);
        for (name, value) in delay {
            value.into_iter().for_each(|value| options.set(name, value));
        }
        let header_result = if header.is_hollow() {
            let empty = Applied { args: vec![Value::List(Vec::new())], ..Applied::default() };
            self.apply(body, &empty)?;
            self.freezer.freeze(&mut header, Place::default())?
        } else {
            let chord = Arc::new(body.into_signature());
            let place = Place { group_id: group, chord: Some(&chord), root_id: root, ..Place::default() };
            let result = self.freezer.freeze(&mut header, place)?;
            self.save_group(&group_id, result);
            args = if immutable { args } else { [applied.args.clone(), args].concat() };
            let mut for_header = match take(&mut kwargs, "kwargs") {
                Some(Value::Map(kwargs)) => kwargs,
                _ => Vec::new(),
            };
            override_with(&mut for_header, &applied.kwargs);
            self.run_group(header, &Applied { args, kwargs: for_header, options })?
        };
        self.freezer.results.set_parent(body_result, Some(header_result));
        Ok(body_result)
    }

    /// A header whose members are more than tasks is remembered, so that the body gets what they return in their order.
    ///
    /// Source: `celery/backends/redis.py`, `RedisBackend.apply_chord`, Celery 5.7.0.
    fn save_group(&mut self, id: &TaskId, result: ResultIndex) {
        let results = &self.freezer.results;
        if results.members(result).iter().any(|member| results.is_group(*member)) {
            self.batch.groups.push(SavedGroup {
                id: GroupId::new(id.as_str()),
                result: results.tuple(result),
                expires_after: self.composer.result_lifetime(),
            });
        }
    }
}

fn options_group(node: &Node) -> Option<&str> {
    let mut node = node;
    loop {
        match &node.kind {
            Kind::Chain(steps) => node = steps.last()?,
            Kind::Chord(chord) => node = &chord.body,
            Kind::Task | Kind::Group(_) => return node.options.text("group_id"),
        }
    }
}

/// Whether what is sent becomes a child of the task that sends it.
fn is_child(options: &mut Options) -> bool {
    options.take("add_to_parent").and_then(|value| value.as_bool()).unwrap_or(true)
}

/// Source: `celery/canvas.py`, `_chord._body_options`, Celery 5.7.0: the member that completes the header is its parent.
fn for_body(options: &Options) -> Options {
    let mut options = options.clone();
    options.take("parent_id");
    options
}

/// Moves what is called after a chord to its body, which knows how it ended.
///
/// Source: `celery/canvas.py`, `_chord._add_body_callbacks` and `_link_error_to_body_tasks`, Celery 5.7.0.
fn add_body_callbacks(body: &mut Node, options: &mut Options) {
    for callback in options.take_list("link") {
        match body.is_empty_group() {
            true => body.options.append("link", callback),
            false => body.link(callback),
        }
    }
    for errback in options.take_list("link_error") {
        match body.is_group() {
            true => link_error_to_members(body, &errback, true),
            false => body.options.append("link_error", errback),
        }
    }
}

fn link_error_to_members(node: &mut Node, errback: &Value, runs_as_group: bool) {
    match &mut node.kind {
        Kind::Group(_) if runs_as_group && node.options.has("link_error") => {
            node.options.append("link_error", errback.clone());
        }
        Kind::Group(members) => {
            members.iter_mut().for_each(|member| link_error_to_members(member, errback, false));
        }
        Kind::Chord(chord) => link_error_to_members(&mut chord.body, errback, true),
        Kind::Task | Kind::Chain(_) => node.link_error(errback),
    }
}
