//! What parent and child say to each other: the heads of their frames.
//!
//! The child speaks first. Both sides then know the version of the other and may part with a clear word.
//! A child is lent credit, and may only spend what it has: one job for each credit it gives, one report for each
//! it got, so that neither side has to keep more than the other agreed to.
//!
//! ```text
//!  child                                 parent
//!    hello {version, pid}        ──▶
//!                                ◀──     hello {version, limit, ...}
//!    phase {init}, beat ...      ──▶
//!    ready {jobs: 1}             ──▶
//!                                ◀──     job {id, ...} + headers + message body
//!    started, report ..., done   ──▶     done gives the credit for one more job
//!                                ◀──     cancel, confirm, credit, stop
//! ```

use std::time::Duration;

use bytes::Bytes;
use celeriac_app::Left;
use celeriac_app::trace::SpanContext;
use celeriac_protocol::{Signature, TaskId, TaskName, Value, json};
use serde::{Deserialize, Serialize};

use super::frame::{self, Encoded};
use crate::outcome::{Failure, Said};
use crate::pool::StopReason;

/// The version of this protocol. A child of another version is not used.
pub(super) const VERSION: u32 = 4;

/// What a parent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(super) enum ToChild {
    /// The answer to the child's first frame.
    Hello(Welcome),
    /// A task to run. The body of the frame is the headers and properties as JSON, then the message's body.
    Job(JobHead),
    /// Ask this task to stop, if it runs.
    Cancel { id: TaskId, reason: Reason },
    /// Answer with `Confirmed` if this task runs.
    Confirm { id: TaskId },
    /// The child may send so many more reports.
    Credit { reports: u32 },
    /// No more jobs will come: run the shutdown handlers, drop the resources, and end.
    Stop,
}

/// What a parent tells a new child about itself and the worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) version: u32,
    /// The largest frame, its length field not counted, in bytes.
    pub(super) limit: usize,
    /// How often the child gives a sign of life.
    pub(super) beat: Duration,
    /// How many reports it may send before it gets more credit.
    pub(super) reports: u32,
    /// The name of the child in logs.
    pub(super) name: Box<str>,
    /// Which child of the pool it is, from 1; its replacement has another.
    pub(super) number: u32,
    /// Which slot it is in, from 0; taken over by its replacement.
    pub(super) index: usize,
    /// The node name of the worker.
    pub(super) node: Box<str>,
    /// Up to which level the child logs: `error`, `warn`, `info`, `debug`, `trace` or `off`.
    pub(super) log_level: String,
    /// The settings of the worker by name, over what the child's program sets itself.
    pub(super) settings: Vec<(String, String)>,
    /// Whether the parent stores results that a child of another language has encoded.
    pub(super) takes_results: bool,
    /// Whether it is to say after each task how much memory it holds.
    pub(super) measures: bool,
    /// Whether it is to say what spans its tasks have made.
    #[serde(default)]
    pub(super) traces: bool,
}

/// One job, its message left to the body of the frame.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JobHead {
    pub(super) id: TaskId,
    pub(super) task: TaskName,
    pub(super) queue: Box<str>,
    pub(super) deliveries: u32,
    pub(super) redelivered: bool,
    pub(super) hard: Option<Duration>,
    pub(super) soft: Option<Duration>,
    /// Whether a child of another language is to show its result or exception.
    #[serde(default)]
    pub(super) shows: bool,
    /// The span of its run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) span: Option<SpanContext>,
    /// How many bytes at the start of the body are headers and properties.
    pub(super) headers: usize,
}

/// What a child says. The name of each stands in front of the rest, so that it is read in one go.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FromChild {
    /// The first frame.
    Hello { version: u32, pid: u32 },
    /// What it is doing before it is ready.
    Phase { phase: StartPhase },
    /// How its resources are: JSON in the body.
    Resources,
    /// It is alive.
    Beat { memory: u64 },
    /// It can take so many jobs at once.
    Ready { jobs: u32, memory: u64 },
    /// It runs this task from now on.
    Started { id: TaskId },
    /// The task reports a state of its own; what goes with it is JSON in the body.
    Report { id: TaskId, state: Box<str> },
    /// Its tasks have made a span, which is JSON in the body.
    Span,
    /// The task that was asked about runs.
    Confirmed { id: TaskId },
    /// The task ended. A returned value is JSON in the body, or the result as it is to be stored.
    /// What the task left behind besides is JSON in the head, because it is small and rare.
    Done { id: TaskId, ending: TaskEnding, left: Option<Box<str>>, runtime: Duration, memory: Option<u64> },
    /// It cannot go on, and ends.
    Failed { why: Box<str> },
}

/// What a child does before it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StartPhase {
    /// It imports the program (which only interpreted ones do).
    Import,
    /// It builds its resources and runs the handlers of `worker_process_init`.
    Init,
}

