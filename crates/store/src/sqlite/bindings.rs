//! Bindings of queues to exchanges, for producers in Python: `python/celeriac/sqlite/bindings.py` reads them.

use rusqlite::params;

use super::SqliteStore;
use super::transaction::Tx;
use crate::{Binding, Result};

impl SqliteStore {
    pub(super) async fn bind_queues(&self, bindings: Vec<Binding>) -> Result<()> {
        if bindings.is_empty() {
            return Ok(());
        }
        let bind = move |tx: &mut Tx<'_>| {
            for binding in &bindings {
                let queue = tx.queue(&binding.queue)?;
                if binding.is_by_name() {
                    // Goes without saying.
                    continue;
                }
                let Binding { exchange, exchange_type, routing_key, .. } = binding;
                let params = params![exchange, exchange_type.as_str(), routing_key, queue];
                tx.execute(include_str!("sql/binding_add.sql"), params)?;
            }
            Ok(())
        };
        self.shared.writer.call("bind queues", bind).await
    }
}
