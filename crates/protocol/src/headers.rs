//! The headers of a message, read and written in one pass.

use std::time::Duration;

use crate::json::{Key, ObjectWriter, Parser, write_int};
use crate::{DecodeError, TaskId, TaskName, Timestamp, Value, key};

/// Headers of task protocol 2, and every other header as it came.
///
/// A header with an unexpected type is kept in [`Headers::other`], so nothing is lost on the way through.
///
/// Source: `celery/app/amqp.py`, `AMQP.as_task_v2`, Celery 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Headers {
    /// `lang`: the language of the producer.
    pub lang: Option<Box<str>>,
    /// `task`: the name of the task; absent in protocol 1.
    pub task: Option<TaskName>,
    /// `id`: the id of the call.
    pub id: Option<TaskId>,
    /// `shadow`: the name to show instead of the task's own.
    pub shadow: Option<Box<str>>,
    /// `eta`: not to be started before.
    pub eta: Option<Timestamp>,
    /// `expires`: not to be started after.
    pub expires: Option<Timestamp>,
    /// `group`: the id of the group the call belongs to.
    pub group: Option<Box<str>>,
    /// `group_index`: the place within the group.
    pub group_index: Option<i64>,
    /// `retries`: how often the task has been retried.
    pub retries: u32,
    /// `timelimit`: hard limit first, then soft limit.
    pub timelimit: TimeLimits,
    /// `root_id`: the first task of the workflow.
    pub root_id: Option<TaskId>,
    /// `parent_id`: the task that sent this one.
    pub parent_id: Option<TaskId>,
    /// `argsrepr`: the positional arguments as people read them.
    pub argsrepr: Option<Box<str>>,
    /// `kwargsrepr`: the keyword arguments as people read them.
    pub kwargsrepr: Option<Box<str>>,
    /// `origin`: the producer's process, as `gen123@host`.
    pub origin: Option<Box<str>>,
    /// `ignore_result`: whether the result is not wanted.
    pub ignore_result: Option<bool>,
    /// `replaced_task_nesting`: how deep the task was replaced.
    pub replaced_task_nesting: i64,
    /// `compression`: how the body is compressed, as a MIME type such as `application/x-gzip`.
    pub compression: Option<Box<str>>,
    /// Every other header, in the order of the wire: stamps and what programs add.
    pub other: Vec<(Box<str>, Value)>,
}

/// The time limits of one task, in the order of the `timelimit` header: hard first, then soft.
///
/// Seconds as floats on the wire. Source: `celery/app/amqp.py`, `AMQP.as_task_v2`, Celery 5.7.0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeLimits {
    /// The task is stopped after this time.
    pub hard: Option<Duration>,
    /// The task is told after this time.
    pub soft: Option<Duration>,
}

/// Every header that has a field, in the order in which Celery writes them.
///
/// Source: `celery/app/amqp.py`, `AMQP.as_task_v2`, Celery 5.7.0; `compression` is of kombu.
const KNOWN: [&str; 18] = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "compression",
];

impl Headers {
    /// Reads the headers from their JSON object.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object.
    pub fn from_json(json: &[u8]) -> Result<Self, DecodeError> {
        let mut parser = Parser::new(json)?;
        let headers = Self::read(&mut parser)?;
        parser.end()?;
        Ok(headers)
    }

    /// The headers from names and values, as an AMQP table carries them.
    pub fn from_entries(entries: impl IntoIterator<Item = (Box<str>, Value)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in entries {
            match value {
                Value::String(text) => headers.set_text(&name, &text),
                value => headers.set(&name, value),
            }
        }
        headers.drop_defaults();
        headers
    }

    /// Reads the headers; their `{` comes next. A `null` is no headers at all.
    pub(crate) fn read(parser: &mut Parser<'_>) -> Result<Self, DecodeError> {
        let mut headers = Self::default();
        if parser.take_null() {
            return Ok(headers);
        }
        parser.object(|parser, name| {
            let Some(name) = name.as_str() else {
                return Err(DecodeError::shape("header", "a name with a lone surrogate"));
            };
            if parser.peek() != Some(b'"') {
                headers.set(name, parser.value()?);
                return Ok(());
            }
            let text = parser.string()?;
            match text.as_str() {
                Some(text) => headers.set_text(name, text),
                None => headers.set(name, text.into()),
            }
            Ok(())
        })?;
        headers.drop_defaults();
        Ok(headers)
    }

