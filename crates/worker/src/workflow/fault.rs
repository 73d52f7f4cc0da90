//! Failures as a workflow hands them on.

use std::fmt;

use celeriac_protocol::{State, TaskException, TaskId, Value, repr};

use crate::finish::exception;

/// Why something in a workflow failed, or will never run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// `FAILURE`, or `REVOKED`.
    pub state: State,
    /// The exception, as results hold it.
    pub exception: Value,
    /// Where, and what caused it.
    pub traceback: Option<Box<str>>,
}

impl Fault {
    /// What the body of a chord fails with when this member has failed.
    ///
    /// Source: `celery/backends/redis.py`, `RedisBackend._unpack_chord_result`, Celery 5.7.0.
    pub(super) fn of_chord(member: &TaskId, cause: &Self) -> Self {
        let text = format!("Dependency {member} raised {}", exception_repr(&cause.exception));
        Self { traceback: cause.traceback.clone(), ..Self::chord_error(&text) }
    }

    /// What the body of a chord fails with when every member has succeeded, and it cannot be sent all the same.
    ///
    /// Source: `celery/backends/redis.py`, `RedisBackend.on_chord_part_return`, Celery 5.7.0.
    pub(super) fn of_body(reason: &str) -> Self {
        Self::chord_error(&format!("Callback error: {reason}"))
    }

    fn chord_error(text: &str) -> Self {
        let exception = exception("ChordError", Some("celery.exceptions"), text);
        Self { state: State::Failure, exception, traceback: None }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TaskException::from_value(&self.exception) {
            Some(exception) => exception.fmt(f),
            None => f.write_str(&repr::repr(&self.exception)),
        }
    }
}

/// An exception as Python's `repr` shows it.
fn exception_repr(value: &Value) -> String {
    let Some(TaskException { exc_type, exc_message, .. }) = TaskException::from_value(value) else {
        return repr::repr(value);
    };
    let class = exc_type.rsplit('.').next().unwrap_or(&exc_type);
    let arguments = match &exc_message {
        Value::List(arguments) => arguments.iter().map(repr::repr).collect::<Vec<_>>().join(", "),
        one => repr::repr(one),
    };
    format!("{class}({arguments})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chord_names_the_member_that_failed_and_what_it_raised() {
        let failed = |exc_type: &str, arguments: Vec<Value>| {
            let mut raised = TaskException::new(exc_type, "");
            raised.exc_message = Value::List(arguments);
            let cause = Fault { state: State::Failure, exception: raised.into_value(), traceback: None };
            let error = Fault::of_chord(&"t1".into(), &cause);
            TaskException::from_value(&error.exception).unwrap().message()
        };
        assert_eq!(failed("ValueError", vec!["bad".into()]), "Dependency t1 raised ValueError('bad')");
        assert_eq!(failed("Outer.Inner", vec![]), "Dependency t1 raised Inner()");
        assert_eq!(
            failed("KeyError", vec![Value::Int(1), "it's".into()]),
            "Dependency t1 raised KeyError(1, \"it's\")"
        );
    }
}
