//! Brings deliveries to the loop, with what the store knows of them.

use std::time::Duration;

use celeriac_protocol::TaskId;
use celeriac_store::{Consumer, Delivery, Error, Result, Store};
use tokio::sync::mpsc;

use crate::consumer::Input;

/// One delivery, with what the store knows of its task.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The delivery.
    pub delivery: Delivery,
    /// Whether its task has been revoked.
    pub revoked: bool,
}

/// Fetches as much as the loop asks for, once for each time it asks.
///
/// It is a task of its own so that a fetch is never given up while something arrives: what comes
/// after the loop has stopped asking still reaches it, to be given back.
pub(crate) struct Fetcher {
    pub(crate) consumer: Box<dyn Consumer>,
    pub(crate) store: Store,
    pub(crate) limits: mpsc::Receiver<usize>,
    pub(crate) arrivals: mpsc::UnboundedSender<Input>,
}

/// How long to wait before a failing store is asked again: doubling from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

impl Fetcher {
    /// Fetches until the loop has dropped its end, or the consumer is closed.
    pub(crate) async fn run(mut self) {
        while let Some(limit) = self.limits.recv().await {
            let Some(deliveries) = self.fetch(limit).await else { return };
            let deliveries = deliveries.into_iter().map(in_protocol_2).collect();
            let arrivals = look_up(&self.store, deliveries).await;
            if self.arrivals.send(Input::Fetched(arrivals)).is_err() {
                return;
            }
        }
    }

    /// Fetches, however long it takes; `None` once the consumer is closed. Failing to fetch is never fatal.
    async fn fetch(&mut self, limit: usize) -> Option<Vec<Delivery>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.consumer.fetch(limit).await {
                Ok(deliveries) => return Some(deliveries),
                Err(Error::Closed) => return None,
                Err(error) => {
                    tracing::error!(%error, again_in = ?pause, "nothing could be fetched");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
            }
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
async fn look_up(store: &Store, deliveries: Vec<Delivery>) -> Vec<Arrival> {
    let unchecked: Vec<TaskId> =
        deliveries.iter().filter(|delivery| delivery.revoked.is_none()).filter_map(id).collect();
    let revoked = match unchecked.is_empty() {
        true => Vec::new(),
        false => patiently(|| store.revocations().revoked(&unchecked)).await,
    };
    let arrival = |delivery: Delivery| {
        let task_id = id(&delivery);
        let is_revoked = || task_id.as_ref().is_some_and(|id| revoked.contains(id));
        Arrival { revoked: delivery.revoked.unwrap_or_else(is_revoked), delivery }
    };
    deliveries.into_iter().map(arrival).collect()
}

fn id(delivery: &Delivery) -> Option<TaskId> {
    delivery.message.headers.id.clone()
}

/// Asks until the store answers.
async fn patiently<T, F: Future<Output = Result<T>>>(mut ask: impl FnMut() -> F) -> T {
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::error!(%error, again_in = ?pause, "the store does not say what it knows of tasks");
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}
