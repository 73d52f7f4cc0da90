//! What one consumer holds.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_protocol::QueueName;
use rusqlite::params;
use tokio::sync::Notify;

use super::lock;
use super::transaction::Tx;
use super::wake::Topic;

/// A started consumer, shared by the three parts of its subscription.
///
/// The thread that writes changes `held` and takes changes back with their transaction; nobody else does, except to
/// forget a row that is [`lost`](Self::lost).
pub(super) struct Lending {
    pub worker: String,
    pub lease: Duration,
    pub prefetch: usize,
    queues: Mutex<Arc<Queues>>,
    held: Mutex<Held>,
    closed: AtomicBool,
    /// Told when there may be room again, or the lease was lost, or it is closed.
    pub changed: Notify,
}

/// The queues of a consumer.
pub(super) struct Queues {
    /// Those it takes from, in the order they were named.
    pub taken_from: Vec<i64>,
    /// Those that it has ever taken from, by their names.
    pub names: HashMap<i64, QueueName>,
}

impl Queues {
    /// These queues, which are made if there are none of their names.
    pub(super) fn named(tx: &mut Tx<'_>, named: &[QueueName]) -> rusqlite::Result<Self> {
        let (mut taken_from, mut names) = (Vec::new(), HashMap::new());
        for queue in named {
            let id = tx.queue(queue)?;
            if names.insert(id, queue.clone()).is_none() {
                taken_from.push(id);
            }
        }
        Ok(Self { taken_from, names })
    }
}

/// The state of a consumer at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Its row; another one after its lease was lost.
    pub consumer: i64,
    /// Deliveries that are not settled.
    pub unsettled: usize,
}

impl Lending {
    pub(super) fn new(options: crate::ConsumeOptions, queues: Queues, consumer: i64) -> Self {
        Self {
            worker: options.worker,
            lease: options.lease,
            prefetch: options.prefetch.max(1),
            queues: Mutex::new(Arc::new(queues)),
            held: Mutex::new(Held { consumer, unsettled: 0 }),
            closed: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    pub(super) fn queues(&self) -> Arc<Queues> {
        Arc::clone(&lock(&self.queues))
    }

    /// It takes from these from now on.
    pub(super) fn take_from(&self, queues: Queues) {
        let mut current = lock(&self.queues);
        let mut names = current.names.clone();
        names.extend(queues.names);
        *current = Arc::new(Queues { taken_from: queues.taken_from, names });
        drop(current);
        self.changed.notify_one();
    }

    pub(super) fn held(&self) -> Held {
        *lock(&self.held)
    }

    /// For the thread that writes.
    pub(super) fn set_held(&self, held: Held) {
        *lock(&self.held) = held;
    }

    /// Forgets what this row of the consumer held, which is gone; another row is not touched.
    pub(super) fn lost(&self, consumer: i64) {
        let mut held = lock(&self.held);
        if held.consumer == consumer {
            held.unsettled = 0;
        }
    }

    /// How many more deliveries it may take.
    pub(super) fn room(&self) -> usize {
        self.prefetch.saturating_sub(self.held().unsettled)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.changed.notify_one();
    }
}

/// The end of a lease that begins now.
pub(super) fn lease_until(now: i64, lease: Duration) -> i64 {
    now.saturating_add(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX))
}

/// Makes the row of a consumer.
pub(super) fn register(tx: &Tx<'_>, worker: &str, queues: &[i64], lease_until: i64) -> rusqlite::Result<i64> {
    let consumer =
        tx.statement(include_str!("sql/consumer_create.sql"))?.insert(params![worker, lease_until])?;
    note_queues(tx, consumer, queues)?;
    Ok(consumer)
}

fn note_queues(tx: &Tx<'_>, consumer: i64, queues: &[i64]) -> rusqlite::Result<()> {
    for queue in queues {
        tx.execute(include_str!("sql/consumer_queue.sql"), params![consumer, queue])?;
    }
    Ok(())
}

/// Says of a consumer that it takes from these queues, if it is known.
pub(super) fn move_consumer(tx: &Tx<'_>, consumer: i64, queues: &[i64]) -> rusqlite::Result<()> {
    if tx.statement(include_str!("sql/consumer_exists.sql"))?.exists([consumer])? {
        tx.execute(include_str!("sql/consumer_remove_queues.sql"), [consumer])?;
        note_queues(tx, consumer, queues)?;
    }
    Ok(())
}

/// Whether a delivery that goes back to its queue counts; a redelivery that did not start does not if it was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Yes,
    No,
}

impl Counts {
    /// What to subtract from the delivery count.
    pub(super) fn subtract(self) -> i64 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
        }
    }
}

/// Ends a consumer: what it holds goes back to the head of its queues, and nobody can settle that any more.
pub(super) fn remove(tx: &mut Tx<'_>, consumer: i64, counts: Counts) -> rusqlite::Result<usize> {
    let returned =
        tx.execute(include_str!("sql/consumer_give_back.sql"), params![consumer, counts.subtract()])?;
    tx.execute(include_str!("sql/consumer_take_away.sql"), [consumer])?;
    tx.execute(include_str!("sql/consumer_remove.sql"), [consumer])?;
    tx.execute(include_str!("sql/consumer_remove_queues.sql"), [consumer])?;
    if returned > 0 {
        tx.touch(Topic::Ready);
    }
    Ok(returned)
}

/// Ends every other consumer whose lease ran out.
pub(super) fn reap(tx: &mut Tx<'_>, me: i64) -> rusqlite::Result<()> {
    let mut expired = tx.statement(include_str!("sql/consumer_expired.sql"))?;
    let rows = expired.query_map(params![tx.now, me], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let expired: Vec<(i64, String)> = rows.collect::<rusqlite::Result<_>>()?;
    for (consumer, worker) in expired {
        let returned = remove(tx, consumer, Counts::Yes)?;
        tracing::warn!(
            worker,
            returned,
            "the lease of a consumer ran out: its deliveries went back to their queues"
        );
    }
    Ok(())
}
