//! Reading the arguments of one call as the types a task declares.

use celeriac_protocol::{Arguments, Value, ValueError};
use serde::de::DeserializeOwned;

use crate::nearest_name;
use crate::task::TaskError;

/// Hands out the arguments of one call in the order of the task's parameters, wherever the caller put them:
/// by position, by keyword, or nowhere.
///
/// ```
/// use celeriac_app::{ArgumentReader, Arguments};
/// use celeriac_app::protocol::Value;
///
/// let arguments = Arguments {
///     args: vec![Value::from("http://example.org")],
///     kwargs: vec![("depth".into(), Value::from(2))],
///     ..Arguments::default()
/// };
/// let mut reader = ArgumentReader::new("urls.save", &["url", "depth", "tries"], arguments)?;
/// let (url, depth, tries): (String, u8, u8) =
///     (reader.required()?, reader.required()?, reader.optional(|| 5)?);
/// reader.finish()?;
/// assert_eq!((url.as_str(), depth, tries), ("http://example.org", 2, 5));
/// # Ok::<(), celeriac_app::TaskError>(())
/// ```
#[derive(Debug)]
pub struct ArgumentReader<'a> {
    task: &'a str,
    parameters: &'static [&'static str],
    args: std::vec::IntoIter<Value>,
    kwargs: Vec<(Box<str>, Value)>,
    /// The parameter that is read next.
    next: usize,
}

