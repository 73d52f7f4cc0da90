//! The requests that a worker holds, and which of them a new delivery repeats.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::{TaskId, Timestamp};
use celeriac_store::{Delivery, DeliveryTag};
use tokio::time::Instant;

use crate::pool::PoolKind;
use crate::request::{IllegalStep, Request, RequestState, Step};
use crate::signum::Signum;
use crate::stamps::Stamp;
use crate::telling::Telling;
use crate::timers::TimerId;

/// Names one run of one call: a retry, and what a task has put in its place, have the same id and are other runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    id: TaskId,
    retries: u32,
    replaced: i64,
}

impl Key {
    /// The key of this request.
    pub(crate) fn of(request: &Request) -> Self {
        let replaced = request.delivery.message.headers.replaced_task_nesting;
        Self { id: request.id.clone(), retries: request.retries(), replaced }
    }

    /// The key of the request that this delivery would become.
    pub(crate) fn for_delivery(delivery: &Delivery) -> Option<Self> {
        let headers = &delivery.message.headers;
        let replaced = headers.replaced_task_nesting;
        Some(Self { id: headers.id.clone()?, retries: headers.retries, replaced })
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
    /// Whether its early acknowledgement is due and not on its way yet.
    pub owes_ack: bool,
    /// Since when it runs, and where.
    pub started: Option<Started>,
    /// How long it ran, once it has ended by itself.
    pub runtime: Duration,
    /// The signal by which its process is told to end, should that be.
    pub signal: Signum,
    /// The delivery to settle; a redelivery of what still runs takes the place of the one before.
    pub tag: DeliveryTag,
    /// What the code of its application is told once its outcome is durable.
    pub telling: Option<Telling>,
    /// Other messages of this run, and redeliveries that came while an answer of the store was awaited, on which depends what
    /// becomes of them.
    pub parked: Vec<Delivery>,
}

/// Since when a request runs, and where.
#[derive(Debug)]
pub(crate) struct Started {
    /// When it started.
    pub at: Instant,
    /// The same moment, for people.
    pub since: Timestamp,
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
            owes_ack: false,
            started: None,
            runtime: Duration::ZERO,
            signal: Signum::TERM,
            tag,
            telling: None,
            parked: Vec::new(),
        }
    }

    /// Whether it is delivered again, so that it is said to start before it does: its lease may have run out here.
    pub(crate) fn is_redelivered(&self) -> bool {
        self.request.delivery.deliveries > 1 || self.tag != self.request.delivery.tag
    }

    /// Whether it runs, as far as people are concerned; a child of an application may have it and not have begun.
    pub(crate) fn is_running(&self) -> bool {
        match self.state {
            RequestState::Running => true,
            RequestState::Submitted => self.pool != PoolKind::Python,
            _ => false,
        }
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
        /// The delivery that it would have settled, unless that was acknowledged before it ran.
        before: Option<DeliveryTag>,
        /// Whether it runs already.
        runs: bool,
    },
    /// One for whose end, or whose answer of the store, the delivery waits now.
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

    /// The entry of this key.
    pub(crate) fn get(&self, key: &Key) -> Option<&Entry> {
        self.entries.get(key)
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

    /// All requests whose messages bear this stamp.
    pub(crate) fn stamped(&self, stamp: &Stamp) -> Vec<Key> {
        let bears = |entry: &Entry| stamp.is_on(&entry.request.delivery.message.headers);
        self.entries.iter().filter(|(_, entry)| bears(entry)).map(|(key, _)| key.clone()).collect()
    }

    /// Finds the request that this delivery repeats, and makes that one responsible for it.
    ///
    /// Deliveries repeat when a lease ran out (the machine was asleep, the store away) and the message came back to us. What is
    /// delivered for the first time repeats nothing: somebody, maybe the task itself, has sent the call again. It waits its turn.
    pub(crate) fn adopt(&mut self, key: &Key, delivery: &Delivery) -> Repeats {
        let Some(entry) = self.entries.get_mut(key) else { return Repeats::Nothing };
        let is_open = matches!(entry.state, RequestState::Preparing | RequestState::Finishing);
        if is_open || !delivery.redelivered {
            entry.parked.push(delivery.clone());
            return Repeats::Awaiting;
        }
        let before = std::mem::replace(&mut entry.tag, delivery.tag);
        let before = (entry.acknowledged != Some(before)).then_some(before);
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

    fn redelivery(tag: u64) -> Delivery {
        Delivery { redelivered: true, ..delivery(tag) }
    }

    #[test]
    fn what_waits_or_runs_takes_its_redelivery_over() {
        for state in [RequestState::Reserved, RequestState::Submitted, RequestState::Running] {
            let (mut table, key) = table(state);
            let runs = state != RequestState::Reserved;
            assert_eq!(
                table.adopt(&key, &redelivery(2)),
                Repeats::Held { before: Some(DeliveryTag(1)), runs }
            );
            assert_eq!(table.get_mut(&key).unwrap().tag, DeliveryTag(2), "{state:?}");
        }
    }

    #[test]
    fn a_redelivery_waits_for_the_answer_that_decides_on_it() {
        for state in [RequestState::Preparing, RequestState::Finishing] {
            let (mut table, key) = table(state);
            assert_eq!(table.adopt(&key, &redelivery(2)), Repeats::Awaiting);
            assert_eq!(table.get_mut(&key).unwrap().tag, DeliveryTag(1), "{state:?}");
        }
    }

    #[test]
    fn what_was_acknowledged_before_it_ran_is_not_settled_again() {
        let (mut table, key) = table(RequestState::Running);
        table.get_mut(&key).unwrap().acknowledged = Some(DeliveryTag(1));
        assert_eq!(table.adopt(&key, &redelivery(2)), Repeats::Held { before: None, runs: true });
    }

    #[test]
    fn a_call_that_is_sent_again_while_it_runs_waits_for_its_end() {
        let (mut table, key) = table(RequestState::Running);
        assert_eq!(table.adopt(&key, &delivery(2)), Repeats::Awaiting);
        let entry = table.get_mut(&key).unwrap();
        assert_eq!((entry.tag, entry.parked.len()), (DeliveryTag(1), 1));
    }

    #[test]
    fn a_retry_and_what_takes_the_place_of_a_task_repeat_nothing() {
        let (mut table, _) = table(RequestState::Finishing);
        let (mut retry, mut replacement) = (redelivery(2), redelivery(3));
        retry.message.headers.retries = 1;
        replacement.message.headers.replaced_task_nesting = 1;
        for other in [retry, replacement] {
            let key = Key::for_delivery(&other).unwrap();
            assert_eq!(table.adopt(&key, &other), Repeats::Nothing);
        }
    }
}
