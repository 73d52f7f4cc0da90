//! Running commands.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A command that did not do what it should.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies one folder below the workspace").to_owned()
}

/// Cargo in the workspace.
pub(crate) fn cargo() -> Command {
    in_workspace(Command::new(env!("CARGO")))
}

/// Cargo in the workspace, with the processors that nothing else wants.
pub(crate) fn idle_cargo() -> Command {
    let mut nice = Command::new("nice");
    nice.args(["-n", "19", env!("CARGO")]);
    in_workspace(nice)
}

fn in_workspace(mut command: Command) -> Command {
    command.current_dir(root());
    command
}

/// Runs a command, its output going straight through.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = describe(command);
    eprintln!("\n$ {shown}");
    let started = Instant::now();
    let status = command.status().map_err(|error| Failure(format!("{shown}: {error}")))?;
    eprintln!("  ({:.0} s)", started.elapsed().as_secs_f64());
    if status.success() { Ok(()) } else { Err(Failure(format!("{shown}: {status}"))) }
}

pub(crate) fn describe(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    command.get_args().fold(program, |text, argument| text + " " + &argument.to_string_lossy())
}
