//! How soon the system runs the thread that answers probes, when others want the processors too.
//!
//! The answer itself takes some tens of microseconds; on a busy machine the rest is waiting for a processor. Where the
//! process may (as root, with `CAP_SYS_NICE`, or `LimitNICE=` of systemd), the thread goes ahead of the tasks.

use rustix::process::{getpriority_process, setpriority_process};

/// The priority of the thread that answers probes, by the scale of `nice`.
const SOON: i32 = -10;

/// Whether threads have priorities of their own; elsewhere they share that of the process, which is left alone.
const OF_THREADS: bool = cfg!(target_os = "linux");

/// The priority of the calling thread, by the scale of `nice`.
pub(super) fn of_this_thread() -> i32 {
    getpriority_process(None).unwrap_or(0)
}

/// Has the calling thread run sooner than others, if that is allowed and it does not do so already.
pub(super) fn raise() {
    if OF_THREADS
        && of_this_thread() > SOON
        && let Err(error) = setpriority_process(None, SOON)
    {
        tracing::debug!(%error, "probes are answered at the usual priority");
    }
}

/// Has the calling thread run no sooner than at this priority, which it may owe to the one that started it.
pub(super) fn lower_to(usual: i32) {
    if OF_THREADS && of_this_thread() < usual {
        // Never refused; and if it were, a scrape would be early.
        let _ = setpriority_process(None, usual);
    }
}