/// How a task ended, its value left to the body of the frame.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum TaskEnding {
    Success,
    Failure {
        failure: Failure,
    },
    Retry {
        delay: Duration,
        failure: Failure,
    },
    Ignored,
    /// The call that takes its place is JSON in the body.
    Replaced,
    Rejected {
        requeue: bool,
        reason: Box<str>,
    },
    /// It stopped because it was revoked.
    Revoked,
    /// It stopped because its hard limit had passed.
    TimeLimitExceeded {
        limit: Duration,
    },
    /// It stopped because the worker ends.
    Returned,
    /// A child of another language has stored how it ended, and sent what follows.
    Handled {
        state: HandledState,
        /// How it shows that, if the job asked for it.
        #[serde(default)]
        said: Option<Box<Said>>,
    },
    /// Something left the task that no task should let out, such as the wish to end the process.
    Escaped {
        exc_type: Box<str>,
        #[serde(default)]
        exc_module: Option<Box<str>>,
        message: Box<str>,
        #[serde(default)]
        traceback: Option<Box<str>>,
    },
}

/// How a task ended that its child has handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HandledState {
    Success,
    Failure,
    Retry,
    Ignored,
}

/// Why a task is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub(super) enum Reason {
    SoftTimeLimit { limit: Duration },
    HardTimeLimit { limit: Duration },
    Revoked,
    Shutdown,
}

impl From<StopReason> for Reason {
    fn from(reason: StopReason) -> Self {
        match reason {
            StopReason::SoftTimeLimit(limit) => Self::SoftTimeLimit { limit },
            StopReason::HardTimeLimit(limit) => Self::HardTimeLimit { limit },
            StopReason::Revoked | StopReason::Terminated(_) => Self::Revoked,
            StopReason::Shutdown => Self::Shutdown,
        }
    }
}

impl From<Reason> for StopReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::SoftTimeLimit { limit } => Self::SoftTimeLimit(limit),
            Reason::HardTimeLimit { limit } => Self::HardTimeLimit(limit),
            Reason::Revoked => Self::Revoked,
            Reason::Shutdown => Self::Shutdown,
        }
    }
}

/// The frame of this head and body.
///
/// # Errors
///
/// [`frame::Error::TooLarge`] if it is beyond `limit`.
pub(super) fn encode(head: &impl Serialize, body: Bytes, limit: usize) -> Result<Encoded, frame::Error> {
    let head = serde_json::to_vec(head).expect("heads are structs of plain data, which JSON can always hold");
    frame::encode(&head, body, limit)
}

/// What a task left behind as the text that a frame carries: `[children, additions]`; nothing if it left nothing.
pub(super) fn left_to_json(left: Left) -> Option<Box<str>> {
    if left == Left::default() {
        return None;
    }
    let additions = left.additions.into_iter().map(Signature::into_value).collect();
    let both = Value::List(vec![Value::List(left.children), Value::List(additions)]);
    String::from_utf8(json::to_bytes(&both)).ok().map(Into::into)
}

/// What a task left behind in its process, as far as it can be read.
pub(super) fn left_from_json(text: &str) -> Left {
    let Ok(Value::List(both)) = json::parse(text.as_bytes()) else { return Left::default() };
    let mut both = both.into_iter().map(|part| if let Value::List(part) = part { part } else { Vec::new() });
    let children = both.next().unwrap_or_default();
    let additions = both.next().unwrap_or_default();
    Left {
        children,
        additions: additions.into_iter().filter_map(|it| Signature::from_value(it).ok()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back_as_they_went() {
        let failure = Failure {
            code: Some(crate::outcome::FailureCode::WrongArguments),
            exc_type: "TypeError".into(),
            exc_module: None,
            message: "no \"url\"".into(),
            traceback: Some("at\nhere".into()),
        };
        let ending = TaskEnding::Retry { delay: Duration::from_millis(1500), failure };
        let left = Some("[[],[]]".into());
        let head = FromChild::Done {
            id: "t".into(),
            ending,
            left,
            runtime: Duration::from_micros(7),
            memory: Some(1),
        };
        let json = serde_json::to_string(&head).unwrap();
        let back: FromChild = serde_json::from_str(&json).unwrap();
        assert_eq!(format!("{back:?}"), format!("{head:?}"));
    }

    #[test]
    fn what_a_task_left_comes_back_as_it_went() {
        let left =
            Left { children: vec!["é".into(), Value::Null], additions: vec![Signature::new("proj.add")] };
        assert_eq!(left_from_json(&left_to_json(left.clone()).unwrap()), left);
        assert_eq!(left_to_json(Left::default()), None);
    }

    #[test]
    fn the_heads_are_the_documented_json() {
        let cancel = ToChild::Cancel { id: "t".into(), reason: Reason::Revoked };
        let json = serde_json::to_string(&cancel).unwrap();
        assert_eq!(json, r#"{"type":"cancel","id":"t","reason":{"why":"revoked"}}"#);
        assert_eq!(serde_json::to_string(&ToChild::Stop).unwrap(), r#"{"type":"stop"}"#);
        let started = FromChild::Started { id: "t".into() };
        assert_eq!(serde_json::to_string(&started).unwrap(), r#"{"started":{"id":"t"}}"#);
    }
}
