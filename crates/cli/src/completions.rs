//! `completions`: the script with which a shell completes these commands.

use clap_complete::Shell;

use crate::failure::Failure;
use crate::session::Session;

const HELP: &str = "\
Examples:
  $ source <({bin} completions bash)
  $ {bin} completions zsh > ~/.zfunc/_{bin}
  $ {bin} completions fish > ~/.config/fish/completions/{bin}.fish";

/// Print a script that completes these commands in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &Args, program: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = crate::args::command(session.app_name(), program);
    clap_complete::generate(args.shell, &mut command, program, &mut script);
    Ok(session.output.out.write_all(&script)?)
}
