//! Results as Celery's key-value backends store them.

use crate::{TaskId, Timestamp, Value};

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

/// An exception as data: what Celery's `get_pickleable_exception` and JSON encoding keep of it.
///
/// Source: `celery/backends/base.py`, `Backend.prepare_exception`, Celery 5.7.0.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskException {
    /// `exc_type`: the class name.
    pub exc_type: Box<str>,
    /// `exc_message`: the arguments, as a list, or one text.
    pub exc_message: Value,
    /// `exc_module`: the module of the class.
    pub exc_module: Option<Box<str>>,
}