    /// Drops what is written to every task in any case.
    fn drop_defaults(&mut self) {
        if self.task.is_some() {
            self.other.retain(|(name, value)| match (&**name, value) {
                ("stamped_headers", Value::Null) => false,
                ("stamps", Value::Map(stamps)) => !stamps.is_empty(),
                _ => true,
            });
        }
    }

    /// Takes a header of text.
    fn set_text(&mut self, name: &str, text: &str) {
        let field = match name {
            "lang" => &mut self.lang,
            "shadow" => &mut self.shadow,
            "group" => &mut self.group,
            "argsrepr" => &mut self.argsrepr,
            "kwargsrepr" => &mut self.kwargsrepr,
            "origin" => &mut self.origin,
            "compression" => &mut self.compression,
            "task" => return self.task = Some(text.into()),
            "id" => return self.id = Some(text.into()),
            "root_id" => return self.root_id = Some(text.into()),
            "parent_id" => return self.parent_id = Some(text.into()),
            "eta" | "expires" => return self.set_time(name, text),
            _ => return self.keep(name, Value::from(text)),
        };
        *field = Some(text.into());
    }

    fn set_time(&mut self, name: &str, text: &str) {
        match text.parse() {
            Ok(time) if name == "eta" => self.eta = Some(time),
            Ok(time) => self.expires = Some(time),
            Err(_) => self.keep(name, Value::from(text)),
        }
    }

    /// Takes a header that is not text.
    fn set(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("retries", Value::Int(count @ 0..=0xffff_ffff)) => self.retries = count as u32,
            ("timelimit", Value::List(limits)) => match TimeLimits::from_values(&limits) {
                Some(limits) => self.timelimit = limits,
                None => self.keep(name, Value::List(limits)),
            },
            ("group_index", Value::Int(index)) => self.group_index = Some(index),
            ("ignore_result", Value::Bool(ignore)) => self.ignore_result = Some(ignore),
            ("replaced_task_nesting", Value::Int(depth)) => self.replaced_task_nesting = depth,
            (name, Value::Null) if KNOWN.contains(&name) => {}
            (name, value) => self.keep(name, value),
        }
    }

    fn keep(&mut self, name: &str, value: Value) {
        self.other.push((name.into(), value));
    }

    /// The headers as JSON, as kombu writes them: a task's with every header of protocol 2, absent ones as `null`.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        self.write(&mut out);
        out
    }

    /// Appends [`Headers::to_json`].
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        // Workers tell protocol 2 from 1 by the presence of `task`, so messages without it get no header added.
        let form = if self.task.is_some() { Form::Full } else { Form::Present };
        HeaderWriter { object: ObjectWriter::new(out), form, other: &self.other }.write(self);
    }

    /// Appends the headers as JSON without those that are absent or at their default.
    pub(crate) fn write_present(&self, out: &mut Vec<u8>) {
        HeaderWriter { object: ObjectWriter::new(out), form: Form::Present, other: &self.other }.write(self);
    }
}

