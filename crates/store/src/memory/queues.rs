//! Where every message is: waiting, scheduled, or lent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use celeriac_protocol::body::has_embed;
use celeriac_protocol::{Message, QueueName, TaskId, Timestamp};

use crate::{DeliveryTag, Location, Publish, QueueStats, Scheduled};

/// All messages of one store.
#[derive(Debug, Default)]
pub(super) struct Queues {
    waiting: BTreeMap<QueueName, BTreeMap<Place, Stored>>,
    /// By due time, then in the order of publishing.
    scheduled: BTreeMap<(Timestamp, u64), (QueueName, Stored)>,
    consumers: HashMap<u64, ConsumerRow>,
    last_number: u64,
}

/// A message, where it is, and how many are before it in its queue.
pub(super) type Spotted<'a> = (Location, Option<u64>, &'a Stored);

/// A place in a queue: the smallest is delivered first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Not in a hurry: `false` is before everything else.
    is_patient: bool,
    below_highest_priority: u8,
    number: u64,
}

/// One message as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) content: Content,
    /// How many deliveries count.
    pub(super) deliveries: u32,
}

/// What was published.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Message(Box<Message>),
    Undecodable(Vec<u8>),
}

/// A message in the hands of a consumer.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) queue: QueueName,
    pub(super) stored: Stored,
    place: Place,
    until: Timestamp,
    /// Whether its task was said to be about to run.
    started: bool,
}

/// What the store knows of a consumer between its start and its end.
#[derive(Clone, Debug)]
pub(super) struct ConsumerTerms {
    pub(super) number: u64,
    pub(super) queues: Vec<QueueName>,
    pub(super) prefetch: usize,
    pub(super) lease: Duration,
    pub(super) worker: String,
}

#[derive(Debug)]
struct ConsumerRow {
    worker: String,
    queues: Vec<QueueName>,
    alive_until: Timestamp,
    lent: BTreeMap<DeliveryTag, Lent>,
}

impl Stored {
    fn new(content: Content) -> Self {
        Self { content, deliveries: 0 }
    }

    fn is_of(&self, ids: &HashSet<&TaskId>) -> bool {
        match &self.content {
            Content::Message(message) => message.headers.id.as_ref().is_some_and(|id| ids.contains(id)),
            Content::Undecodable(_) => false,
        }
    }

    /// Whether others wait for its task.
    fn is_awaited(&self) -> bool {
        matches!(&self.content, Content::Message(message) if has_embed(message))
    }

    fn priority(&self) -> u8 {
        match &self.content {
            Content::Message(message) => message.properties.priority.unwrap_or(0).min(9),
            Content::Undecodable(_) => 0,
        }
    }
}

