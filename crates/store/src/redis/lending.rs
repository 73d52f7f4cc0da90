//! What one consumer holds, as this process knows it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use celeriac_protocol::TaskId;
use tokio::sync::watch;

use super::lock;
use crate::DeliveryTag;

/// One delivery that is not settled.
#[derive(Clone, Debug)]
pub(super) struct Lent {
    /// The call, if it has an id.
    pub task: Option<TaskId>,
    /// Which of the consumer's lists it came from, counted from 0.
    pub place: usize,
    /// How often it has been delivered.
    pub deliveries: u32,
    /// Whether it may be settled already: the answer to that was not heard.
    pub unheard: bool,
}

/// The deliveries of one consumer.
pub(super) struct Lending {
    lent: Mutex<BTreeMap<DeliveryTag, Lent>>,
    /// Changes when there is room again, and when the consumer is closed.
    state: watch::Sender<Changes>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Changes {
    pub closed: bool,
}

impl Lending {
    pub(super) fn new() -> Self {
        Self { lent: Mutex::default(), state: watch::Sender::new(Changes::default()) }
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.lent).len()
    }

    pub(super) fn add(&self, tag: DeliveryTag, lent: Lent) {
        lock(&self.lent).insert(tag, lent);
    }

    pub(super) fn get(&self, tag: DeliveryTag) -> Option<Lent> {
        lock(&self.lent).get(&tag).cloned()
    }

    /// These may be settled; nobody knows.
    pub(super) fn unheard(&self, tags: impl IntoIterator<Item = DeliveryTag>) {
        let mut lent = lock(&self.lent);
        tags.into_iter().filter_map(|tag| lent.get_mut(&tag).map(|lent| lent.unheard = true)).for_each(drop);
    }

    /// These are settled, or not ours any more.
    pub(super) fn remove(&self, tags: impl IntoIterator<Item = DeliveryTag>) {
        let mut lent = lock(&self.lent);
        tags.into_iter().for_each(|tag| drop(lent.remove(&tag)));
        drop(lent);
        self.state.send_modify(|_| {});
    }

    /// The newest of the deliveries here.
    pub(super) fn newest(&self) -> Option<DeliveryTag> {
        lock(&self.lent).last_key_value().map(|(tag, _)| *tag)
    }

    /// What was taken up to this one is not ours any more. What may be settled stays: the server knows whether it was.
    pub(super) fn forget_until(&self, newest: Option<DeliveryTag>) {
        lock(&self.lent).retain(|tag, lent| Some(*tag) > newest || lent.unheard);
        self.state.send_modify(|_| {});
    }

    fn forget_all(&self) {
        lock(&self.lent).clear();
        self.state.send_modify(|_| {});
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Ends the consumer; says whether it had not ended before.
    pub(super) fn close(&self) -> bool {
        let first = self.state.send_if_modified(|state| !std::mem::replace(&mut state.closed, true));
        if first {
            self.forget_all();
        }
        first
    }

    /// Tells of every change from now on.
    pub(super) fn changes(&self) -> watch::Receiver<Changes> {
        self.state.subscribe()
    }
}
