//! Signatures: calls of tasks as data, which travel in links, chains and chords.

use crate::{DecodeError, TaskName, Value};

/// A call of a task as data, which everything unknown is kept of.
///
/// Source: `celery/canvas.py`, `Signature.__init__`, `Signature.from_dict`, Celery 5.7.0.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// `task`: the task to call; `celery.chain`, `celery.group` and `celery.chord` compose others.
    pub task: TaskName,
    /// `args`: positional arguments.
    pub args: Vec<Value>,
    /// `kwargs`: keyword arguments; those of compositions hold the composed signatures.
    pub kwargs: Vec<(Box<str>, Value)>,
    /// `options`: how to send it, as `apply_async` takes them, `link` and `link_error` among them.
    pub options: Vec<(Box<str>, Value)>,
    /// `subtask_type`: `chain`, `group`, `chord` and the like for compositions.
    pub subtask_type: Option<Box<str>>,
    /// `immutable`: whether the result of the task before is not added to the arguments.
    pub immutable: bool,
    /// Every other entry, such as `chord_size`.
    pub other: Vec<(Box<str>, Value)>,
}

/// A signature by what it is composed of.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// One task.
    Task,
    /// Steps, the first one first.
    Chain(Vec<Signature>),
    /// Members that run side by side.
    Group(Vec<Signature>),
    /// Members, and what follows when all of them have succeeded.
    Chord(Vec<Signature>, Option<Signature>),
}

impl Signature {
    /// A call of `task` without arguments or options.
    pub fn new(task: impl Into<TaskName>) -> Self {
        Self {
            task: task.into(),
            args: Vec::new(),
            kwargs: Vec::new(),
            options: Vec::new(),
            subtask_type: None,
            immutable: false,
            other: Vec::new(),
        }
    }

    /// A signature from the dictionary that it is on the wire.
    ///
    /// # Errors
    ///
    /// When `value` is not a dictionary with a `task`, or a known entry has another type than Celery gives it.
    pub fn from_value(value: Value) -> Result<Self, DecodeError> {
        let Value::Map(entries) = value else {
            return Err(DecodeError::shape("signature", format!("a {}", value.kind())));
        };
        let mut signature = Self::new("");
        let mut task = None;
        for (name, value) in entries {
            match (&*name, value) {
                ("task", Value::String(text)) => task = Some(TaskName::from(&*text)),
                ("args", Value::List(args)) => signature.args = args,
                ("kwargs", Value::Map(kwargs)) => signature.kwargs = kwargs,
                ("options", Value::Map(options)) => signature.options = options,
                ("subtask_type", Value::String(kind)) => signature.subtask_type = Some(kind),
                ("immutable", Value::Bool(immutable)) => signature.immutable = immutable,
                ("args" | "kwargs" | "options" | "subtask_type" | "immutable", Value::Null) => {}
                ("task" | "args" | "kwargs" | "options" | "subtask_type" | "immutable", value) => {
                    return Err(DecodeError::shape("signature", format!("a {} as {name}", value.kind())));
                }
                (_, value) => signature.other.push((name, value)),
            }
        }
        signature.task = task.ok_or_else(|| DecodeError::shape("signature", "no task"))?;
        Ok(signature)
    }

    /// The dictionary that it is on the wire.
    pub fn into_value(self) -> Value {
        let mut entries = vec![
            ("task".into(), Value::from(self.task.as_str())),
            ("args".into(), Value::List(self.args)),
            ("kwargs".into(), Value::Map(self.kwargs)),
            ("options".into(), Value::Map(self.options)),
            ("subtask_type".into(), Value::from(self.subtask_type)),
            ("immutable".into(), Value::Bool(self.immutable)),
        ];
        entries.extend(self.other);
        Value::Map(entries)
    }

    /// The option with this name.
    pub fn option(&self, name: &str) -> Option<&Value> {
        self.options.iter().find(|(option, _)| &**option == name).map(|(_, value)| value)
    }

    /// The signatures to call with the result: the `link` option.
    ///
    /// # Errors
    ///
    /// When the option holds something else.
    pub fn links(&self) -> Result<Vec<Self>, DecodeError> {
        Self::list(self.option("link"))
    }

    /// The signatures to call when the task fails: the `link_error` option.
    ///
    /// # Errors
    ///
    /// When the option holds something else.
    pub fn link_errors(&self) -> Result<Vec<Self>, DecodeError> {
        Self::list(self.option("link_error"))
    }

    /// What it is composed of. One that says it is a composition and holds no signatures counts as one task.
    pub fn shape(&self) -> Shape {
        let shape = match self.subtask_type.as_deref() {
            Some("chain") => self.tasks().map(Shape::Chain),
            Some("group") => self.tasks().map(Shape::Group),
            Some("chord") => self.tasks().and_then(|header| Ok(Shape::Chord(header, self.chord_body()?))),
            _ => return Shape::Task,
        };
        shape.unwrap_or(Shape::Task)
    }

    /// The composed signatures: `tasks` of a chain or a group, `header` of a chord.
    ///
    /// # Errors
    ///
    /// When the entry holds something else.
    pub fn tasks(&self) -> Result<Vec<Self>, DecodeError> {
        let header = if self.subtask_type.as_deref() == Some("chord") { "header" } else { "tasks" };
        match self.kwarg(header) {
            // A chord's header may be a group rather than its list.
            Some(group @ Value::Map(_)) => Self::from_value(group.clone())?.tasks(),
            other => Self::list(other),
        }
    }

    /// What follows a chord's header: its `body`.
    ///
    /// # Errors
    ///
    /// When the entry holds something else.
    pub fn chord_body(&self) -> Result<Option<Self>, DecodeError> {
        match self.kwarg("body") {
            None | Some(Value::Null) => Ok(None),
            Some(body) => Self::from_value(body.clone()).map(Some),
        }
    }

    fn kwarg(&self, name: &str) -> Option<&Value> {
        self.kwargs.iter().find(|(kwarg, _)| &**kwarg == name).map(|(_, value)| value)
    }

    /// A list of signatures, or a single one, or none.
    fn list(value: Option<&Value>) -> Result<Vec<Self>, DecodeError> {
        match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::List(signatures)) => signatures.iter().cloned().map(Self::from_value).collect(),
            Some(single) => Self::from_value(single.clone()).map(|signature| vec![signature]),
        }
    }
}
