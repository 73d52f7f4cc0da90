//! What a command is called and called with: how a command line becomes its arguments. Pure.

use std::borrow::Cow;

use celeriac_protocol::Value;

/// Whether a command asks or changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It asks: `inspect`.
    Inspect,
    /// It changes something: `control`.
    Control,
}

impl Kind {
    /// The command of `celery` and `celeriac` that sends it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Control => "control",
        }
    }
}

/// What an argument of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ArgumentKind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`, and what Celery takes for them: `yes`, `no`, `on`, `off`, `1`, `0`.
    Truth,
}

/// A command as those see it who call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Its name.
    pub name: Cow<'static, str>,
    /// Whether it asks or changes something.
    pub kind: Kind,
    /// Its arguments, in order.
    pub arguments: Vec<(Cow<'static, str>, ArgumentKind)>,
    /// The argument that takes all that is left, as a list.
    pub variadic: Option<Cow<'static, str>>,
    /// The arguments for people, such as `<task_name> <rate_limit>`.
    pub signature: Cow<'static, str>,
    /// What it does, in one line.
    pub help: Cow<'static, str>,
}

/// What is wrong with the arguments of a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormError {
    /// There are more than it takes.
    #[error("{command} takes arguments: {signature}")]
    TooMany {
        /// The command.
        command: String,
        /// What it takes.
        signature: String,
    },
    /// One is not what it should be.
    #[error("{argument} of {command} is {expected}, not {given:?}")]
    Unreadable {
        /// The command.
        command: String,
        /// The argument.
        argument: String,
        /// What it should be.
        expected: &'static str,
        /// What was given.
        given: String,
    },
}

impl Form {
    /// The arguments, by name, of a call with these words.
    ///
    /// Source: `_compile_arguments`, `celery/bin/control.py`, Celery 5.7.0.
    ///
    /// # Errors
    /// When there are too many words, or one is not what it should be. Too few are left to the worker to complain of.
    pub fn read(&self, words: &[String]) -> Result<Vec<(Box<str>, Value)>, FormError> {
        let (fixed, rest) = words.split_at(words.len().min(self.arguments.len()));
        let mut read = Vec::new();
        for (word, (name, kind)) in fixed.iter().zip(&self.arguments) {
            let value = kind.read(word).map_err(|expected| FormError::Unreadable {
                command: self.name.clone().into_owned(),
                argument: name.clone().into_owned(),
                expected,
                given: word.clone(),
            })?;
            read.push((Box::from(&**name), value));
        }
        match &self.variadic {
            Some(name) => {
                let rest = rest.iter().map(|word| Value::from(word.as_str())).collect();
                read.push((Box::from(&**name), Value::List(rest)));
            }
            None if rest.is_empty() => {}
            None => {
                let signature = if self.signature.is_empty() { "none" } else { &*self.signature };
                let command = self.name.clone().into_owned();
                return Err(FormError::TooMany { command, signature: signature.to_owned() });
            }
        }
        Ok(read)
    }
}

impl ArgumentKind {
    /// Source of what is true: `strtobool`, `celery/utils/serialization.py`, Celery 5.7.0.
    fn read(self, word: &str) -> Result<Value, &'static str> {
        match self {
            Self::Text => Ok(word.into()),
            Self::Integer => word.parse().map(Value::Int).map_err(|_| "a whole number"),
            Self::Number => word.parse().map(Value::Float).map_err(|_| "a number"),
            Self::Truth => match word.to_lowercase().as_str() {
                "true" | "yes" | "1" | "on" | "t" | "y" => Ok(true.into()),
                "false" | "no" | "0" | "off" | "f" | "n" => Ok(false.into()),
                _ => Err("true or false"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(variadic: Option<&'static str>) -> Form {
        Form {
            name: "limit".into(),
            kind: Kind::Control,
            arguments: vec![("task".into(), ArgumentKind::Text), ("soft".into(), ArgumentKind::Number)],
            variadic: variadic.map(Into::into),
            signature: "<task> <soft>".into(),
            help: "".into(),
        }
    }

    fn read(form: &Form, line: &str) -> Result<Vec<(Box<str>, Value)>, FormError> {
        form.read(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_arguments_in_their_order() {
        let both: Vec<(Box<str>, Value)> =
            vec![("task".into(), "t".into()), ("soft".into(), Value::Float(1.5))];
        assert_eq!(read(&form(None), "t 1.5"), Ok(both.clone()));
        assert_eq!(read(&form(None), "t"), Ok(both[..1].to_vec()));
        let rest = ("ids".into(), Value::List(vec!["a".into(), "b".into()]));
        assert_eq!(read(&form(Some("ids")), "t 1.5 a b"), Ok([&both[..], &[rest]].concat()));
        assert_eq!(read(&form(Some("ids")), ""), Ok(vec![("ids".into(), Value::List(Vec::new()))]));
    }

    #[test]
    fn wrong_words_are_refused_by_name() {
        assert_eq!(
            read(&form(None), "t 1 2").unwrap_err().to_string(),
            "limit takes arguments: <task> <soft>"
        );
        assert_eq!(read(&form(None), "t x").unwrap_err().to_string(), "soft of limit is a number, not \"x\"");
        assert_eq!(ArgumentKind::Truth.read("Yes"), Ok(true.into()));
        assert!(ArgumentKind::Truth.read("maybe").is_err() && ArgumentKind::Integer.read("1.5").is_err());
    }
}
