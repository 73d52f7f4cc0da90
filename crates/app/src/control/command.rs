//! Commands of a program's own, which its workers answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use celeriac_protocol::{Value, ValueError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::form::{ArgumentKind, Form, Kind};
use crate::App;

/// Why a command failed. Its text is replied, as `{"error": text}`.
pub type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// What a command answers.
type Answering = Pin<Box<dyn Future<Output = Result<Value, CommandError>> + Send>>;

/// A command of remote control that a program adds, as `@inspect_command` and `@control_command` do in Celery.
///
/// Its workers answer it to Celery's clients and to ours: `celeriac inspect NAME`, `app.control().call(NAME)`. In Celery's
/// own command line a name is known only if the Python application has a command of that name too.
///
/// Commands run beside everything else of the worker, on one thread for all of them: one that blocks holds up the others, and
/// nothing else. It may panic, which is replied like an error. What takes longer than a minute is given up, and so are commands
/// while 16 others run; who asked is told.
///
/// ```
/// use celeriac_app::App;
/// use celeriac_app::control::{ArgumentKind, Command};
///
/// let pages = Command::inspect("pages", |asked| async move {
///     let host: String = asked.argument("host")?;
///     Ok(format!("{} pages of {host}", host.len()))
/// });
/// let pages = pages.takes("host", ArgumentKind::Text).help("How many pages of a host are known");
/// let app = App::new("urls").control_command(pages);
/// assert_eq!(app.control_commands().count(), 1);
/// ```
#[derive(Clone)]
pub struct Command {
    form: Form,
    answer: Arc<dyn Fn(Asked) -> Answering + Send + Sync>,
}

/// A command that was asked of a worker.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The program.
    pub app: App,
    /// The node name of the worker.
    pub node: Box<str>,
    /// What it is called with, by name.
    pub arguments: Vec<(Box<str>, Value)>,
}

impl Asked {
    /// The argument of this name; `None` is what a missing one is read as.
    ///
    /// # Errors
    /// When it is not what it should be, or is missing and has to be there.
    pub fn argument<T: DeserializeOwned>(&self, name: &str) -> Result<T, CommandError> {
        let given = self.arguments.iter().find(|(argument, _)| &**argument == name);
        let value = given.map(|(_, value)| value.clone()).unwrap_or_default();
        value.deserialize_into().map_err(|error: ValueError| match given {
            Some(_) => format!("argument {name}: {error}").into(),
            None => format!("argument {name} is missing").into(),
        })
    }
}

impl Command {
    /// A command that asks something of a worker. What it returns is replied.
    pub fn inspect<R, F>(name: impl Into<String>, answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        R: Serialize,
        F: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        Self::new(Kind::Inspect, name.into(), answer)
    }

    /// A command that changes something in a worker. What it returns is replied.
    pub fn control<R, F>(name: impl Into<String>, answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        R: Serialize,
        F: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        Self::new(Kind::Control, name.into(), answer)
    }

    fn new<R, F>(kind: Kind, name: String, answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> Self
    where
        R: Serialize,
        F: Future<Output = Result<R, CommandError>> + Send + 'static,
    {
        let form = Form {
            name: name.into(),
            kind,
            arguments: Vec::new(),
            variadic: None,
            signature: "".into(),
            help: "".into(),
        };
        let answer = move |asked| -> Answering {
            let answering = answer(asked);
            Box::pin(async move { Ok(Value::from_serialize(&answering.await?)?) })
        };
        Self { form, answer: Arc::new(answer) }
    }

    /// With one more argument on the command line.
    #[must_use]
    pub fn takes(mut self, name: &str, kind: ArgumentKind) -> Self {
        self.form.arguments.push((name.to_owned().into(), kind));
        self.signed(format!("[{name}]"))
    }

    /// With an argument that takes all that is left of the command line, as a list of text.
    #[must_use]
    pub fn takes_rest(mut self, name: &str) -> Self {
        self.form.variadic = Some(name.to_owned().into());
        self.signed(format!("[{name} ...]"))
    }

    fn signed(mut self, argument: String) -> Self {
        let before = std::mem::take(&mut self.form.signature);
        self.form.signature =
            if before.is_empty() { argument.into() } else { format!("{before} {argument}").into() };
        self
    }

    /// With one line on what it does.
    #[must_use]
    pub fn help(mut self, line: &str) -> Self {
        self.form.help = line.to_owned().into();
        self
    }

    /// How it is called.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// Answers it. For the worker.
    pub fn answer(&self, asked: Asked) -> impl Future<Output = Result<Value, CommandError>> + Send + use<> {
        // What the function does before its future is part of it too.
        let answer = Arc::clone(&self.answer);
        async move { answer(asked).await }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Command").field(&self.form).finish()
    }
}
