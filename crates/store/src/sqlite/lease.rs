//! Keeping deliveries ours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;

use super::lending::{self, Lending};
use super::sweep;
use super::writer::Writer;
use crate::{Lease, Result};

/// The lease of one subscription.
pub(super) struct SqliteLease {
    pub writer: Writer,
    pub lending: Arc<Lending>,
}

#[async_trait]
impl Lease for SqliteLease {
    fn length(&self) -> Duration {
        self.lending.lease
    }

    async fn renew(&self) -> Result<()> {
        if self.lending.is_closed() {
            return Ok(());
        }
        let lending = Arc::clone(&self.lending);
        let (is_ours, consumer) = self
            .writer
            .call("renew the lease", move |tx| {
                let consumer = lending.held().consumer;
                let until = lending::lease_until(tx.now, lending.lease);
                let extended =
                    tx.execute(include_str!("sql/consumer_extend.sql"), params![consumer, until])?;
                lending::reap(tx, consumer)?;
                sweep::step(tx)?;
                Ok((extended == 1, consumer))
            })
            .await?;
        if !is_ours {
            // The next fetch starts anew, with all the room there is; a waiting one has to be told.
            self.lending.lost(consumer);
            self.lending.changed.notify_one();
        }
        Ok(())
    }
}
