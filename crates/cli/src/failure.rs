//! How a command says that it failed.

use std::error::Error;
use std::fmt;
use std::io;

/// Why a command ended without doing what it was asked, for a person who reads it in a terminal.
///
/// It prints as one line on what failed, one per cause, and one on what to do next:
///
/// ```text
/// error: cannot open the store
///   cause: store sqlite:////srv/tasks.db has schema version 9, this program knows up to 1
///   next: use a newer celeriac
/// ```
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    causes: Vec<String>,
    next: Option<String>,
    /// The program's exit code.
    pub(crate) code: u8,
    /// Whether there is nobody left to tell.
    unheard: bool,
}

impl Failure {
    /// A failure without a deeper cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), causes: Vec::new(), next: None, code: 1, unheard: false }
    }

    /// A failure because of `error` and what that was caused by.
    pub(crate) fn because(message: impl Into<String>, error: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(message);
        let mut cause = Some(error);
        while let Some(error) = cause {
            failure = failure.cause(error.to_string());
            cause = error.source();
        }
        failure
    }

    /// With what to do about it.
    pub(crate) fn next(self, step: impl Into<String>) -> Self {
        Self { next: Some(step.into()), ..self }
    }

    /// With another exit code than 1.
    pub(crate) fn exits_with(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// With a (further) cause. Many errors repeat their source in their own text; that is left out.
    pub(crate) fn cause(mut self, text: impl Into<String>) -> Self {
        let text = text.into();
        if !self.causes.last().unwrap_or(&self.message).contains(&text) {
            self.causes.push(text);
        }
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.unheard {
            return Ok(());
        }
        writeln!(f, "error: {}", self.message)?;
        for cause in &self.causes {
            writeln!(f, "  cause: {}", cause.replace('\n', "\n    "))?;
        }
        match &self.next {
            Some(step) => writeln!(f, "  next: {step}"),
            None => Ok(()),
        }
    }
}

/// The output cannot be written. When its reader has seen enough (`failed list | head`), that is nothing to complain of.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let unheard = error.kind() == io::ErrorKind::BrokenPipe;
        Self { unheard, ..Self::because("the output cannot be written", &error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_shows_the_chain_of_causes_and_the_next_step() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tasks.db cannot be opened")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let outer = Outer(io::Error::new(io::ErrorKind::NotFound, "no such folder"));
        let failure = Failure::because("cannot open the store", &outer).next("create the folder");
        let expected = "\
error: cannot open the store
  cause: tasks.db cannot be opened
  cause: no such folder
  next: create the folder
";
        assert_eq!(failure.to_string(), expected);
    }
}
