//! Results as Celery's key-value backends store them.

use std::fmt;

use crate::json::{ObjectWriter, Parser};
use crate::{DecodeError, TaskException, TaskId, Timestamp, Value};

/// The state of a task.
///
/// Source: `celery/states.py`, Celery 5.7.0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Nothing is known of the task: it waits, or never existed.
    Pending,
    /// A worker has it.
    Received,
    /// It runs.
    Started,
    /// It returned a value.
    Success,
    /// It failed for good.
    Failure,
    /// It will be tried again.
    Retry,
    /// It was revoked, or had expired.
    Revoked,
    /// It was refused.
    Rejected,
    /// It was ignored.
    Ignored,
    /// A state of the application's own, such as `PROGRESS`.
    Custom(Box<str>),
}

impl State {
    /// The text of the wire, such as `SUCCESS`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Received => "RECEIVED",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Retry => "RETRY",
            Self::Revoked => "REVOKED",
            Self::Rejected => "REJECTED",
            Self::Ignored => "IGNORED",
            Self::Custom(name) => name,
        }
    }

    /// Whether nothing more will come: success, failure or revoked.
    ///
    /// Source: `celery/states.py`, `READY_STATES`, Celery 5.7.0.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// Whether the result is an exception: failure, retry or revoked.
    ///
    /// Source: `celery/states.py`, `EXCEPTION_STATES`, Celery 5.7.0.
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Failure | Self::Retry | Self::Revoked)
    }
}

impl From<&str> for State {
    fn from(name: &str) -> Self {
        match name {
            "PENDING" => Self::Pending,
            "RECEIVED" => Self::Received,
            "STARTED" => Self::Started,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "RETRY" => Self::Retry,
            "REVOKED" => Self::Revoked,
            "REJECTED" => Self::Rejected,
            "IGNORED" => Self::Ignored,
            other => Self::Custom(other.into()),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One stored result.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultRecord {
    /// The call.
    pub task_id: TaskId,
    /// `status`.
    pub state: State,
    /// `result`: the returned value, an exception as data, or the meta of a custom state.
    pub result: Value,
    /// `traceback`.
    pub traceback: Option<Box<str>>,
    /// `children`: results of the tasks that this one sent, as Celery's result tuples.
    pub children: Value,
    /// `date_done`.
    pub date_done: Option<Timestamp>,
    /// Every other field: `group_id`, `parent_id`, and the extended ones (`name`, `args`, `worker`, ...).
    pub other: Vec<(Box<str>, Value)>,
}

impl ResultRecord {
    /// A result without children, traceback or further fields.
    pub fn new(task_id: TaskId, state: State, result: Value, date_done: Option<Timestamp>) -> Self {
        Self {
            task_id,
            state,
            result,
            traceback: None,
            children: Value::List(Vec::new()),
            date_done,
            other: Vec::new(),
        }
    }

    /// The exception of a task that failed, is retried or was revoked.
    pub fn exception(&self) -> Option<TaskException> {
        if self.state.is_exception() { TaskException::from_value(&self.result) } else { None }
    }

    /// The record as Celery's key-value backends store it, in JSON.
    ///
    /// Source: `celery/backends/base.py`, `Backend._get_result_meta`, and `KeyValueStoreBackend._store_result`, which
    /// adds `task_id`, Celery 5.7.0.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut object = ObjectWriter::new(&mut out);
        object.text("status", self.state.as_str());
        object.value("result", &self.result);
        match &self.traceback {
            Some(traceback) => object.text("traceback", traceback),
            None => object.value("traceback", &Value::Null),
        }
        object.value("children", &self.children);
        match self.date_done {
            Some(date) => object.text("date_done", &date.to_string()),
            None => object.value("date_done", &Value::Null),
        }
        for (name, value) in &self.other {
            object.value(name, value);
        }
        object.text("task_id", self.task_id.as_str());
        object.end();
        out
    }

    /// Reads a record from its JSON.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object, or have no `status` or `task_id`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut parser = Parser::new(bytes)?;
        let mut record = Self::new(TaskId::from(""), State::Pending, Value::Null, None);
        record.children = Value::Null;
        let (mut has_id, mut has_state) = (false, false);
        parser.object(|parser, name| {
            let name = name.as_str().ok_or_else(|| not_a_record("a lone surrogate in a name"))?;
            match (name, parser.value()?) {
                ("status", Value::String(text)) => {
                    record.state = State::from(&*text);
                    has_state = true;
                }
                ("task_id", Value::String(text)) => {
                    record.task_id = TaskId::from(&*text);
                    has_id = true;
                }
                ("result", value) => record.result = value,
                ("children", value) => record.children = value,
                ("traceback", Value::String(text)) => record.traceback = Some(text),
                ("date_done", Value::String(text)) => match text.parse() {
                    Ok(date) => record.date_done = Some(date),
                    Err(_) => record.other.push((name.into(), Value::String(text))),
                },
                ("traceback" | "date_done", Value::Null) => {}
                (name, value) => record.other.push((name.into(), value)),
            }
            Ok(())
        })?;
        parser.end()?;
        match (has_state, has_id) {
            (true, true) => Ok(record),
            (false, _) => Err(not_a_record("no status")),
            (true, false) => Err(not_a_record("no task_id")),
        }
    }
}

fn not_a_record(reason: &'static str) -> DecodeError {
    DecodeError::shape("result record", reason)
}
