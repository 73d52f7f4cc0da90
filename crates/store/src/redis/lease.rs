//! Leases: one moment per consumer, and the times by which stock workers judge what is lent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::consumer::Consuming;
use super::script::{RENEW, read};
use crate::{Lease, Result};

/// The lease of one subscription. It has a connection of its own.
pub(super) struct RedisLease {
    pub consuming: Arc<Consuming>,
}

#[async_trait]
impl Lease for RedisLease {
    /// Stock workers take what has given no sign for the visibility timeout.
    fn length(&self) -> Duration {
        self.consuming.lease.min(self.consuming.shared.options.redis.visibility_timeout)
    }

    async fn renew(&self) -> Result<()> {
        let consuming = &self.consuming;
        if consuming.lending.is_closed() {
            return Ok(());
        }
        let (shared, newest) = (&consuming.shared, consuming.lending.newest());
        let mut call = shared.plain_script(&RENEW);
        call.arg(&consuming.id).arg(consuming.lease_micros()).arg(&consuming.places().record[..]);
        let forgotten: u8 = read(call.run("renew the lease", &shared.renewals).await?, &shared.renewals)?;
        if forgotten == 1 {
            consuming.was_forgotten(newest);
        }
        shared.restore_beside();
        Ok(())
    }
}
