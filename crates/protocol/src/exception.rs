//! Exceptions as data.

use crate::Value;

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

impl TaskException {
    /// An exception with one text as its only argument.
    pub fn new(exc_type: impl Into<Box<str>>, message: impl Into<Box<str>>) -> Self {
        Self {
            exc_type: exc_type.into(),
            exc_message: Value::List(vec![Value::String(message.into())]),
            exc_module: None,
        }
    }

    /// The exception that a result of a failed, retried or revoked task holds, if it holds one.
    ///
    /// Source: `celery/backends/base.py`, `Backend.exception_to_python`, Celery 5.7.0.
    pub fn from_value(value: &Value) -> Option<Self> {
        let exc_type = value.get("exc_type")?.as_str()?;
        Some(Self {
            exc_type: exc_type.into(),
            exc_message: value.get("exc_message").cloned().unwrap_or_else(|| Value::from("")),
            exc_module: value.get("exc_module").and_then(Value::as_str).map(Into::into),
        })
    }

    /// The dictionary that the `result` field holds.
    pub fn into_value(self) -> Value {
        Value::Map(vec![
            ("exc_type".into(), Value::String(self.exc_type)),
            ("exc_message".into(), self.exc_message),
            ("exc_module".into(), Value::from(self.exc_module)),
        ])
    }

    /// What Python's `str()` says of the exception: its only argument, or all of them.
    pub fn message(&self) -> String {
        match &self.exc_message {
            Value::List(arguments) => match &arguments[..] {
                [] => String::new(),
                [Value::String(text)] => text.to_string(),
                [one] => crate::repr::repr(one),
                // Python keeps arguments in a tuple.
                _ => {
                    let list = crate::repr::repr(&self.exc_message);
                    format!("({})", &list[1..list.len() - 1])
                }
            },
            Value::String(text) => text.to_string(),
            other => crate::repr::repr(other),
        }
    }
}

impl std::fmt::Display for TaskException {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let message = self.message();
        if message.is_empty() {
            f.write_str(&self.exc_type)
        } else {
            write!(f, "{}: {message}", self.exc_type)
        }
    }
}
