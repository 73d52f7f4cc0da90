//! The child's side of the prefork pool: what this executable does when it was started as a child.
//!
//! Three threads share the work, so that code of the user can block only its own: the main thread builds the
//! resources and runs the tasks, one reads what the parent says, one gives signs of life. Resources and tasks
//! that need a runtime share one of the child's own.

pub(super) mod connection;
mod last_words;
mod life;
mod listener;
pub(super) mod log;
mod pulse;
mod reporter;
mod spans;

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use celeriac_app::App;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::spawner::PARENT_VARIABLE;
use crate::death::exit_code;

/// Runs this process as a child of a worker, if that is what it was started as, and says how it ended.
///
/// Programs call this first, with the same tasks and resources as the worker: a worker that runs tasks with
/// `isolation = "process"` starts its own executable again for each child, with the same arguments. `cli::run` does.
/// What a program does before this call, each child does too, unseen: its parent waits for the first sign of life.
///
/// Standard input is the child's connection to its parent until this call, and empty afterwards.
///
/// ```
/// use std::process::ExitCode;
///
/// use celeriac_app::App;
///
/// fn main() -> ExitCode {
///     let app = App::new("urls");
///     if let Some(ended) = celeriac_worker::run_if_child(&app) {
///         return ended;
///     }
///     // Here starts the program itself.
///     ExitCode::SUCCESS
/// }
/// ```
pub fn run_if_child(app: &App) -> Option<ExitCode> {
    let parent: i32 = std::env::var(PARENT_VARIABLE).ok()?.parse().ok()?;
    let socket = take_socket()?;
    // From here on this is a child, or was to become one: never the program itself, or a worker that died early
    // would leave behind as many workers as it had children.
    Some(match adopt(parent, socket) {
        Ok(socket) => life::live(app.clone(), socket),
        Err(error) => {
            eprintln!("this process was started as a child of the worker {parent}, but {error}");
            ExitCode::from(exit_code::FAILED)
        }
    })
}

/// Standard input as the socket to the parent, if it is one.
///
/// A process that a task started has inherited the variable, but not the socket.
pub(super) fn take_socket() -> Option<UnixStream> {
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    socket.local_addr().ok()?.is_unnamed().then_some(socket)
}

/// Ties this process to the life of its parent.
fn adopt(parent: i32, socket: UnixStream) -> io::Result<UnixStream> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before that call.
    if getppid().is_none_or(|pid| pid.as_raw_nonzero().get() != parent) {
        return Err(io::Error::other("that has ended already"));
    }
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(socket)
}
