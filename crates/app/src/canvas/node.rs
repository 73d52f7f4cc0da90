//! A signature taken apart: what is composed of what.

use celeriac_protocol::{Signature, TaskName, Value};

use crate::canvas::MAX_DEPTH;
use crate::canvas::options::Options;
use crate::producer::SendError;

/// One signature of a tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) task: TaskName,
    pub(super) args: Vec<Value>,
    /// Without those that hold what it is composed of.
    pub(super) kwargs: Vec<(Box<str>, Value)>,
    pub(super) options: Options,
    pub(super) immutable: bool,
    pub(super) kind: Kind,
    /// How many levels of compositions it holds.
    pub(super) depth: u32,
    subtask_type: Option<Box<str>>,
    other: Vec<(Box<str>, Value)>,
}

/// What a signature is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// A call of a task.
    Task,
    /// Steps, one after the other.
    Chain(Vec<Node>),
    /// Members, at the same time.
    Group(Vec<Node>),
    /// A header, and what is called with what it returns.
    Chord(Box<Chord>),
}

/// A chord.
#[derive(Clone, Debug)]
pub(super) struct Chord {
    /// A group.
    pub(super) header: Node,
    pub(super) body: Node,
    /// Whether the header has an id, and travels as a group; else as the list of its members.
    pub(super) is_frozen: bool,
}

/// What is wrong with a signature, for whoever sends it.
pub(super) fn refuse(task: &TaskName, reason: impl Into<String>) -> SendError {
    SendError::Option { task: task.clone(), reason: reason.into() }
}

impl Node {
    /// Takes a signature apart.
    ///
    /// As in Celery's `from_dict`, chains and groups have no arguments of their own, and the header of a chord no options.
    pub(super) fn new(signature: Signature) -> Result<Self, SendError> {
        Self::within(signature, MAX_DEPTH)
    }

    fn within(signature: Signature, levels: u32) -> Result<Self, SendError> {
        let Signature { task, args, mut kwargs, options, subtask_type, immutable, other } = signature;
        let options = Options::from_entries(options);
        let compose = |kwargs: &mut Vec<(Box<str>, Value)>| nodes(&task, take(kwargs, "tasks"), levels);
        let (kind, args, kwargs) = match subtask_type.as_deref() {
            Some("chain") => (Kind::Chain(compose(&mut kwargs)?), Vec::new(), Vec::new()),
            Some("group") => (Kind::Group(compose(&mut kwargs)?), Vec::new(), Vec::new()),
            Some("chord") => {
                let header = Self::group(nodes(&task, header(take(&mut kwargs, "header")), levels)?);
                let body = take(&mut kwargs, "body").filter(|body| !body.is_null());
                let body = body.ok_or_else(|| refuse(&task, "a chord has a body"))?;
                let body = node(&task, body, levels)?;
                (Kind::Chord(Box::new(Chord { header, body, is_frozen: false })), args, kwargs)
            }
            _ => (Kind::Task, args, kwargs),
        };
        let mut node = Self { task, args, kwargs, options, immutable, kind, depth: 0, subtask_type, other };
        node.measure();
        Ok(node)
    }

    pub(super) fn group(members: Vec<Self>) -> Self {
        Self::composed("celery.group", "group", Kind::Group(members))
    }

    pub(super) fn chord(header: Vec<Self>, body: Self) -> Self {
        let chord = Chord { header: Self::group(header), body, is_frozen: false };
        let mut node = Self::composed("celery.chord", "chord", Kind::Chord(Box::new(chord)));
        node.kwargs = vec![("kwargs".into(), Value::Map(Vec::new()))];
        node
    }

    fn composed(task: &str, subtask_type: &str, kind: Kind) -> Self {
        let mut node = Self {
            task: task.into(),
            args: Vec::new(),
            kwargs: Vec::new(),
            options: Options::default(),
            immutable: false,
            kind,
            depth: 0,
            subtask_type: Some(subtask_type.into()),
            other: Vec::new(),
        };
        node.measure();
        node
    }

    fn measure(&mut self) {
        let deepest = |nodes: &[Self]| nodes.iter().map(|node| node.depth + 1).max().unwrap_or(0);
        self.depth = match &self.kind {
            Kind::Task => 0,
            Kind::Chain(nodes) | Kind::Group(nodes) => deepest(nodes),
            Kind::Chord(chord) => chord.header.depth.max(chord.body.depth + 1),
        };
    }

    /// The form of the wire.
    pub(super) fn into_signature(self) -> Signature {
        let values = |nodes: Vec<Self>| {
            Value::List(nodes.into_iter().map(|node| node.into_signature().into_value()).collect())
        };
        let mut kwargs = self.kwargs;
        match self.kind {
            Kind::Task => {}
            Kind::Chain(nodes) | Kind::Group(nodes) => kwargs.push(("tasks".into(), values(nodes))),
            Kind::Chord(chord) => {
                let header = match (chord.is_frozen, chord.header) {
                    (false, Self { kind: Kind::Group(members), .. }) => values(members),
                    (_, header) => header.into_signature().into_value(),
                };
                kwargs.push(("header".into(), header));
                kwargs.push(("body".into(), chord.body.into_signature().into_value()));
            }
        }
        Signature {
            task: self.task,
            args: self.args,
            kwargs,
            options: self.options.into_entries(),
            subtask_type: self.subtask_type,
            immutable: self.immutable,
            other: self.other,
        }
    }

    pub(super) fn is_group(&self) -> bool {
        matches!(self.kind, Kind::Group(_))
    }

