//! Brings deliveries to the loop, with what the store knows of them.

use std::time::Duration;

use celeriac_protocol::{ResultRecord, State, TaskId, Value};
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
    /// How often its task was started by this message, its first delivery left out; see [`starts`].
    pub starts: u32,
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

/// What the store knows of the tasks of these deliveries.
async fn look_up(store: &Store, deliveries: Vec<Delivery>) -> Vec<Arrival> {
    let unchecked: Vec<TaskId> =
        deliveries.iter().filter(|delivery| delivery.revoked.is_none()).filter_map(id).collect();
    let revoked = match unchecked.is_empty() {
        true => Vec::new(),
        false => patiently(|| store.revocations().revoked(&unchecked)).await,
    };
    let suspects: Vec<TaskId> =
        deliveries.iter().filter(|delivery| delivery.deliveries > 1).filter_map(id).collect();
    let records = match suspects.is_empty() {
        true => Vec::new(),
        false => patiently(|| store.results().get(&suspects)).await,
    };
    let arrival = |delivery: Delivery| {
        let task_id = id(&delivery);
        let is_revoked = || task_id.as_ref().is_some_and(|id| revoked.contains(id));
        let record = records.iter().flatten().find(|record| Some(&record.task_id) == task_id.as_ref());
        Arrival {
            revoked: delivery.revoked.unwrap_or_else(is_revoked),
            starts: record.map_or(0, |record| starts(record, delivery.deliveries)),
            delivery,
        }
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

/// The name under which a `STARTED` record counts the starts of one message after its first delivery.
pub(crate) const STARTS: &str = "starts";

/// How often the task of a message has started since its second delivery, by what is stored of it.
///
/// A delivery counts when it is fetched, so a worker that dies takes its reserved deliveries one step closer to the
/// limit, although their tasks never started. From the second delivery on every start is therefore written down first,
/// and only starts bring a task to the failed ones. The first delivery, which is the one that nearly all tasks have, costs nothing.
fn starts(record: &ResultRecord, deliveries: u32) -> u32 {
    match (&record.state, record.result.get(STARTS)) {
        (State::Started, Some(Value::Int(starts))) => u32::try_from(*starts).unwrap_or(u32::MAX),
        // It ran, and its progress took the place of the count.
        (State::Started | State::Custom(_), _) => deliveries.saturating_sub(1),
        _ => 0,
    }
}
