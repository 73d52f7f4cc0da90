//! What can be typed after the program's name.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::{
    application, call, completions, events, failed, inspect, probe, purge, queues, remote, result, revoke,
    tasks, unknown, worker,
};

/// The widest a help text gets.
const WIDEST_HELP: usize = 100;

const HELP: &str = "\
Examples:
  $ {bin} worker -l info
  $ {bin} call proj.add --args '[1, 2]' --wait
  $ {bin} result ID --wait 10
  $ {bin} queues
  $ {bin} failed list
  $ {bin} inspect --json
  $ {bin} inspect workflow ID
  $ {bin} inspect stats -d NODE
  $ {bin} control rate_limit proj.add 10/m

Settings come from the program itself, then from a TOML file (--config), then from the environment \
(CELERIAC_BROKER_URL, CELERIAC_WORKER_CONCURRENCY, ...), then from these options. The last one wins.

Exit codes: 0 done, 1 failed, 2 wrong usage, 69 no worker has replied.";

/// A distributed task queue that speaks Celery's protocol
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    /// As after `worker`.
    #[arg(short, long = "quiet", id = "quiet_first", hide = true)]
    pub(crate) quiet: bool,
    /// What a Celery application adds to the command line of its worker.
    #[arg(skip)]
    pub(crate) extra: Vec<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Common Options")]
pub(crate) struct Common {
    /// The Celery application: a worker runs its tasks too, other commands use its settings; module
    /// or module:attribute
    #[arg(short = 'A', long, value_name = "APP", global = true)]
    pub(crate) app: Option<String>,

    /// Change to this directory first
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) workdir: Option<PathBuf>,

    /// Where messages are kept: sqlite:///tasks.db, sqlite:////absolute/tasks.db
    #[arg(short, long, value_name = "URL", global = true)]
    pub(crate) broker: Option<String>,

    /// Where results are kept; default: where the messages are
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) result_backend: Option<String>,

    /// Read settings from this TOML file; with -A also: from this Python module
    #[arg(long, value_name = "FILE", global = true, env = "CELERIAC_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,

    /// The class that loads the Celery application
    #[arg(long, value_name = "CLASS", global = true)]
    pub(crate) loader: Option<String>,

    /// Write no colors [env: NO_COLOR]
    #[arg(short = 'C', long, global = true)]
    pub(crate) no_color: bool,

    /// Skip the checks of Django when the Celery application is loaded
    #[arg(long, global = true)]
    pub(crate) skip_checks: bool,
}

impl Common {
    /// The file with the settings of this program.
    pub(crate) fn file_of_settings(&self) -> Option<&Path> {
        self.config.as_deref().filter(|path| self.app.is_none() || is_file(path))
    }

    /// The Python module with the settings of the Celery application.
    pub(crate) fn module_of_settings(&self) -> Option<&str> {
        self.config.as_deref().filter(|path| self.app.is_some() && !is_file(path))?.to_str()
    }
}

/// Whether `--config` means a file: Celery means a module by it.
fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") || path.components().count() > 1
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run tasks
    Worker(Box<worker::Args>),
    /// Call a task by name
    Call(Box<call::Args>),
    /// Print the result of a task
    Result(result::Args),
    /// Show what waits in the queues
    Queues(queues::Args),
    Events(events::Args),
    /// Remove what waits in queues
    Purge(purge::Args),
    /// List, show, requeue or drop tasks that nobody could run
    Failed(failed::Args),
    /// Stop tasks from running
    Revoke(revoke::Args),
    /// Ask the workers what they do
    Inspect(inspect::Args),
    Control(remote::Control),
    Status(remote::Status),
    /// Ask a worker on this machine whether it lives, is ready or has started
    Probe(probe::Args),
    /// Print what to put into a report of a bug, with a Celery application
    Report,
    /// Start Celery's shell with the application in it
    Shell(application::Shell),
    /// List the tasks of this program and their options
    Tasks(tasks::Args),
    /// Print a script that completes these commands in a shell
    Completions(completions::Args),
}

