//! Outcomes for those who asked.

use async_trait::async_trait;
use celeriac_protocol::{ResultRecord, TaskId};

use super::{Look, MemoryStore};
use crate::{Result, ResultBackend, StoreResult};

#[async_trait]
impl ResultBackend for MemoryStore {
    async fn store(&self, results: Vec<StoreResult>) -> Result<()> {
        results.iter().try_for_each(|result| self.check_result(result))?;
        self.change(|state, now| results.into_iter().for_each(|result| state.store_result(result, now)));
        Ok(())
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<ResultRecord>>> {
        Ok(self.read(|state| ids.iter().map(|id| state.results.get(id).cloned()).collect()))
    }

    async fn wait(&self, ids: &[TaskId]) -> Result<Vec<ResultRecord>> {
        let ended = self.look_for(|state, _| {
            let records = ids.iter().filter_map(|id| state.results.get(id));
            let ended: Vec<_> = records.filter(|record| record.state.is_ready()).cloned().collect();
            if ended.is_empty() && !ids.is_empty() { Look::Nothing(None) } else { Look::Found(ended) }
        });
        Ok(ended.await)
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        self.change(|state, _| ids.iter().for_each(|id| state.results.remove(id)));
        Ok(())
    }
}
