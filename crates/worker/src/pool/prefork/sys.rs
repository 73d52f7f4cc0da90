//! Calls of the system: the only unsafe code of the pool, three that have no safe form, and how a call is repeated.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::Pid;
use tokio::io::unix::AsyncFd;

use crate::death::Ending;

/// Lets the runtime watch a descriptor.
///
/// # Errors
/// What the system says of a descriptor that cannot be watched.
#[expect(
    unsafe_code,
    reason = "the safe way to watch any descriptor is deprecated as unsound for borrowed ones"
)]
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the runtime must be able to rely on the descriptor staying open, and the same, as long as it is
    // registered; an `OwnedFd` that it owns does.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// Calls again what a signal has interrupted.
pub(super) fn retried<T>(mut call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Ends this process: no destructor runs, nothing that `atexit` knows, and no buffer is written.
#[expect(unsafe_code, reason = "the safe way to exit runs code that the process may not survive")]
pub(super) fn exit_at_once(code: u8) -> ! {
    // SAFETY: it takes an integer, touches no memory of this process, and does not return.
    unsafe { libc::_exit(code.into()) }
}

/// What the kernel keeps of a dead process until its parent asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Remains {
    pub(super) ending: Ending,
    /// The most memory it ever held, in bytes; absent if its status was taken by someone else.
    pub(super) peak_memory: Option<u64>,
}

/// Reaps `pid`, a child of this process, or nothing if it still lives. Does not wait.
///
/// Its number is free for other processes afterwards, so nothing may be sent to it by number any more.
#[expect(
    unsafe_code,
    reason = "wait4 is the only call that reports the memory of one child, and rustix lacks it"
)]
pub(super) fn reap(pid: Pid) -> Option<Remains> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to live locals of the types wait4 fills, and rusage is plain integers,
    // for which zeroes are a valid value should the kernel not fill it.
    let (reaped, usage) = unsafe {
        let reaped =
            libc::wait4(pid.as_raw_nonzero().get(), &raw mut status, libc::WNOHANG, usage.as_mut_ptr());
        (reaped, usage.assume_init())
    };
    match reaped {
        0 => None,
        -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => None,
        -1 => Some(Remains { ending: Ending::Unknown, peak_memory: None }),
        _ => {
            let kibibytes = u64::try_from(usage.ru_maxrss).unwrap_or(0);
            Some(Remains { ending: ending_of(status), peak_memory: Some(kibibytes * 1024) })
        }
    }
}

fn ending_of(status: i32) -> Ending {
    if libc::WIFSIGNALED(status) {
        Ending::Signal(libc::WTERMSIG(status))
    } else {
        Ending::Exit(libc::WEXITSTATUS(status))
    }
}
