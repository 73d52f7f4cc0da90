//! The command line of a Celeriac program: worker, calls, results, queues, control.
//!
//! [`run`] turns an app into a program. There is one module per command; each defines its arguments and what it does.
//! What a command prints, and how it fails, is in `output`, `table` and `failure`.

mod application;
mod args;
mod banner;
mod call;
mod celery;
mod completions;
mod daemon;
mod events;
mod failed;
mod failure;
mod hosted;
mod inspect;
mod logging;
mod node_name;
mod output;
mod pid_file;
mod probe;
mod process_title;
mod purge;
mod queues;
mod remote;
mod result;
mod revoke;
mod session;
mod settings;
mod setup;
mod starting;
mod table;
mod tasks;
mod traces;
mod unknown;
mod users;
mod values;
mod worker;
mod workflow;

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;
use std::time::Duration;

use celeriac_app::App;
use celeriac_app::control::Form;
use tokio::runtime::{Builder, Handle, Runtime};

use args::{Cli, Command};
use failure::Failure;
use hosted::Hosted;
use output::Output;
use pid_file::PidFile;
use process_title::without_passwords;
use session::Session;

/// Runs the program that `app` is, as its command line asks: `worker`, `call`, `result`, `queues` and more.
///
/// To be called from a plain `fn main`: it starts a runtime of its own, and child processes of a worker start here too.
/// The exit code is 0 if the command did what it was asked, 1 if it failed, 2 if it was asked wrongly.
///
/// Where an argument holds a URL with a password, the program is started again as the same process, with `***` in its
/// place, so that no other user sees it in `ps`. What `main` does before this call it does twice then, and the second
/// time [`std::env::args_os`] has no password.
///
/// ```no_run
/// use std::process::ExitCode;
///
/// use celeriac_app::App;
///
/// fn main() -> ExitCode {
///     celeriac_cli::run(App::new("urls"))
/// }
/// ```
pub fn run(app: App) -> ExitCode {
    if let Some(ended) = celeriac_worker::run_if_child(&app) {
        return ended;
    }
    let args = process_title::hidden_arguments();
    ExitCode::from(run_in_terminal(app, &args))
}

/// As [`run`], with these arguments; the first one is the program. Those of the process stay visible as they are.
pub fn run_from(app: App, args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    if let Some(ended) = celeriac_worker::run_if_child(&app) {
        return ended;
    }
    ExitCode::from(run_in_terminal(app, &args))
}

/// As [`run_from`], printing to `out` and `err`; returns the exit code. Log lines go where the command line says, and a
/// worker's child processes never come here.
///
/// ```
/// use celeriac_app::App;
///
/// let (mut out, mut err) = (Vec::new(), Vec::new());
/// let code = celeriac_cli::run_with(App::new("urls"), &["urls".into(), "tasks".into()], &mut out, &mut err);
/// assert_eq!(code, 0);
/// assert_eq!(String::from_utf8_lossy(&err), "this program has no tasks: register them with App::tasks\n");
/// ```
pub fn run_with(
    app: App,
    args: &[OsString],
    out: &mut (dyn Write + Send),
    err: &mut (dyn Write + Send),
) -> u8 {
    run_on(app, args, Output { out, err, is_terminal: false })
}

/// As [`run_with`], on the standard streams, which may be a terminal.
fn run_in_terminal(app: App, args: &[OsString]) -> u8 {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    run_on(app, args, Output { out: &mut io::stdout(), err: &mut io::stderr(), is_terminal })
}

fn run_on(app: App, args: &[OsString], output: Output<'_>) -> u8 {
    let Output { out, err, is_terminal } = output;
    let cli = match args::parse(app.name(), args, args::app_of_environment(app.task_list().next().is_some()))
    {
        Ok(cli) => cli,
        Err(usage) => return show_usage(&usage, out, err),
    };
    let program = args::program_name(args);
    let mut again = false;
    let output = Output { out: &mut *out, err: &mut *err, is_terminal };
    let done = execute(app, cli, (args, &program), output, &mut again);
    // The process may end with this, and its threads would leave their files as after a crash.
    celeriac_store::wait_until_closed(CLOSING);
    if again {
        let error = process_title::start_again(args);
        let _ = writeln!(err, "error: this program cannot be started again: {error}");
    }
    match done {
        Ok(code) => code,
        Err(failure) => {
            let _ = write!(err, "{failure}");
            failure.code
        }
    }
}

/// How long the files of stores may take to be closed.
const CLOSING: Duration = Duration::from_secs(1);

/// Help and version were asked for and go to `out`; anything else is wrong usage.
fn show_usage(usage: &clap::Error, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
    let text = usage.render().to_string();
    let _ = match usage.use_stderr() {
        // It may name an argument that nothing expected, such as a URL.
        true => text.split_inclusive('\n').try_for_each(|line| write!(err, "{}", without_passwords(line))),
        false => write!(out, "{text}"),
    };
    u8::try_from(usage.exit_code()).unwrap_or(2)
}

