//! The end of a child that cannot go on: at once, and with a word to its parent why.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use super::super::protocol::FromChild;
use super::super::sys::exit_at_once;
use super::connection::Sender;
use super::reporter::NO_BODY;
use crate::death::exit_code;
use crate::panic;

/// Says why this child ends, for the record of its parent. False if that cannot be told any more, so that the exit code
/// is all that it learns.
pub(super) fn say(sender: &Sender, why: &str) -> bool {
    sender.send(&FromChild::Failed { why: why.into() }, NO_BODY).is_ok()
}

/// Calls code of the child itself, outside of any task. A panic in there ends the process, because nothing can be
/// relied on any more, and a thread that is missing would be noticed by the silence only.
pub(super) fn or_end<T>(sender: &Sender, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        say(sender, &format!("it panicked outside of a task: {}", panic::said(&*payload)));
        end(exit_code::PANICKED)
    })
}

/// Does nothing until the signal comes that the parent has decided on, or its end, on which the listener acts.
pub(super) fn await_the_kill() -> ! {
    loop {
        thread::park();
    }
}

/// Ends the process without dropping anything, not even what belongs to this thread: a task may have closed the files of
/// others, and the standard library aborts in debug builds when such a file is dropped.
pub(super) fn end(code: u8) -> ! {
    exit_at_once(code)
}
