//! Which workers are alive.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;

use super::state::State;
use super::{Look, MemoryStore};
use crate::{ConsumerId, Presence, Result, WorkerRecord};

/// What a worker said last, and how many times somebody had asked before.
#[derive(Clone, Debug)]
pub(super) struct Announced {
    record: WorkerRecord,
    after_asks: u64,
}

#[async_trait]
impl Presence for MemoryStore {
    async fn announce(&self, record: WorkerRecord) -> Result<()> {
        self.change(|state, _| {
            let until = record.announced_at.saturating_add(record.valid_for);
            let announced = Announced { after_asks: state.asks, record };
            state.workers.insert(announced.record.id.clone(), announced, until);
        });
        Ok(())
    }

    async fn withdraw(&self, worker: &ConsumerId) -> Result<()> {
        self.change(|state, _| state.workers.remove(worker));
        Ok(())
    }

    async fn workers(&self, patience: Duration) -> Result<Vec<WorkerRecord>> {
        let (ask, asked) = self.change(|state, _| {
            state.asks += 1;
            (state.asks, state.workers.iter().map(|(id, _)| id.clone()).collect::<HashSet<_>>())
        });
        let all_answered = self.look_for(|state, _| {
            let silent =
                |(id, announced): (&ConsumerId, &Announced)| announced.after_asks < ask && asked.contains(id);
            if state.workers.iter().any(silent) { Look::Nothing(None) } else { Look::Found(()) }
        });
        // Whether all answered or not, what is known by then is the answer.
        let _ = tokio::time::timeout(patience, all_answered).await;
        let mut records: Vec<WorkerRecord> =
            self.read(|state| state.workers.iter().map(|(_, announced)| announced.record.clone()).collect());
        records.sort_by(|a, b| (&a.name, &a.id.0).cmp(&(&b.name, &b.id.0)));
        Ok(records)
    }

    async fn asked(&self) -> Result<()> {
        let before = self.shared.heard.load(Ordering::Relaxed);
        let look = |state: &mut State, _| match state.asks {
            asks if asks > before => Look::Found(asks),
            _ => Look::Nothing(None),
        };
        let asks = self.look_for(look).await;
        self.shared.heard.fetch_max(asks, Ordering::Relaxed);
        Ok(())
    }
}
