//! Results as Celery's key-value backends store them.

use std::borrow::Cow;
use std::fmt;

use crate::json::{ObjectWriter, Parser};
use crate::{
    Compression, DecodeError, EncodeError, Serializer, TaskException, TaskId, Timestamp, Value, compression,
    json, key, msgpack,
};

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

/// How deep a result may be nested: the record around it is one level of what can be [read](json::MAX_DEPTH).
pub const MAX_RESULT_DEPTH: u32 = json::MAX_DEPTH - 1;

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
        object.text(key!("status"), self.state.as_str());
        object.value(key!("result"), &self.result);
        match &self.traceback {
            Some(traceback) => object.text(key!("traceback"), traceback),
            None => object.value(key!("traceback"), &Value::Null),
        }
        object.value(key!("children"), &self.children);
        match self.date_done {
            Some(date) => object.text(key!("date_done"), &date.to_string()),
            None => object.value(key!("date_done"), &Value::Null),
        }
        for (name, value) in &self.other {
            object.entry(name, value);
        }
        object.text(key!("task_id"), self.task_id.as_str());
        object.end();
        out
    }

    /// The record in another serializer, and compressed if asked to.
    ///
    /// Source: `celery/backends/base.py`, `Backend.encode` and `compress_payload`, Celery 5.7.0.
    ///
    /// # Errors
    ///
    /// When the serializer has no form for a value, which JSON always has.
    pub fn encode_as(
        &self,
        serializer: Serializer,
        compression: Option<Compression>,
    ) -> Result<Vec<u8>, EncodeError> {
        let plain = match serializer {
            Serializer::Json => self.encode(),
            // The order of the entries is set in one place, and this is the rare way.
            Serializer::MessagePack => match json::parse(&self.encode()) {
                Ok(record) => msgpack::to_bytes(&record)?,
                Err(error) => return Err(EncodeError::Unrepresentable { reason: error.to_string().into() }),
            },
        };
        let Some(compression) = compression else { return Ok(plain) };
        let mut payload = COMPRESSED.to_vec();
        payload.extend_from_slice(compression.content_type().as_bytes());
        payload.push(0);
        payload.extend_from_slice(&compression.compress(&plain)?);
        Ok(payload)
    }

    /// Reads a record from its JSON, compressed or not.
    ///
    /// # Errors
    ///
    /// When the bytes are not a JSON object, or have no `status` or `task_id`.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_as(bytes, Serializer::Json)
    }

    /// Reads a record from another serializer, compressed or not.
    ///
    /// # Errors
    ///
    /// When the bytes are no such record, or larger than [`compression::DEFAULT_LIMIT`].
    pub fn decode_as(bytes: &[u8], serializer: Serializer) -> Result<Self, DecodeError> {
        let plain = plain_payload(bytes)?;
        let mut reading = Reading::default();
        match serializer {
            Serializer::Json => {
                let mut parser = Parser::new(&plain)?;
                parser.object(|parser, name| {
                    let name = name.as_str().ok_or_else(|| not_a_record("a lone surrogate in a name"))?;
                    reading.set(name, parser.value()?);
                    Ok(())
                })?;
                parser.end()?;
            }
            Serializer::MessagePack => match msgpack::parse(&plain)? {
                Value::Map(entries) => {
                    for (name, value) in entries {
                        reading.set(&name, value);
                    }
                }
                _ => return Err(not_a_record("no dictionary")),
            },
        }
        reading.finish()
    }
}

/// What the payload of a compressed result begins with, before the content type and a zero byte.
///
/// Source: `celery/backends/base.py`, `COMPRESSED_PAYLOAD_MAGIC`, Celery 5.7.0.
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// A stored payload, decompressed if it was compressed.
pub(crate) fn plain_payload(bytes: &[u8]) -> Result<Cow<'_, [u8]>, DecodeError> {
    let Some(payload) = bytes.strip_prefix(COMPRESSED) else { return Ok(Cow::Borrowed(bytes)) };
    let end = payload.iter().position(|byte| *byte == 0).unwrap_or(payload.len());
    let name = String::from_utf8_lossy(&payload[..end]);
    let body = payload.get(end + 1..).unwrap_or_default();
    compression::plain_body(body, Some(&name), compression::DEFAULT_LIMIT)
}

/// A record whose fields come one by one.
#[derive(Default)]
struct Reading {
    task_id: Option<TaskId>,
    state: Option<State>,
    result: Value,
    traceback: Option<Box<str>>,
    children: Value,
    date_done: Option<Timestamp>,
    other: Vec<(Box<str>, Value)>,
}

impl Reading {
    fn set(&mut self, name: &str, value: Value) {
        match (name, value) {
            ("status", Value::String(text)) => self.state = Some(State::from(&*text)),
            ("task_id", Value::String(text)) => self.task_id = Some(TaskId::from(&*text)),
            ("result", value) => self.result = value,
            ("children", value) => self.children = value,
            ("traceback", Value::String(text)) => self.traceback = Some(text),
            ("date_done", Value::String(text)) => match text.parse() {
                Ok(date) => self.date_done = Some(date),
                Err(_) => self.other.push((name.into(), Value::String(text))),
            },
            ("traceback" | "date_done", Value::Null) => {}
            (name, value) => self.other.push((name.into(), value)),
        }
    }

    fn finish(self) -> Result<ResultRecord, DecodeError> {
        Ok(ResultRecord {
            task_id: self.task_id.ok_or_else(|| not_a_record("no task_id"))?,
            state: self.state.ok_or_else(|| not_a_record("no status"))?,
            result: self.result,
            traceback: self.traceback,
            children: self.children,
            date_done: self.date_done,
            other: self.other,
        })
    }
}

fn not_a_record(reason: &'static str) -> DecodeError {
    DecodeError::shape("result record", reason)
}