    pub(super) fn is_empty_group(&self) -> bool {
        matches!(&self.kind, Kind::Group(members) if members.is_empty())
    }

    pub(super) fn is_empty_chain(&self) -> bool {
        matches!(&self.kind, Kind::Chain(steps) if steps.is_empty())
    }

    /// Whether nothing in it runs, however it is composed.
    pub(super) fn is_hollow(&self) -> bool {
        match &self.kind {
            Kind::Group(members) => {
                members.iter().all(|member| member.is_empty_chain() || member.is_hollow())
            }
            _ => false,
        }
    }

    /// A group of one member is that member.
    ///
    /// Source: `celery/canvas.py`, `maybe_unroll_group`, Celery 5.7.0.
    pub(super) fn unroll_single(mut self) -> Self {
        match &mut self.kind {
            Kind::Group(members) if members.len() == 1 => members.remove(0),
            _ => self,
        }
    }

    /// Puts arguments before its own, and keyword arguments over them, unless it is immutable.
    ///
    /// Source: `celery/canvas.py`, `Signature._merge`, Celery 5.7.0.
    pub(super) fn merge_arguments(&mut self, args: &[Value], kwargs: &[(Box<str>, Value)]) {
        if self.immutable {
            return;
        }
        if !args.is_empty() {
            self.args.splice(0..0, args.iter().cloned());
        }
        override_with(&mut self.kwargs, kwargs);
    }

    /// How many members of a chord it counts for.
    ///
    /// Source: `celery/canvas.py`, `_chord._descend`, Celery 5.7.0.
    pub(super) fn chord_size(&self) -> u64 {
        match &self.kind {
            Kind::Task => 1,
            Kind::Group(members) => members.iter().map(Self::chord_size).sum(),
            Kind::Chain(steps) => {
                steps.iter().rev().map(Self::chord_size).find(|size| *size > 0).unwrap_or(0)
            }
            Kind::Chord(chord) => chord.body.chord_size(),
        }
    }

    /// Adds a signature to be called with its result.
    pub(super) fn link(&mut self, callback: Value) {
        match &mut self.kind {
            Kind::Chord(chord) => chord.body.link(callback),
            // A member cannot pass on what the others return, so the callback takes nothing from it.
            Kind::Group(members) => {
                if let Some(first) = members.first_mut() {
                    first.link(immutable(callback));
                }
            }
            _ => self.options.append("link", callback),
        }
    }

    /// Adds a signature to be called when it fails.
    ///
    /// As with Celery's default for `task_allow_error_cb_on_chord_header`, that of a chord is called once, by its body.
    pub(super) fn link_error(&mut self, errback: &Value) {
        match &mut self.kind {
            Kind::Group(members) => members.iter_mut().for_each(|member| member.link_error(errback)),
            Kind::Chord(chord) => {
                if let Kind::Group(members) = &mut chord.header.kind {
                    let nested = members.iter_mut().filter(|member| matches!(member.kind, Kind::Chord(_)));
                    nested.for_each(|member| member.link_error(errback));
                }
                chord.body.link_error(errback);
            }
            _ => self.options.append("link_error", errback.clone()),
        }
    }
}

/// Puts entries over others.
pub(super) fn override_with(kwargs: &mut Vec<(Box<str>, Value)>, call: &[(Box<str>, Value)]) {
    for (name, value) in call {
        match kwargs.iter_mut().find(|(own, _)| own == name) {
            Some((_, own)) => own.clone_from(value),
            None => kwargs.push((name.clone(), value.clone())),
        }
    }
}

fn immutable(mut signature: Value) -> Value {
    if let Value::Map(entries) = &mut signature {
        entries.retain(|(name, _)| **name != *"immutable");
        entries.push(("immutable".into(), Value::Bool(true)));
    }
    signature
}

pub(super) fn take(entries: &mut Vec<(Box<str>, Value)>, name: &str) -> Option<Value> {
    let at = entries.iter().position(|(entry, _)| **entry == *name)?;
    Some(entries.remove(at).1)
}

/// The members of a header, which may be a list, a group, a chain or a single task.
///
/// Source: `celery/canvas.py`, `_maybe_group`, Celery 5.7.0.
fn header(value: Option<Value>) -> Option<Value> {
    let Some(Value::Map(mut entries)) = value else { return value };
    let is_composed = |(name, value): &(Box<str>, Value)| {
        **name == *"subtask_type" && matches!(value.as_str(), Some("group" | "chain"))
    };
    if !entries.iter().any(is_composed) {
        return Some(Value::List(vec![Value::Map(entries)]));
    }
    match take(&mut entries, "kwargs") {
        Some(Value::Map(mut kwargs)) => take(&mut kwargs, "tasks"),
        _ => None,
    }
}

fn nodes(task: &TaskName, value: Option<Value>, levels: u32) -> Result<Vec<Node>, SendError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(values)) => values.into_iter().map(|value| node(task, value, levels)).collect(),
        Some(other) => Err(refuse(task, format!("it is composed of a {}", other.kind()))),
    }
}

fn node(task: &TaskName, value: Value, levels: u32) -> Result<Node, SendError> {
    let levels = levels.checked_sub(1).ok_or_else(|| too_deep(task))?;
    let signature = Signature::from_value(value).map_err(|error| refuse(task, error.to_string()))?;
    Node::within(signature, levels)
}

pub(super) fn too_deep(task: &TaskName) -> SendError {
    refuse(task, format!("it is composed of more than {MAX_DEPTH} levels"))
}
