//! What the signals of the operating system ask of a worker. The only place that listens to them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::shutdown::StopSignal;
use crate::{Shutdown, Stopper};

/// A shutdown that SIGTERM, SIGINT and SIGQUIT ask for; and SIGHUP as SIGTERM does, which a terminal sends when it is closed.
/// Where SIGHUP is ignored at the start, as under `nohup`, it stays so.
///
/// Handlers are installed before this returns, so it is correct as PID 1 too, whose signals have no default action. The
/// listener ends with the runtime that this is called on.
///
/// Celery starts itself anew on SIGHUP if it has no terminal: `celery/apps/worker.py`, `install_worker_restart_handler`,
/// Celery 5.7.0. A worker of ours is started anew by what keeps it running.
///
/// With `terminate_is_quit`, SIGTERM is as SIGQUIT: Celery's `REMAP_SIGTERM=SIGQUIT`.
///
/// # Errors
/// When the system refuses a handler.
pub fn shutdown_by_signals(terminate_is_quit: bool) -> io::Result<(Stopper, Shutdown)> {
    let (stopper, shutdown) = Shutdown::new();
    let on_terminate = if terminate_is_quit { StopSignal::Quit } else { StopSignal::Terminate };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
    // In Celery it prints what all threads do; without a handler it would end the process.
    let mut dump = signal(SignalKind::user_defined1())?;
    let listener = stopper.clone();
    tokio::spawn(async move {
        loop {
            let heard = tokio::select! {
                Some(()) = terminate.recv() => on_terminate,
                Some(()) = interrupt.recv() => StopSignal::Interrupt,
                Some(()) = quit.recv() => StopSignal::Quit,
                Some(()) = next(&mut hangup) => StopSignal::Hangup,
                Some(()) = dump.recv() => {
                    tracing::warn!("SIGUSR1: there are no Python threads here to show; `inspect` shows what runs");
                    continue;
                }
                else => return,
            };
            listener.heard(heard);
        }
    });
    Ok((stopper, shutdown))
}

/// The next signal of a kind; none of a kind that nobody listens to.
async fn next(signal: &mut Option<Signal>) -> Option<()> {
    signal.as_mut()?.recv().await
}

/// Whether this process was started with SIGHUP ignored. Elsewhere than on Linux nobody knows, and it is not.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignored(&status) & 1 != 0)
}

/// The ignored signals, the first of which is SIGHUP.
///
/// Source: proc_pid_status(5), `SigIgn`.
fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_read() {
        assert_eq!(ignored("Name:\tw\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"), 0x1000);
        assert_eq!(ignored("SigIgn:\t0000000000001001\n") & 1, 1);
        assert_eq!(ignored("Name:\tw\n"), 0);
    }
}
