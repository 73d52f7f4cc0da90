//! A message: headers, properties and an opaque body.

use bytes::Bytes;

use crate::{TaskId, TaskName, Timestamp, Value};

/// One message as a broker carries it.
///
/// The body stays encoded until the task that it is for decodes its arguments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Task headers, known and unknown.
    pub headers: Headers,
    /// AMQP properties.
    pub properties: Properties,
    /// How the body is serialized, such as `application/json`.
    pub content_type: Box<str>,
    /// The character set or coding of the body: `utf-8` or `binary`.
    pub content_encoding: Box<str>,
    /// The serialized body, still compressed if the `compression` header names a compression.
    pub body: Bytes,
}

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
    pub hard: Option<std::time::Duration>,
    /// The task is told after this time.
    pub soft: Option<std::time::Duration>,
}

/// AMQP properties of a message.
///
/// Source: `kombu/messaging.py`, `Producer.publish`, and `kombu/transport/virtual/base.py`, kombu 5.7.0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// The id of the call again.
    pub correlation_id: Option<Box<str>>,
    /// The queue for replies (rpc results).
    pub reply_to: Option<Box<str>>,
    /// 0 (lowest) to 9 (highest), as our API and AMQP count; stores translate.
    pub priority: Option<u8>,
    /// 1 for messages that may die with the broker, else 2.
    pub delivery_mode: Option<u8>,
    /// Milliseconds until the broker may drop the message, as text.
    pub expiration: Option<Box<str>>,
    /// Every other property, `delivery_info` among them.
    pub other: Vec<(Box<str>, Value)>,
}
