//! The small tasks around the loop, each of which waits for one thing and tells the loop.

use celeriac_app::resource::HealthBoard;
use celeriac_store::{ConsumerId, Store, WorkerRecord};
use tokio::sync::mpsc;

use crate::consumer::Input;
use crate::trouble::Trouble;

/// Passes on every revocation, for as long as the loop lives.
pub(crate) async fn watch_revocations(store: Store, inputs: mpsc::UnboundedSender<Input>, trouble: Trouble) {
    let mut asker = trouble.asker("revocations are not watched");
    while !inputs.is_closed() {
        let mut watch = match store.revocations().watch().await {
            Ok(watch) => watch,
            Err(error) => {
                asker.pause(&error).await;
                continue;
            }
        };
        loop {
            match watch.next().await {
                Ok(revocations) => {
                    asker.worked();
                    if inputs.send(Input::Revoked(revocations)).is_err() {
                        return;
                    }
                }
                Err(celeriac_store::Error::Closed) => return,
                Err(error) => asker.pause(&error).await,
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
    trouble: Trouble,
) {
    let mut asker = trouble.asker("nobody can ask for this worker");
    loop {
        tokio::select! {
            record = records.recv() => match record {
                Some(record) => announce(&store, record, &trouble).await,
                None => break,
            },
            asked = store.presence().asked() => match asked {
                Ok(()) => {
                    asker.worked();
                    drop(inputs.send(Input::Announce));
                }
                Err(celeriac_store::Error::Closed) => break,
                Err(error) => asker.pause(&error).await,
            },
        }
    }
    if let Err(error) = store.presence().withdraw(&id).await {
        tracing::warn!(%error, "the worker stays listed until its last announcement expires");
    }
}

/// Announces the worker; if that fails, the next announcement will do.
async fn announce(store: &Store, record: WorkerRecord, trouble: &Trouble) {
    let mut asker = trouble.asker("the worker could not announce itself");
    match store.presence().announce(record).await {
        Ok(()) => asker.worked(),
        Err(error) => drop(asker.failed(&error)),
    }
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