fn execute(
    app: App,
    cli: Cli,
    (arguments, program): (&[OsString], &str),
    output: Output<'_>,
    again: &mut bool,
) -> Result<u8, Failure> {
    if let Some(folder) = &cli.common.workdir {
        std::env::set_current_dir(folder).map_err(|error| {
            Failure::because(format!("--workdir {} cannot be changed to", folder.display()), &error)
        })?;
    }
    let (hosted, start) = match &cli.command {
        Command::Worker(args) => match starting::load(&cli, args, output.err)? {
            Ok(loaded) => loaded.unzip(),
            Err(exit) => return Ok(exit.code()),
        },
        Command::Shell(args) => return Err(application::shell(args, &cli.common)),
        _ => (None, None),
    };
    let mut pid_file = None;
    if let Command::Worker(args) = &cli.command {
        let files = args.files(hosted.as_ref());
        if args.daemon.wants_background(hosted.is_some()) {
            let command = args::command(app.name(), program);
            return daemon::start_in_background(&command, arguments, &files, output.err).map(|()| 0);
        }
        pid_file = files.pid.map(|path| PidFile::take(path, output.err)).transpose()?;
    }
    let _removed_at_the_end = pid_file;
    let (app, commands) = match &hosted {
        Some(hosted) => (hosted.join(app)?, Vec::new()),
        // It asks neither the application nor its broker.
        None if matches!(cli.command, Command::Probe(_)) => (app, Vec::new()),
        None => with_settings_of_application(app, &cli)?,
    };
    let app = traces::set_up(settings::apply(app, &cli)?, &cli, output.err);
    let spans = traces::Last::of(&app);
    let mut session = Session::new(app, commands, output);
    let session = &mut session;
    let done = match cli.command {
        Command::Tasks(args) => tasks::run(&args, session),
        Command::Completions(args) => completions::run(&args, program, session),
        Command::Worker(args) => {
            let ended = worker::run(&args, hosted.as_ref(), start, session);
            *again = ended.is_ok() && hosted.as_ref().is_some_and(Hosted::is_to_start_again);
            return ended;
        }
        Command::Probe(args) => probe::run(&args, session),
        Command::Report => application::report(&cli.common, session),
        Command::Shell(_) => Ok(()),
        Command::Call(args) => small_runtime()?.block_on(call::run(*args, session)),
        Command::Result(args) => small_runtime()?.block_on(result::run(args, session)),
        Command::Queues(args) => small_runtime()?.block_on(queues::run(args, session)),
        Command::Events(args) => small_runtime()?.block_on(events::run(args, session)),
        Command::Purge(args) => small_runtime()?.block_on(purge::run(args, session)),
        Command::Failed(args) => small_runtime()?.block_on(failed::run(args, session)),
        Command::Revoke(args) => small_runtime()?.block_on(revoke::run(args, session)),
        Command::Inspect(args) => small_runtime()?.block_on(inspect::run(args, session)),
        Command::Control(args) => small_runtime()?.block_on(remote::control(args, session)),
        Command::Status(args) => small_runtime()?.block_on(remote::status(args, session)),
    };
    spans.export(session.output.err);
    done.map(|()| 0)
}

/// The program with the settings of the application that its command line names, for a command that starts no worker, and
/// the commands of remote control that the application adds.
fn with_settings_of_application(app: App, cli: &Cli) -> Result<(App, Vec<Form>), Failure> {
    let Some(name) = cli.common.app.as_ref().filter(|_| !matches!(cli.command, Command::Report)) else {
        return Ok((app, Vec::new()));
    };
    let found = application::load(name, &cli.common)?;
    let mut taken = Ok(());
    let app = app.settings(|settings| taken = application::take_over(&found.settings, settings));
    taken.map(|()| (app, found.forms()))
}

/// For commands that ask a store a few things.
fn small_runtime() -> Result<Runtime, Failure> {
    start_runtime(&mut Builder::new_current_thread())
}

fn start_runtime(builder: &mut Builder) -> Result<Runtime, Failure> {
    if Handle::try_current().is_ok() {
        return Err(Failure::new("celeriac::cli::run was called from inside a runtime")
            .next("call it from a plain `fn main`, without #[tokio::main]"));
    }
    builder.enable_all().build().map_err(|error| Failure::because("the runtime cannot be started", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn being_called_inside_a_runtime_is_an_error_that_says_so() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["urls", "queues", "-b", "memory://inside"].map(OsString::from);
        assert_eq!(run_with(App::new("urls"), &args, &mut out, &mut err), 1);
        let expected = "\
error: celeriac::cli::run was called from inside a runtime
  next: call it from a plain `fn main`, without #[tokio::main]
";
        assert_eq!(String::from_utf8(err).unwrap(), expected);
    }
}
