//! The requests that a worker holds, and which of them a new delivery repeats.

use std::collections::HashMap;
use std::sync::Arc;

use celeriac_protocol::TaskId;
use celeriac_store::{Delivery, DeliveryTag};
use tokio::time::Instant;

use crate::pool::PoolKind;
use crate::request::{IllegalStep, Request, RequestState, Step};
use crate::timers::TimerId;

/// Names one run of one call: a retry has the same id and is another run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    id: TaskId,
    retries: u32,
}

impl Key {
    /// The key of this request.
    pub(crate) fn of(request: &Request) -> Self {
        Self { id: request.id.clone(), retries: request.retries() }
    }

    /// The key of the request that this delivery would become.
    pub(crate) fn for_delivery(delivery: &Delivery) -> Option<Self> {
        let headers = &delivery.message.headers;
        Some(Self { id: headers.id.clone()?, retries: headers.retries })
    }

    /// The call.
    pub(crate) fn id(&self) -> &TaskId {
        &self.id
    }
}

/// One request that the worker holds.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The request.
    pub request: Arc<Request>,
    /// The pool it is for.
    pub pool: PoolKind,
    /// Where it is.
    pub state: RequestState,
    /// Its deadlines.
    pub timers: Vec<TimerId>,
    /// The delivery whose early acknowledgement is on its way or done: then it cannot be given back.
    pub acknowledged: Option<DeliveryTag>,
    /// Since when it runs, and where.
    pub started: Option<Started>,
    /// The delivery to settle; a redelivery of what still runs takes the place of the one before.
    pub tag: DeliveryTag,
    /// Redeliveries that came while an answer of the store was awaited; what becomes of them depends on it.
    pub parked: Vec<Delivery>,
}

/// Since when a request runs, and where.
#[derive(Debug)]
pub(crate) struct Started {
    /// When it started.
    pub at: Instant,
    /// The process or thread that runs it, as people read it; none on the async pool.
    pub executor: Option<Box<str>>,
}

impl Entry {
    /// A request that waits for a slot.
    pub(crate) fn reserved(request: Arc<Request>, pool: PoolKind) -> Self {
        let tag = request.delivery.tag;
        Self {
            request,
            pool,
            state: RequestState::Reserved,
            timers: Vec::new(),
            acknowledged: None,
            started: None,
            tag,
            parked: Vec::new(),
        }
    }

    /// Whether it is delivered again, so that it is said to start before it does: its lease may have run out here.
    pub(crate) fn is_redelivered(&self) -> bool {
        self.request.delivery.deliveries > 1 || self.tag != self.request.delivery.tag
    }

    /// Takes a step, if its state allows it.
    pub(crate) fn step(&mut self, step: Step) -> Result<(), IllegalStep> {
        self.state = self.state.next(step)?;
        Ok(())
    }
}

/// The requests that a worker holds.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: HashMap<Key, Entry>,
}

/// What a delivery is to the requests that the worker holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// None of them.
    Nothing,
    /// One that waits or runs: that one settles the new delivery when it ends.
    Held {
        /// The delivery that it would have settled.
        before: DeliveryTag,
        /// Whether it runs already.
        runs: bool,
    },
    /// One for which an answer of the store is awaited, as the delivery now does too.
    Awaiting,
}

impl Table {
    /// How many requests there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Adds a request that waits for a slot.
    pub(crate) fn insert(&mut self, key: Key, entry: Entry) {
        self.entries.insert(key, entry);
    }

    /// The request of this key.
    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    /// The entry of exactly this request, not of another run of the same call.
    pub(crate) fn entry_of(&mut self, request: &Arc<Request>) -> Option<&mut Entry> {
        self.entries.get_mut(&Key::of(request)).filter(|entry| Arc::ptr_eq(&entry.request, request))
    }

    /// Forgets a request.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Entry> {
        self.entries.remove(key)
    }

    /// All requests.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> {
        self.entries.iter()
    }

    /// All runs of this call.
    pub(crate) fn runs_of(&self, id: &TaskId) -> Vec<Key> {
        // Revocations are rare, so they may look at every entry; an index by id would cost every task.
        self.entries.keys().filter(|key| key.id == *id).cloned().collect()
    }

    /// Finds the request that this delivery repeats, and makes that one responsible for it.
    ///
    /// Deliveries repeat when a lease ran out (the machine was asleep, the store away) and the message came back to us.
    pub(crate) fn adopt(&mut self, key: &Key, delivery: &Delivery) -> Repeats {
        let Some(entry) = self.entries.get_mut(key) else { return Repeats::Nothing };
        if matches!(entry.state, RequestState::Preparing | RequestState::Finishing) {
            entry.parked.push(delivery.clone());
            return Repeats::Awaiting;
        }
        let before = std::mem::replace(&mut entry.tag, delivery.tag);
        Repeats::Held { before, runs: entry.state != RequestState::Reserved }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{delivery, request};

    fn table(state: RequestState) -> (Table, Key) {
        let request = Arc::new(request(delivery(1)));
        let key = Key::of(&request);
        let mut table = Table::default();
        table.insert(key.clone(), Entry { state, ..Entry::reserved(request, PoolKind::Async) });
        (table, key)
    }

    #[test]
    fn what_waits_or_runs_takes_its_redelivery_over() {
        for state in [RequestState::Reserved, RequestState::Submitted, RequestState::Running] {
            let (mut table, key) = table(state);
            let runs = state != RequestState::Reserved;
            assert_eq!(table.adopt(&key, &delivery(2)), Repeats::Held { before: DeliveryTag(1), runs });
            assert_eq!(table.get_mut(&key).unwrap().tag, DeliveryTag(2), "{state:?}");
        }
    }

    #[test]
    fn a_redelivery_waits_for_the_answer_that_decides_on_it() {
        for state in [RequestState::Preparing, RequestState::Finishing] {
            let (mut table, key) = table(state);
            assert_eq!(table.adopt(&key, &delivery(2)), Repeats::Awaiting);
            assert_eq!(table.get_mut(&key).unwrap().tag, DeliveryTag(1), "{state:?}");
        }
    }

    #[test]
    fn a_retry_repeats_nothing() {
        let (mut table, _) = table(RequestState::Finishing);
        let mut retry = delivery(2);
        retry.message.headers.retries = 1;
        let key = Key::for_delivery(&retry).unwrap();
        assert_eq!(table.adopt(&key, &retry), Repeats::Nothing);
    }
}
