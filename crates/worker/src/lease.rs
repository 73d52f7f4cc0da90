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
use crate::trouble::Trouble;

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
        trouble: Trouble,
    ) -> Result<Self, Error> {
        let (until_dropped, dropped) = oneshot::channel();
        match placement {
            Placement::Current => drop(tokio::spawn(keep(lease, renewed, trouble, dropped))),
            Placement::Own => {
                let failed =
                    |source| Error::Spawn { what: "the thread that renews leases".to_owned(), source };
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
                thread::Builder::new()
                    .name("celeriac-lease".to_owned())
                    .spawn(move || runtime.block_on(keep(lease, renewed, trouble, dropped)))
                    .map_err(failed)?;
            }
        }
        Ok(Self { _until_dropped: until_dropped })
    }
}

async fn keep(
    lease: Arc<dyn Lease>,
    renewed: mpsc::Sender<Renewed>,
    trouble: Trouble,
    mut dropped: oneshot::Receiver<()>,
) {
    let mut asker = trouble.asker("leases could not be renewed");
    let third = lease.length() / 3;
    let mut valid_until = after(Instant::now(), lease.length());
    let mut wait = third;
    loop {
        tokio::select! {
            _ = &mut dropped => return,
            () = tokio::time::sleep(wait) => {}
            // Whoever else has met a failure may wait for long once the store is back: this finds out when that is.
            () = trouble.begun() => {}
        }
        let asked_at = Instant::now();
        match tokio::time::timeout(third, lease.renew()).await {
            Ok(Ok(())) => {
                asker.worked();
                if asked_at > valid_until {
                    tracing::warn!("leases had run out: what other workers took meanwhile runs twice");
                }
                valid_until = after(asked_at, lease.length());
                wait = third;
                // A full channel means that the loop has not yet read the last one, which says the same.
                let _ = renewed.try_send(Renewed);
            }
            Ok(Err(celeriac_store::Error::Closed)) => return,
            // Soon enough for several more attempts before the lease runs out.
            Ok(Err(error)) => wait = asker.failed(&error).min(third),
            Err(_elapsed) => {
                asker.late("renew", third);
                wait = Duration::ZERO;
            }
        }
    }
}
