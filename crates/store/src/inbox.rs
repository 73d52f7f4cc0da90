//! What waits for one listener, bounded by number and by size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::{WAITING_BROADCAST_BYTES, WAITING_BROADCASTS};

/// An inbox of no more than [`WAITING_BROADCASTS`] broadcasts and [`WAITING_BROADCAST_BYTES`] bytes, by its two ends.
pub(crate) fn inbox<T>() -> (Sender<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::channel(WAITING_BROADCASTS);
    let (waiting, passed_over) = (Arc::<AtomicUsize>::default(), Arc::default());
    (Sender { sender, waiting: Arc::clone(&waiting), passed_over }, Inbox { receiver, waiting })
}

/// Where broadcasts are put.
#[derive(Debug)]
pub(crate) struct Sender<T> {
    sender: mpsc::Sender<(T, usize)>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
    /// How many broadcasts there was no room for.
    passed_over: Arc<AtomicU64>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let Self { sender, waiting, passed_over } = self;
        let (waiting, passed_over) = (Arc::clone(waiting), Arc::clone(passed_over));
        Self { sender: sender.clone(), waiting, passed_over }
    }
}

impl<T> Sender<T> {
    /// Puts a broadcast of this size in. What there is no room for is passed over with a line in the log that names `what`,
    /// and counts it.
    pub(crate) fn put(&self, size: usize, what: &str, broadcast: impl FnOnce() -> T) {
        let room = self.sender.try_reserve();
        let before = self.waiting.fetch_add(size, Ordering::Relaxed);
        let fits = before == 0 || before.saturating_add(size) <= WAITING_BROADCAST_BYTES;
        match room {
            Ok(room) if fits => return room.send((broadcast(), size)),
            Err(mpsc::error::TrySendError::Closed(())) => return,
            Ok(_) | Err(mpsc::error::TrySendError::Full(())) => {}
        }
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        let passed_over = self.passed_over.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(
            what,
            size,
            waiting = before,
            passed_over,
            "a broadcast is passed over: too many wait, or too large ones"
        );
    }

    /// Whether nobody takes out anything any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

/// Where broadcasts are taken out.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    receiver: mpsc::Receiver<(T, usize)>,
    waiting: Arc<AtomicUsize>,
}

impl<T> Inbox<T> {
    /// Waits for the next; nothing once nobody can put anything in. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<T> {
        let (broadcast, size) = self.receiver.recv().await?;
        self.waiting.fetch_sub(size, Ordering::Relaxed);
        Some(broadcast)
    }

    /// Lets nothing more in.
    pub(crate) fn close(&mut self) {
        self.receiver.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test]
    async fn there_is_room_for_so_many_bytes() {
        let (sender, mut inbox) = inbox();
        let put = |name: u8, size| sender.put(size, "test", || name);
        // However large: else it could never be heard.
        put(1, 40 * MIB);
        put(2, 1);
        assert_eq!(inbox.next().await, Some(1));
        put(3, 20 * MIB);
        put(4, 13 * MIB);
        put(5, 12 * MIB);
        assert_eq!((inbox.next().await, inbox.next().await), (Some(3), Some(5)));
        assert_eq!(
            (sender.passed_over.load(Ordering::Relaxed), sender.waiting.load(Ordering::Relaxed)),
            (2, 0)
        );
        drop(sender);
        assert_eq!(inbox.next().await, None);
    }

    #[tokio::test]
    async fn there_is_room_for_so_many() {
        let (sender, mut inbox) = inbox();
        (0..=WAITING_BROADCASTS).for_each(|number| sender.put(1, "test", || number));
        assert_eq!(sender.waiting.load(Ordering::Relaxed), WAITING_BROADCASTS);
        assert_eq!(inbox.next().await, Some(0));
        drop(inbox);
        sender.put(1, "test", || 0);
        assert!(sender.is_closed());
        assert_eq!(sender.passed_over.load(Ordering::Relaxed), 1, "nobody was there to hear the last");
    }
}
