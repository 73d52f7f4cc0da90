//! What was changed of workers.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value};

use super::MemoryStore;
use crate::{ControlChange, ControlState, Result, Whose};

/// The changes of one node, or of all, by their names.
pub(super) type Changes = BTreeMap<Box<str>, (Timestamp, Value)>;

#[async_trait]
impl ControlState for MemoryStore {
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()> {
        self.change(|state, now| {
            let mut kept = state.changes.get(whose).cloned().unwrap_or_default();
            for ControlChange { name, value, at } in changes {
                match value {
                    Value::Null => drop(kept.remove(&name)),
                    value => drop(kept.insert(name, (at, value))),
                }
            }
            state.changes.insert(whose.clone(), kept, now.saturating_add(expires_after));
        });
        Ok(())
    }

    async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>> {
        let kept = self.read(|state| state.changes.get(whose).cloned()).unwrap_or_default();
        Ok(kept.into_iter().map(|(name, (at, value))| ControlChange { name, value, at }).collect())
    }
}
