//! What waits to be told to the application: so much and no more.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::telling::{Telling, Told, What};

/// The most tellings that wait.
const MOST: usize = 1000;

/// The most bytes of messages that wait with them, unless it is one message.
const MOST_BYTES: usize = 64 << 20;

/// A telling, and who waits until it has been told.
pub(super) type Waiting = (Telling, oneshot::Sender<Told>);

/// How much waits, for those who want to add to it.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// How many tellings, and how many bytes.
    waiting: Mutex<(usize, usize)>,
    dropped: AtomicU64,
}

impl Load {
    /// Whether this one may wait too. If not, it is never told: the application is slower than what happens.
    pub(super) fn admits(&self, telling: &Telling) -> bool {
        let size = size(telling);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, bytes) = *waiting;
        if count >= MOST || (count > 0 && bytes + size > MOST_BYTES) {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            if dropped.is_power_of_two() {
                tracing::warn!(
                    waiting = count,
                    dropped,
                    "the application is slow to hear of its tasks in the template: it misses some of what happens"
                );
            }
            return false;
        }
        *waiting = (count + 1, bytes + size);
        true
    }

    /// This one has been told.
    pub(super) fn release(&self, telling: &Telling) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = (waiting.0.saturating_sub(1), waiting.1.saturating_sub(size(telling)));
    }
}

/// The bytes that wait with a telling.
fn size(telling: &Telling) -> usize {
    telling.delivery.message.body.len()
}

/// The order in which things are told: questions first, because a task waits for the answer.
#[derive(Default)]
pub(super) struct Backlog(VecDeque<Waiting>);

impl Backlog {
    pub(super) fn add(&mut self, waiting: Waiting) {
        if waiting.0.what == What::Stored {
            self.0.push_front(waiting);
        } else {
            self.0.push_back(waiting);
        }
    }

    pub(super) fn next(&mut self) -> Option<Waiting> {
        self.0.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::testing::delivery;

    fn telling(what: What, size: usize) -> Telling {
        let mut delivery = delivery(1);
        delivery.message.body = vec![0; size].into();
        Telling { id: None, task: None, delivery: Arc::new(delivery), what }
    }

    #[test]
    fn no_more_waits_than_there_is_room_for() {
        let load = Load::default();
        let small = telling(What::Received, 1);
        assert!((0..MOST).all(|_| load.admits(&small)));
        assert!(!load.admits(&small));
        load.release(&small);
        assert!(load.admits(&small));
    }

    #[test]
    fn large_messages_count_by_their_size_and_one_alone_always_fits() {
        let load = Load::default();
        let large = telling(What::Received, MOST_BYTES + 1);
        assert!(load.admits(&large));
        assert!(!load.admits(&telling(What::Received, 1)));
        load.release(&large);
        assert!(load.admits(&telling(What::Received, 1)));
    }

    #[test]
    fn a_question_is_asked_before_what_need_only_be_told() {
        let mut backlog = Backlog::default();
        for what in [What::Received, What::Stored, What::Received] {
            backlog.add((telling(what, 0), oneshot::channel().0));
        }
        let order: Vec<What> =
            std::iter::from_fn(|| backlog.next()).map(|(telling, _)| telling.what).collect();
        assert_eq!(order, [What::Stored, What::Received, What::Received]);
    }
}
