//! Waiting, at the end of a process, until its files are closed.
//!
//! The threads of a store end by themselves once its last handle is gone. The last connection of all processes to close
//! a file writes its log back and removes `-wal` and `-shm`; a process that exits while its threads still close leaves
//! them behind, which harms nothing but looks as if it did.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::lock;

/// How many threads of this process have a file open.
static OPEN: Mutex<usize> = Mutex::new(0);
static CLOSED: Condvar = Condvar::new();

/// Belongs to a thread for as long as it may have a file open. To be dropped after its connection.
pub(super) struct Opening(());

impl Opening {
    pub(super) fn new() -> Self {
        *lock(&OPEN) += 1;
        Self(())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        *lock(&OPEN) -= 1;
        CLOSED.notify_all();
    }
}

/// Waits until all threads have closed their files, and says whether they have.
pub(crate) fn wait_until_closed(within: Duration) -> bool {
    let waited = CLOSED.wait_timeout_while(lock(&OPEN), within, |open| *open > 0);
    *waited.unwrap_or_else(PoisonError::into_inner).0 == 0
}
