//! How the loop says what happens, without waiting for anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::Happening;

/// How much may wait to be sent.
const WAITING: usize = 10_000;

/// Whether events of tasks are sent. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Switch(Arc<AtomicBool>);

impl Switch {
    /// On or off.
    pub fn new(is_on: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_on)))
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns it on or off, and says whether it was on before.
    pub fn turn(&self, on: bool) -> bool {
        self.0.swap(on, Ordering::Relaxed)
    }
}

/// The end that the loop holds. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    happenings: mpsc::Sender<Happening>,
    dropped: Arc<AtomicU64>,
}

/// The end from which the dispatcher takes what has happened.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(super) happenings: mpsc::Receiver<Happening>,
    dropped: Arc<AtomicU64>,
}

impl Watch {
    /// Both ends.
    pub(crate) fn channel() -> (Self, Inbox) {
        let (happenings, inbox) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        (Self { happenings, dropped: Arc::clone(&dropped) }, Inbox { happenings: inbox, dropped })
    }

    /// Something has happened. Dropped, and counted, while too much waits.
    pub(crate) fn say(&self, happening: Happening) {
        // Without a dispatcher the worker has ended.
        if let Err(TrySendError::Full(_)) = self.happenings.try_send(happening) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same for those who must not keep the dispatcher waiting for more.
    pub(crate) fn downgrade(&self) -> mpsc::WeakSender<Happening> {
        self.happenings.downgrade()
    }
}

impl Inbox {
    /// How many events have been dropped since this was asked last.
    pub(super) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sends_is_dropped_and_counted() {
        let (watch, mut inbox) = Watch::channel();
        for _ in 0..WAITING + 7 {
            watch.say(Happening::Heartbeat);
        }
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (7, 0));
        assert!(inbox.happenings.try_recv().is_ok());
        watch.say(Happening::Heartbeat);
        assert_eq!(inbox.take_dropped(), 0, "there is room again");
    }
}
