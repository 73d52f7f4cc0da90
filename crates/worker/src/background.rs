//! The small tasks around the loop, each of which waits for one thing and tells the loop.

use std::time::Duration;

use celeriac_app::resource::HealthBoard;
use celeriac_store::{ConsumerId, Store, WorkerRecord};
use tokio::sync::mpsc;

use crate::consumer::Input;

/// How long to wait before a failing store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Passes on every revocation, for as long as the loop lives.
pub(crate) async fn watch_revocations(store: Store, inputs: mpsc::UnboundedSender<Input>) {
    while !inputs.is_closed() {
        let mut watch = match store.revocations().watch().await {
            Ok(watch) => watch,
            Err(error) => {
                pause("revocations are not watched", &error).await;
                continue;
            }
        };
        loop {
            match watch.next().await {
                Ok(revocations) => {
                    if inputs.send(Input::Revoked(revocations)).is_err() {
                        return;
                    }
                }
                Err(celeriac_store::Error::Closed) => return,
                Err(error) => pause("revocations are not watched", &error).await,
            }
        }
    }
}

/// Asks the loop for facts whenever somebody wants to know them, and announces what it says.
pub(crate) async fn keep_present(
    store: Store,
    id: ConsumerId,
    inputs: mpsc::UnboundedSender<Input>,
    mut records: mpsc::Receiver<WorkerRecord>,
) {
    loop {
        tokio::select! {
            record = records.recv() => match record {
                Some(record) => announce(&store, record).await,
                None => break,
            },
            asked = store.presence().asked() => match asked {
                Ok(()) => drop(inputs.send(Input::Announce)),
                Err(celeriac_store::Error::Closed) => break,
                Err(error) => pause("presence is not asked for", &error).await,
            },
        }
    }
    if let Err(error) = store.presence().withdraw(&id).await {
        tracing::warn!(%error, "the worker stays listed until its last announcement expires");
    }
}

async fn announce(store: &Store, record: WorkerRecord) {
    if let Err(error) = store.presence().announce(record).await {
        tracing::warn!(%error, "the worker could not announce itself");
    }
}

async fn pause(what: &str, error: &celeriac_store::Error) {
    tracing::warn!(%error, "{what}");
    tokio::time::sleep(PAUSE).await;
}

/// Tells the loop when the health of a resource has changed.
pub(crate) async fn watch_health(health: HealthBoard, inputs: mpsc::UnboundedSender<Input>) {
    loop {
        health.changed().await;
        if inputs.send(Input::Health).is_err() {
            return;
        }
    }
}
