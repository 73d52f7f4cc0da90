//! Keeps the deliveries of this worker ours, from a thread that no task can block.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use celeriac_store::Lease;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Error;
use crate::options::Placement;
use crate::timers::after;

/// Renews a lease until it is dropped.
#[derive(Debug)]
pub(crate) struct LeaseKeeper {
    _until_dropped: oneshot::Sender<()>,
}

/// The lease has just been renewed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewed;

impl LeaseKeeper {
    /// Starts to renew, and says so each time on `renewed`.
    pub(crate) fn start(
        lease: Arc<dyn Lease>,
        placement: Placement,
        renewed: mpsc::Sender<Renewed>,
    ) -> Result<Self, Error> {
        let (until_dropped, dropped) = oneshot::channel();
        match placement {
            Placement::Current => drop(tokio::spawn(keep(lease, renewed, dropped))),
            Placement::Own => {
                let failed =
                    |source| Error::Spawn { what: "the thread that renews leases".to_owned(), source };
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
                thread::Builder::new()
                    .name("celeriac-lease".to_owned())
                    .spawn(move || runtime.block_on(keep(lease, renewed, dropped)))
                    .map_err(failed)?;
            }
        }
        Ok(Self { _until_dropped: until_dropped })
    }
}

async fn keep(lease: Arc<dyn Lease>, renewed: mpsc::Sender<Renewed>, mut dropped: oneshot::Receiver<()>) {
    let third = lease.length() / 3;
    let mut valid_until = after(Instant::now(), lease.length());
    let mut wait = third;
    loop {
        tokio::select! {
            _ = &mut dropped => return,
            () = tokio::time::sleep(wait) => {}
        }
        let asked_at = Instant::now();
        match tokio::time::timeout(third, lease.renew()).await {
            Ok(Ok(())) => {
                if asked_at > valid_until {
                    tracing::warn!("leases had run out: what other workers took meanwhile runs twice");
                }
                valid_until = after(asked_at, lease.length());
                wait = third;
                // A full channel means that the loop has not yet read the last one, which says the same.
                let _ = renewed.try_send(Renewed);
            }
            Ok(Err(celeriac_store::Error::Closed)) => return,
            Ok(Err(error)) => {
                wait = retry_after(third);
                tracing::warn!(%error, valid_for = ?(valid_until - Instant::now()), "leases could not be renewed");
            }
            Err(_elapsed) => {
                wait = Duration::ZERO;
                tracing::warn!(valid_for = ?(valid_until - Instant::now()), "leases are not renewed: the store does not answer");
            }
        }
    }
}

/// Soon enough for several more attempts before the lease runs out, and not in a tight loop.
fn retry_after(third: Duration) -> Duration {
    (third / 10).max(Duration::from_millis(100)).min(third)
}