impl<'a> ArgumentReader<'a> {
    /// A reader for a task with these parameters.
    ///
    /// # Errors
    /// A failure, if there are more positional arguments than parameters.
    pub fn new(
        task: &'a str,
        parameters: &'static [&'static str],
        arguments: Arguments,
    ) -> Result<Self, TaskError> {
        let Arguments { args, kwargs, .. } = arguments;
        if args.len() > parameters.len() {
            let (takes, given) = (parameters.len(), args.len());
            return Err(TaskError::bad_arguments(format!(
                "{task}() takes {takes} positional arguments ({}), but {given} were given",
                parameters.join(", ")
            )));
        }
        Ok(Self { task, parameters, args: args.into_iter(), kwargs, next: 0 })
    }

    /// The next parameter, which has no default.
    ///
    /// # Errors
    /// A failure that names the parameter, if it is missing or not a `T`.
    pub fn required<T: DeserializeOwned>(&mut self) -> Result<T, TaskError> {
        match self.take()? {
            (name, Some(value)) => self.decode(name, value),
            (name, None) => {
                Err(TaskError::bad_arguments(format!("{}() misses the argument {name:?}", self.task)))
            }
        }
    }

    /// The next parameter, or its default if the caller left it out.
    ///
    /// # Errors
    /// A failure that names the parameter, if it is not a `T`.
    pub fn optional<T: DeserializeOwned>(&mut self, default: impl FnOnce() -> T) -> Result<T, TaskError> {
        match self.take()? {
            (name, Some(value)) => self.decode(name, value),
            (_, None) => Ok(default()),
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// A failure that names a keyword argument that the task does not have, and the nearest that it has.
    pub fn finish(self) -> Result<(), TaskError> {
        const LONGEST: usize = 200;
        let Some((unknown, _)) = self.kwargs.first() else { return Ok(()) };
        let task = self.task;
        let hint = match nearest_name(unknown, self.parameters.iter().copied()) {
            Some(nearest) => format!("did you mean {nearest:?}?"),
            None => format!("it takes ({})", self.parameters.join(", ")),
        };
        Err(TaskError::bad_arguments(format!(
            "{task}() got an unexpected keyword argument {:?}; {hint}",
            &unknown[..unknown.floor_char_boundary(LONGEST)]
        )))
    }

    fn take(&mut self) -> Result<(&'static str, Option<Value>), TaskError> {
        let name = self.parameters[self.next];
        self.next += 1;
        let by_position = self.args.next();
        let keyword = self.kwargs.iter().position(|(key, _)| **key == *name);
        match (by_position, keyword) {
            (Some(_), Some(_)) => Err(TaskError::bad_arguments(format!(
                "{}() got multiple values for the argument {name:?}",
                self.task
            ))),
            (Some(value), None) => Ok((name, Some(value))),
            (None, Some(at)) => Ok((name, Some(self.kwargs.swap_remove(at).1))),
            (None, None) => Ok((name, None)),
        }
    }

    fn decode<T: DeserializeOwned>(&self, name: &str, value: Value) -> Result<T, TaskError> {
        value.deserialize_into().map_err(|error: ValueError| {
            TaskError::bad_arguments(format!("{}() argument {name:?}: {error}", self.task))
        })
    }
}

/// Positional arguments for a call by name.
///
/// ```
/// let args = celeriac_app::args!["http://example.org", 2, 0.5];
/// assert_eq!(args.len(), 3);
/// ```
///
/// Each value is anything that implements `serde::Serialize`.
#[macro_export]
macro_rules! args {
    ($($value:expr),* $(,)?) => {
        ::std::vec::Vec::from([$($crate::__private::encode_argument(&$value)),*])
    };
}

/// Keyword arguments for a call by name.
///
/// ```
/// let kwargs = celeriac_app::kwargs! { url: "http://example.org", depth: 2 };
/// assert_eq!(kwargs.len(), 2);
/// ```
#[macro_export]
macro_rules! kwargs {
    ($($name:ident : $value:expr),* $(,)?) => {
        ::std::vec::Vec::from([
            $((::std::boxed::Box::<str>::from(stringify!($name)), $crate::__private::encode_argument(&$value))),*
        ])
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Ending;

    const PARAMETERS: &[&str] = &["url", "depth"];

    fn read(arguments: Arguments) -> Result<(String, u8), String> {
        let task = "urls.save";
        let result = (|| {
            let mut reader = ArgumentReader::new(task, PARAMETERS, arguments)?;
            let read = (reader.required()?, reader.optional(|| 1)?);
            reader.finish()?;
            Ok(read)
        })();
        result.map_err(|error: TaskError| match error.into_ending() {
            Ending::Failure(failure) => {
                assert!(failure.is_bad_arguments());
                failure.message
            }
            other => panic!("expected a failure, got {other:?}"),
        })
    }

    fn arguments(args: Vec<Value>, kwargs: Vec<(&str, Value)>) -> Arguments {
        let kwargs = kwargs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Arguments { args, kwargs, ..Arguments::default() }
    }

    #[test]
    fn arguments_come_by_position_by_keyword_or_by_default() {
        let (url, depth) = (Value::from("u"), Value::from(3));
        let expected = Ok(("u".to_owned(), 3));
        assert_eq!(read(arguments(vec![url.clone(), depth.clone()], vec![])), expected);
        assert_eq!(read(arguments(vec![url.clone()], vec![("depth", depth.clone())])), expected);
        assert_eq!(read(arguments(vec![], vec![("depth", depth), ("url", url.clone())])), expected);
        assert_eq!(read(arguments(vec![url], vec![])), Ok(("u".to_owned(), 1)));
    }

    #[test]
    fn what_is_wrong_is_said_in_few_words_however_long_it_is() {
        let endless = "x".repeat(10_000_000);
        let wrong_type = read(arguments(vec![Value::from("u"), Value::from(&*endless)], vec![])).unwrap_err();
        let unknown = read(arguments(vec![Value::from("u")], vec![(&*endless, Value::Null)])).unwrap_err();
        assert!(wrong_type.ends_with("...") && wrong_type.len() < 1200, "{} bytes", wrong_type.len());
        assert!(unknown.len() < 1200, "{} bytes", unknown.len());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let text = || Value::from("u");
        let cases = [
            (arguments(vec![], vec![]), "urls.save() misses the argument \"url\""),
            (
                arguments(vec![text(), text(), text()], vec![]),
                "takes 2 positional arguments (url, depth), but 3",
            ),
            (arguments(vec![Value::from(5)], vec![]), "urls.save() argument \"url\": "),
            (arguments(vec![text()], vec![("depth", Value::from(300))]), "argument \"depth\": "),
            (arguments(vec![text()], vec![("url", text())]), "multiple values for the argument \"url\""),
            (arguments(vec![text()], vec![("deph", text())]), "\"deph\"; did you mean \"depth\"?"),
            (arguments(vec![text()], vec![("colour", text())]), "\"colour\"; it takes (url, depth)"),
        ];
        for (arguments, expected) in cases {
            let message = read(arguments).unwrap_err();
            assert!(message.contains(expected), "{message:?} has no {expected:?}");
        }
    }
}