/// The Celery application that the environment names: as `celery` has it, but for a program that runs tasks of its own the
/// variable `APP` may well mean something else.
///
/// Source: `celery/bin/celery.py`, `celery`, whose option `--app` has the variable `APP`, and `main`, which has the prefix
/// `CELERY`, Celery 5.7.0.
pub(crate) fn app_of_environment(has_tasks: bool) -> Option<String> {
    let named = |name| std::env::var(name).ok().filter(|app| !app.is_empty());
    named("APP").filter(|_| !has_tasks).or_else(|| named("CELERY_APP"))
}

/// Parses `args`, the first of which is the program. A worker that names no Celery application hosts `app`, if that is one.
pub(crate) fn parse(app_name: &str, args: &[OsString], app: Option<String>) -> Result<Cli, clap::Error> {
    let mut command = command(app_name, &program_name(args));
    let (known, extra) = unknown::split(&command, args);
    let matches = command.try_get_matches_from_mut(known)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Command::Worker(worker) = &mut cli.command {
        worker.quiet |= cli.quiet;
        cli.common.app = cli.common.app.or(app);
    }
    match extra.as_slice() {
        // Only with an application there is somebody who may know it.
        [_, ..] if cli.common.app.is_none() => command.try_get_matches_from_mut(args).map(|_| cli),
        _ => Ok(Cli { extra, ..cli }),
    }
}

/// The whole command line of an app, for a program of this name.
pub(crate) fn command(app_name: &str, program: &str) -> clap::Command {
    let mut command = Cli::command()
        .name(program.to_owned())
        .bin_name(program)
        .version(env!("CARGO_PKG_VERSION"))
        .about(format!("Runs and controls the tasks of {app_name} (celeriac {})", env!("CARGO_PKG_VERSION")))
        .max_term_width(WIDEST_HELP)
        .after_help(HELP);
    name_program(&mut command, program);
    command
}

/// Puts the program's name into the help texts, which say `{bin}`.
fn name_program(command: &mut clap::Command, program: &str) {
    if let Some(help) = command.get_after_help() {
        let help = help.to_string().replace("{bin}", program);
        *command = std::mem::take(command).after_help(help);
    }
    command.get_subcommands_mut().for_each(|command| name_program(command, program));
}

/// What people call this program: the file name of its first argument.
pub(crate) fn program_name(args: &[OsString]) -> String {
    let path = args.first().map(Path::new).and_then(Path::file_stem);
    path.map_or_else(|| "celeriac".to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        command("urls", "urls").debug_assert();
    }

    /// What `--help` prints, 100 columns wide.
    fn help(line: &str) -> String {
        let mut command = command("urls", "urls").term_width(WIDEST_HELP);
        let shown = command.try_get_matches_from_mut(line.split(' ')).unwrap_err();
        shown.render().to_string().replace(env!("CARGO_PKG_VERSION"), "X.Y.Z")
    }

    #[test]
    fn the_help_of_the_program_is_worth_reading() {
        assert_eq!(help("urls --help"), include_str!("../tests/help/program.txt"));
    }

    #[test]
    fn the_help_of_the_worker_has_celerys_flags() {
        assert_eq!(help("urls worker --help"), include_str!("../tests/help/worker.txt"));
    }

    #[test]
    fn the_help_of_a_call_has_examples() {
        assert_eq!(help("urls call --help"), include_str!("../tests/help/call.txt"));
    }

    #[test]
    fn common_options_are_taken_before_and_after_the_command() {
        for line in ["urls -b sqlite:///a.db queues", "urls queues --broker sqlite:///a.db"] {
            let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let cli = parse("urls", &args, None).unwrap();
            assert_eq!(cli.common.broker.as_deref(), Some("sqlite:///a.db"), "{line}");
        }
    }
}