impl TimeLimits {
    fn from_values(limits: &[Value]) -> Option<Self> {
        match limits {
            [hard, soft] => Some(Self { hard: seconds(hard)?, soft: seconds(soft)? }),
            _ => None,
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        out.push(b'[');
        write_seconds(out, self.hard);
        out.extend_from_slice(b", ");
        write_seconds(out, self.soft);
        out.push(b']');
    }
}

/// A limit in seconds: none, or a duration; `None` outside if it is neither.
fn seconds(limit: &Value) -> Option<Option<Duration>> {
    match limit {
        Value::Null => Some(None),
        Value::Int(seconds) => u64::try_from(*seconds).ok().map(|seconds| Some(Duration::from_secs(seconds))),
        Value::Float(seconds) => Duration::try_from_secs_f64(*seconds).ok().map(Some),
        _ => None,
    }
}

/// Writes whole seconds as an integer, others as a float.
fn write_seconds(out: &mut Vec<u8>, limit: Option<Duration>) {
    match limit {
        None => out.extend_from_slice(b"null"),
        Some(limit) if limit.subsec_nanos() == 0 => {
            write_int(out, i64::try_from(limit.as_secs()).unwrap_or(i64::MAX));
        }
        Some(limit) => crate::json::write(&Value::Float(limit.as_secs_f64()), out),
    }
}

/// Which headers are written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// All of protocol 2.
    Full,
    /// Those that say something.
    Present,
}

struct HeaderWriter<'a> {
    object: ObjectWriter<'a>,
    form: Form,
    other: &'a [(Box<str>, Value)],
}

impl HeaderWriter<'_> {
    fn write(mut self, headers: &Headers) {
        self.text(key!("lang"), headers.lang.as_deref());
        self.text(key!("task"), headers.task.as_ref().map(TaskName::as_str));
        self.text(key!("id"), headers.id.as_ref().map(TaskId::as_str));
        self.text(key!("shadow"), headers.shadow.as_deref());
        self.time(key!("eta"), headers.eta);
        self.time(key!("expires"), headers.expires);
        self.text(key!("group"), headers.group.as_deref());
        self.with(key!("group_index"), headers.group_index, write_int);
        self.int(key!("retries"), headers.retries.into());
        if self.form == Form::Full && !self.is_other(key!("timelimit"))
            || headers.timelimit != TimeLimits::default()
        {
            headers.timelimit.write(self.object.key(key!("timelimit")));
        }
        self.text(key!("root_id"), headers.root_id.as_ref().map(TaskId::as_str));
        self.text(key!("parent_id"), headers.parent_id.as_ref().map(TaskId::as_str));
        self.text(key!("argsrepr"), headers.argsrepr.as_deref());
        self.text(key!("kwargsrepr"), headers.kwargsrepr.as_deref());
        self.text(key!("origin"), headers.origin.as_deref());
        self.with(key!("ignore_result"), headers.ignore_result, |out, ignore| {
            crate::json::write(&Value::Bool(ignore), out);
        });
        self.int(key!("replaced_task_nesting"), headers.replaced_task_nesting);
        if self.form == Form::Full && !self.is_other(key!("stamped_headers")) {
            self.object.value(key!("stamped_headers"), &Value::Null);
        }
        if self.form == Form::Full && !self.is_other(key!("stamps")) {
            self.object.key(key!("stamps")).extend_from_slice(b"{}");
        }
        for (name, value) in self.other {
            self.object.entry(name, value);
        }
        if let Some(compression) = &headers.compression {
            self.object.text(key!("compression"), compression);
        }
        self.object.end();
    }

    /// Whether a header of this name came with an unexpected type, and is written as it came.
    fn is_other(&self, name: Key) -> bool {
        self.other.iter().any(|(other, _)| &**other == name.name())
    }

    #[inline]
    fn with<T>(&mut self, name: Key, value: Option<T>, write: impl FnOnce(&mut Vec<u8>, T)) {
        match value {
            Some(value) => write(self.object.key(name), value),
            None if self.form == Form::Full && !self.is_other(name) => self.object.value(name, &Value::Null),
            None => {}
        }
    }

    #[inline]
    fn text(&mut self, name: Key, text: Option<&str>) {
        self.with(name, text, crate::json::write_str);
    }

    #[inline]
    fn time(&mut self, name: Key, time: Option<Timestamp>) {
        self.with(name, time, |out, time| crate::json::write_str(out, &time.to_string()));
    }

    /// Writes a count that is zero unless the message says otherwise.
    #[inline]
    fn int(&mut self, name: Key, int: i64) {
        if int != 0 || self.form == Form::Full && !self.is_other(name) {
            write_int(self.object.key(name), int);
        }
    }
}
