//! What the signals of the operating system ask of a worker. The only place that listens to them.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

use crate::{Shutdown, Stopper};

/// A shutdown that SIGTERM, SIGINT and SIGQUIT ask for.
///
/// Handlers are installed before this returns, so it is correct as PID 1 too, whose signals have no default action. The
/// listener ends with the runtime that this is called on.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_by_signals() -> io::Result<(Stopper, Shutdown)> {
    let (stopper, shutdown) = Shutdown::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let listener = stopper.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                Some(()) = terminate.recv() => listener.terminate(),
                Some(()) = interrupt.recv() => listener.interrupt(),
                Some(()) = quit.recv() => listener.quit(),
                else => return,
            }
        }
    });
    Ok((stopper, shutdown))
}
