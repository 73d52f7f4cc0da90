//! Brings deliveries to the loop, with what the store knows of them.

use celeriac_protocol::{QueueName, TaskId};
use celeriac_store::{Consumer, Delivery, Error, Store};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::consumer::Input;
use crate::monitoring::{Signs, Vitals};
use crate::stamps::Stamp;
use crate::trouble::Trouble;

/// One delivery, with what the store knows of its task.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The delivery.
    pub delivery: Delivery,
    /// Whether its task has been revoked.
    pub revoked: bool,
    /// The stamp by which it has, if it was not by its id.
    pub stamp: Option<Stamp>,
}

/// Fetches as much as the loop asks for, once for each time it asks.
///
/// It is a task of its own so that a fetch is never given up while something arrives: what comes
/// after the loop has stopped asking still reaches it, to be given back.
pub(crate) struct Fetcher {
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) store: Store,
    pub(crate) limits: mpsc::Receiver<usize>,
    /// The queues to take from, where somebody has changed them.
    pub(crate) queues: mpsc::UnboundedReceiver<Vec<QueueName>>,
    pub(crate) arrivals: mpsc::UnboundedSender<Input>,
    pub(crate) trouble: Trouble,
    /// What probes are answered from, if there are any.
    pub(crate) signs: Option<Signs>,
}

impl Fetcher {
    /// Fetches until the loop has dropped its end, or the consumer is closed.
    pub(crate) async fn run(mut self) {
        loop {
            let limit = tokio::select! {
                biased;
                Some(queues) = self.queues.recv() => {
                    self.take_from(queues).await;
                    continue;
                }
                limit = self.limits.recv() => limit,
            };
            let Some(limit) = limit else { return };
            let Some(deliveries) = self.fetch(limit).await else { return };
            let deliveries = deliveries.into_iter().map(in_protocol_2).collect();
            let arrivals = look_up(&self.store, &self.trouble, deliveries).await;
            if self.arrivals.send(Input::Fetched(arrivals)).is_err() {
                return;
            }
        }
    }

    /// Fetches, however long it takes; `None` once the consumer is closed. Failing to fetch is never fatal.
    async fn fetch(&mut self, limit: usize) -> Option<Vec<Delivery>> {
        let mut asker = self.trouble.asker("nothing could be fetched");
        loop {
            self.note(Vitals::fetch_begins);
            let fetched = tokio::select! {
                biased;
                Some(queues) = self.queues.recv() => {
                    self.take_from(queues).await;
                    continue;
                }
                fetched = self.consumer.fetch(limit) => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    asker.worked();
                    self.note(Vitals::fetched);
                    return Some(deliveries);
                }
                Err(Error::Closed) => return None,
                Err(error) => {
                    self.note(Vitals::fetch_failed);
                    asker.pause(&error).await;
                }
            }
        }
    }

    /// Takes from these queues from now on, or from those that it was told after that.
    async fn take_from(&mut self, mut queues: Vec<QueueName>) {
        let mut asker = self.trouble.asker("the queues cannot be consumed");
        loop {
            while let Ok(newer) = self.queues.try_recv() {
                queues = newer;
            }
            match self.consumer.consume_from(queues.clone()).await {
                Ok(()) => return asker.worked(),
                // The next fetch finds that too.
                Err(Error::Closed) => return,
                Err(error) => asker.pause(&error).await,
            }
        }
    }

    fn note(&self, step: impl FnOnce(&mut Vitals, Instant)) {
        if let Some(signs) = &self.signs {
            step(&mut signs.vitals(), Instant::now());
        }
    }
}

/// The delivery with its call in task protocol 2, if it came in protocol 1. What is neither stays as it is, to be refused.
fn in_protocol_2(delivery: Delivery) -> Delivery {
    if delivery.message.is_protocol_2() {
        return delivery;
    }
    match delivery.message.clone().into_protocol_2() {
        // A store finds revocations by a header that this message had not.
        Ok(message) => Delivery { message, revoked: None, ..delivery },
        Err(_) => delivery,
    }
}

/// What the store knows of the tasks of these deliveries.
async fn look_up(store: &Store, trouble: &Trouble, deliveries: Vec<Delivery>) -> Vec<Arrival> {
    let unchecked = deliveries.iter().filter(|delivery| delivery.revoked.is_none()).filter_map(id);
    // The store marks what was revoked by its id. Few messages are stamped.
    let stamps: Vec<Vec<Stamp>> =
        deliveries.iter().map(|delivery| Stamp::of(&delivery.message.headers)).collect();
    let unchecked: Vec<TaskId> = unchecked.chain(stamps.iter().flatten().map(Stamp::id)).collect();
    let revoked = match unchecked.is_empty() {
        true => Vec::new(),
        false => ask_what_is_revoked(store, trouble, &unchecked).await,
    };
    let arrival = |(delivery, stamps): (Delivery, Vec<Stamp>)| {
        let task_id = id(&delivery);
        let is_revoked = || task_id.as_ref().is_some_and(|id| revoked.contains(id));
        let by_id = delivery.revoked.unwrap_or_else(is_revoked);
        let stamp = stamps.into_iter().find(|stamp| !by_id && revoked.contains(&stamp.id()));
        Arrival { revoked: by_id, stamp, delivery }
    };
    deliveries.into_iter().zip(stamps).map(arrival).collect()
}

/// Asks until the store answers.
async fn ask_what_is_revoked(store: &Store, trouble: &Trouble, ids: &[TaskId]) -> Vec<TaskId> {
    let mut asker = trouble.asker("the store does not say which tasks are revoked");
    loop {
        match store.revocations().revoked(ids).await {
            Ok(revoked) => {
                asker.worked();
                return revoked;
            }
            Err(error) => asker.pause(&error).await,
        }
    }
}

fn id(delivery: &Delivery) -> Option<TaskId> {
    delivery.message.headers.id.clone()
}
