//! What was changed of workers.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value};

use super::MemoryStore;
use super::state::State;
use crate::{ControlChange, ControlState, Result, Whose};

/// The changes of one node, or of all, by their names.
pub(super) type Changes = BTreeMap<Box<str>, (Timestamp, Value)>;

#[async_trait]
impl ControlState for MemoryStore {
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()> {
        self.change(|state, now| {
            let kept = changes_of(state, whose, now.saturating_add(expires_after));
            changes.into_iter().for_each(|change| write(kept, change));
        });
        Ok(())
    }

    async fn keep_if_room(
        &self,
        whose: &Whose,
        change: ControlChange,
        most: usize,
        expires_after: Duration,
    ) -> Result<bool> {
        Ok(self.change(|state, now| {
            let has_room = state.changes.get(whose).map_or(most > 0, |kept| {
                kept.len() < most || kept.contains_key(&change.name) || change.value.is_null()
            });
            if has_room {
                write(changes_of(state, whose, now.saturating_add(expires_after)), change);
            }
            has_room
        }))
    }

    async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>> {
        let kept = self.read(|state| state.changes.get(whose).cloned()).unwrap_or_default();
        Ok(kept.into_iter().map(|(name, (at, value))| ControlChange { name, value, at }).collect())
    }
}

/// Those of a node, or of all, which are kept until then.
fn changes_of<'state>(state: &'state mut State, whose: &Whose, until: Timestamp) -> &'state mut Changes {
    if !state.changes.contains(whose) {
        state.changes.insert(whose.clone(), Changes::new(), until);
    }
    state.changes.keep(whose, until).expect("it was inserted if it was not there")
}

fn write(kept: &mut Changes, change: ControlChange) {
    let ControlChange { name, value, at } = change;
    match value {
        Value::Null => drop(kept.remove(&name)),
        value => drop(kept.insert(name, (at, value))),
    }
}