impl Queues {
    /// A number that no consumer, delivery or place had before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn create(&mut self, queue: &QueueName) {
        if !self.waiting.contains_key(queue) {
            self.waiting.insert(queue.clone(), BTreeMap::new());
        }
    }

    pub(super) fn publish(&mut self, publish: Publish, now: Timestamp) {
        let Publish { route, message, due } = publish;
        let stored = Stored::new(Content::Message(Box::new(message)));
        match due.filter(|due| *due > now) {
            None => self.append(route.queue(), stored),
            Some(due) => {
                self.create(route.queue());
                let number = self.next_number();
                self.scheduled.insert((due, number), (route.queue().clone(), stored));
            }
        }
    }

    pub(super) fn publish_undecodable(&mut self, queue: &QueueName, bytes: Vec<u8>) {
        self.append(queue, Stored::new(Content::Undecodable(bytes)));
    }

    fn append(&mut self, queue: &QueueName, stored: Stored) {
        let place = self.next_place(&stored, true);
        self.put(queue, place, stored);
    }

    fn next_place(&mut self, stored: &Stored, is_patient: bool) -> Place {
        Place { is_patient, below_highest_priority: 9 - stored.priority(), number: self.next_number() }
    }

    fn put(&mut self, queue: &QueueName, place: Place, stored: Stored) {
        self.create(queue);
        if let Some(waiting) = self.waiting.get_mut(queue) {
            waiting.insert(place, stored);
        }
    }

    /// Does what time brings: due messages become ready, deliveries whose lease ran out go back.
    /// Says whether anything moved.
    pub(super) fn pass_time(&mut self, now: Timestamp) -> bool {
        let mut moved = false;
        while let Some(first) = self.scheduled.first_entry()
            && first.key().0 <= now
        {
            let (queue, stored) = first.remove();
            self.append(&queue, stored);
            moved = true;
        }
        let mut back = Vec::new();
        self.consumers.retain(|_, consumer| {
            back.extend(consumer.lent.extract_if(.., |_, lent| lent.until <= now).map(|(_, lent)| lent));
            // No lease of a delivery outlasts its consumer's.
            consumer.alive_until > now
        });
        moved |= !back.is_empty();
        for lent in back {
            let counts = lent.started || lent.stored.deliveries == 1;
            self.give_back(lent, counts);
        }
        moved
    }

    /// When [`Queues::pass_time`] will next have something to do.
    pub(super) fn next_event(&self) -> Option<Timestamp> {
        let leases =
            self.consumers.values().flat_map(|consumer| consumer.lent.values()).map(|lent| lent.until);
        self.next_due().into_iter().chain(leases).min()
    }

    /// Says that a consumer is there, and how many more deliveries it may have.
    pub(super) fn attend(&mut self, terms: &ConsumerTerms, now: Timestamp) -> usize {
        let alive_until = now.saturating_add(terms.lease);
        let consumer = self.consumers.entry(terms.number).or_insert_with(|| ConsumerRow {
            worker: terms.worker.clone(),
            queues: terms.queues.clone(),
            alive_until,
            lent: BTreeMap::new(),
        });
        consumer.alive_until = alive_until;
        terms.prefetch.saturating_sub(consumer.lent.len())
    }

    /// This consumer takes from these queues from now on.
    pub(super) fn move_consumer(&mut self, number: u64, queues: &[QueueName]) {
        if let Some(consumer) = self.consumers.get_mut(&number) {
            consumer.queues = queues.to_vec();
        }
    }

    /// Takes the next message out of these queues, with its place.
    pub(super) fn pop(&mut self, queues: &[QueueName]) -> Option<(QueueName, Place, Stored)> {
        let first =
            |queue: &&QueueName| self.waiting.get(*queue).and_then(|waiting| waiting.keys().next()).copied();
        let queue = queues.iter().filter(|queue| first(queue).is_some()).min_by_key(first)?;
        let (place, stored) = self.waiting.get_mut(queue)?.pop_first()?;
        Some((queue.clone(), place, stored))
    }

    /// Records a message as lent to a consumer that [attends](Self::attend); its delivery count rises.
    pub(super) fn lend(
        &mut self,
        terms: &ConsumerTerms,
        (queue, place, mut stored): (QueueName, Place, Stored),
        now: Timestamp,
    ) -> DeliveryTag {
        stored.deliveries += 1;
        let tag = DeliveryTag(self.next_number());
        let until = now.saturating_add(terms.lease);
        if let Some(consumer) = self.consumers.get_mut(&terms.number) {
            consumer.lent.insert(tag, Lent { queue, stored, place, until, started: false });
        }
        tag
    }

    /// Notes that these tasks are about to run, as far as this consumer has them.
    pub(super) fn start(&mut self, consumer: u64, tags: &[DeliveryTag]) {
        let Some(consumer) = self.consumers.get_mut(&consumer) else { return };
        for tag in tags {
            if let Some(lent) = consumer.lent.get_mut(tag) {
                lent.started = true;
            }
        }
    }

    /// Whether this consumer has this delivery.
    pub(super) fn is_ours(&self, consumer: u64, tag: DeliveryTag) -> bool {
        self.consumers.get(&consumer).is_some_and(|consumer| consumer.lent.contains_key(&tag))
    }

    /// Ends the lease of one delivery, if this consumer has it.
    pub(super) fn end_lease(&mut self, consumer: u64, tag: DeliveryTag) -> Option<Lent> {
        self.consumers.get_mut(&consumer)?.lent.remove(&tag)
    }

    /// Puts a message back to its place; the delivery counts, or else is forgotten.
    pub(super) fn give_back(&mut self, mut lent: Lent, counts: bool) {
        if !counts {
            lent.stored.deliveries -= 1;
        }
        self.put(&lent.queue, lent.place, lent.stored);
    }

    pub(super) fn renew(&mut self, terms: &ConsumerTerms, now: Timestamp) {
        self.attend(terms, now);
        let Some(consumer) = self.consumers.get_mut(&terms.number) else { return };
        for lent in consumer.lent.values_mut() {
            lent.until = consumer.alive_until;
        }
    }

    /// Ends a consumer; what it had goes back uncounted.
    pub(super) fn leave(&mut self, consumer: u64) {
        let Some(row) = self.consumers.remove(&consumer) else { return };
        for lent in row.lent.into_values() {
            self.give_back(lent, false);
        }
    }

    pub(super) fn purge(&mut self, queue: &QueueName) -> u64 {
        let waiting = self.waiting.get_mut(queue).map_or(0, |waiting| std::mem::take(waiting).len());
        let scheduled = self.scheduled.extract_if(.., |_, (of, _)| of == queue).count();
        (waiting + scheduled) as u64
    }

    /// Removes the scheduled messages of these tasks and says of which tasks there were any, once for each message.
    pub(super) fn cancel(&mut self, ids: &HashSet<&TaskId>) -> Vec<TaskId> {
        self.scheduled
            .extract_if(.., |_, (_, stored)| stored.is_of(ids))
            .filter_map(|(_, (_, stored))| id_of(stored))
            .collect()
    }

    /// As [`Queues::cancel`], for those that wait, except where others wait for them.
    pub(super) fn remove_waiting(&mut self, ids: &HashSet<&TaskId>) -> Vec<TaskId> {
        let is_meant = |stored: &Stored| stored.is_of(ids) && !stored.is_awaited();
        let removed =
            self.waiting.values_mut().flat_map(|queue| queue.extract_if(.., |_, stored| is_meant(stored)));
        removed.filter_map(|(_, stored)| id_of(stored)).collect()
    }

    /// Takes the messages of these tasks for which others wait to the heads of their queues, also out of the schedule.
    pub(super) fn hurry(&mut self, ids: &HashSet<&TaskId>) {
        let is_meant = |stored: &Stored| stored.is_of(ids) && stored.is_awaited();
        let mut moved: Vec<(QueueName, Stored)> = self
            .scheduled
            .extract_if(.., |_, (_, stored)| is_meant(stored))
            .map(|(_, moved)| moved)
            .collect();
        for (queue, waiting) in &mut self.waiting {
            let found = waiting.extract_if(.., |place, stored| place.is_patient && is_meant(stored));
            moved.extend(found.map(|(_, stored)| (queue.clone(), stored)));
        }
        for (queue, stored) in moved {
            let place = self.next_place(&stored, false);
            self.put(&queue, place, stored);
        }
    }

    /// All messages with their places, those that are nearest to their end first.
    pub(super) fn places(&self) -> impl Iterator<Item = Spotted<'_>> {
        let lent = self.consumers.values().flat_map(|consumer| {
            consumer.lent.values().map(|lent| {
                let place = Location::Lent { queue: lent.queue.clone(), worker: consumer.worker.clone() };
                (place, None, &lent.stored)
            })
        });
        let ready = self.waiting.iter().flat_map(|(queue, waiting)| {
            let numbered = waiting.values().zip(0..);
            numbered.map(|(stored, ahead)| (Location::Ready { queue: queue.clone() }, Some(ahead), stored))
        });
        let scheduled = self.scheduled.iter().map(|((due, _), (queue, stored))| {
            (Location::Scheduled { queue: queue.clone(), due: *due }, None, stored)
        });
        lent.chain(ready).chain(scheduled)
    }

    /// Whether a message of this task is lent or in a queue.
    pub(super) fn is_there(&self, id: &TaskId) -> bool {
        let ids = HashSet::from([id]);
        let lent = self.consumers.values().flat_map(|consumer| consumer.lent.values());
        let waiting = self.waiting.values().flat_map(BTreeMap::values);
        waiting.chain(lent.map(|lent| &lent.stored)).any(|stored| stored.is_of(&ids))
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.scheduled.keys().next().map(|(due, _)| *due)
    }

    pub(super) fn scheduled(&self) -> impl Iterator<Item = Scheduled> {
        self.scheduled.iter().filter_map(|((due, _), (queue, stored))| match &stored.content {
            Content::Message(message) => {
                Some(Scheduled { due: *due, queue: queue.clone(), message: Message::clone(message) })
            }
            Content::Undecodable(_) => None,
        })
    }

    pub(super) fn names(&self) -> Vec<QueueName> {
        self.waiting.keys().cloned().collect()
    }

    pub(super) fn stats(&self, queue: &QueueName) -> QueueStats {
        let of_queue = |(of, _): &&(QueueName, Stored)| of == queue;
        let lent = self.consumers.values().flat_map(|consumer| consumer.lent.values());
        let consumers = self.consumers.values().filter(|consumer| consumer.queues.contains(queue));
        QueueStats {
            queue: queue.clone(),
            ready: self.waiting.get(queue).map_or(0, BTreeMap::len) as u64,
            scheduled: Some(self.scheduled.values().filter(of_queue).count() as u64),
            lent: Some(lent.filter(|lent| lent.queue == *queue).count() as u64),
            consumers: consumers.count() as u64,
        }
    }
}

fn id_of(stored: Stored) -> Option<TaskId> {
    match stored.content {
        Content::Message(message) => message.headers.id,
        Content::Undecodable(_) => None,
    }
}
