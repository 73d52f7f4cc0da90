//! A Celery application as the commands see it that start no worker: its settings, and what its own `celery` can do.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use celeriac_app::Settings;
use celeriac_app::control::{ArgumentKind, Form, Kind};
use serde::Deserialize;
use serde_json::Value;

use crate::args::Common;
use crate::celery;
use crate::failure::Failure;
use crate::hosted;
use crate::session::Session;

/// What comes before the settings, on a line of their own: modules may print while they are imported.
const MARK: &str = "celeriac-settings ";

/// Start Celery's shell with the application in it
#[derive(Debug, clap::Args)]
pub(crate) struct Shell {
    /// Options of `celery shell`, such as --ipython
    #[arg(value_name = "OPTION", trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// What a client of an application's broker needs to know of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Found {
    pub(crate) settings: BTreeMap<String, Value>,
    /// The commands of remote control that it adds.
    commands: Vec<Added>,
}

/// A command of remote control, as `Panel.meta` has it.
///
/// Source: `controller_info_t`, `celery/worker/control.py`, Celery 5.7.0.
#[derive(Debug, Deserialize)]
struct Added {
    name: String,
    r#type: String,
    args: Vec<(String, Option<String>)>,
    variadic: Option<String>,
    signature: Option<String>,
    help: Option<String>,
}

impl Found {
    /// The commands of remote control that the application adds.
    pub(crate) fn forms(&self) -> Vec<Form> {
        self.commands.iter().map(Added::form).collect()
    }
}

impl Added {
    fn form(&self) -> Form {
        let kind = |name: Option<&str>| match name {
            Some("int") => ArgumentKind::Integer,
            Some("float") => ArgumentKind::Number,
            Some("bool" | "strtobool") => ArgumentKind::Truth,
            _ => ArgumentKind::Text,
        };
        let arguments = self.args.iter().map(|(name, of)| (name.clone().into(), kind(of.as_deref())));
        Form {
            name: self.name.clone().into(),
            kind: if self.r#type == "inspect" { Kind::Inspect } else { Kind::Control },
            arguments: arguments.collect(),
            variadic: self.variadic.clone().map(Into::into),
            signature: self.signature.clone().unwrap_or_default().into(),
            help: self.help.clone().unwrap_or_default().into(),
        }
    }
}

/// Loads the application, as `celery` does, and asks it what a client of its broker needs to know.
pub(crate) fn load(app: &str, common: &Common) -> Result<Found, Failure> {
    let mut python = Command::new(interpreter());
    python.args(["-c", include_str!("application.py")]).args(celery::global_options(Some(app), common));
    let ended = python.stdin(Stdio::null()).output().map_err(|error| no_python(&error))?;
    if !ended.status.success() {
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        let said = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        let failure = Failure::new(format!("the Celery application {app} cannot be loaded"));
        return Err(failure.cause(said).exits_with(code));
    }
    let said = String::from_utf8_lossy(&ended.stdout);
    let line = said.lines().rev().find_map(|line| line.strip_prefix(MARK));
    line.and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| Failure::new(format!("the Celery application {app} does not say its settings")))
}

/// Takes over what the application is set to.
pub(crate) fn take_over(from: &BTreeMap<String, Value>, settings: &mut Settings) -> Result<(), Failure> {
    from.iter().try_for_each(|(name, value)| hosted::take_over(name, value, settings))
}

/// Prints what `celery report` prints, and which worker and which Python that is.
pub(crate) fn report(common: &Common, session: &mut Session<'_>) -> Result<(), Failure> {
    let ended = of_celery(common, "report").stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| no_python(&error))?;
    session.output.out.write_all(&ended.stdout)?;
    session.output.err.write_all(&ended.stderr)?;
    session.output.line(format!(
        "celeriac:{} python:{}",
        env!("CARGO_PKG_VERSION"),
        interpreter().display()
    ))?;
    match ended.status.code() {
        Some(0) => Ok(()),
        code => {
            let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
            Err(Failure::new("`celery report` has failed").exits_with(code))
        }
    }
}

/// Becomes Celery's shell. Returns only if that fails.
pub(crate) fn shell(args: &Shell, common: &Common) -> Failure {
    no_python(&of_celery(common, "shell").args(&args.options).exec())
}

fn of_celery(common: &Common, command: &str) -> Command {
    let mut python = Command::new(interpreter());
    python.args(["-m", "celery"]).args(celery::global_options(common.app.as_deref(), common)).arg(command);
    python
}

fn interpreter() -> PathBuf {
    hosted::interpreter()
}

fn no_python(error: &std::io::Error) -> Failure {
    Failure::because(format!("the Python {} cannot be started", interpreter().display()), error)
        .next("set CELERIAC_PYTHON to the Python that has Celery and the application")
}
