//! Which tasks must not run.

use async_trait::async_trait;
use celeriac_protocol::TaskId;
use tokio::sync::mpsc;

use super::MemoryStore;
use crate::{Error, Result, Revocation, RevocationWatch, Revocations};

#[async_trait]
impl Revocations for MemoryStore {
    async fn revoke(&self, revocations: Vec<Revocation>) -> Result<Vec<TaskId>> {
        Ok(self.change(|state, now| state.revoke(&revocations, now)))
    }

    async fn revoked(&self, ids: &[TaskId]) -> Result<Vec<TaskId>> {
        Ok(self.read(|state| ids.iter().filter(|id| state.revoked.contains(id)).cloned().collect()))
    }

    async fn list(&self, limit: usize) -> Result<Vec<TaskId>> {
        Ok(self.change(|state, _| state.revoked.longest(limit)))
    }

    async fn watch(&self) -> Result<Box<dyn RevocationWatch>> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.change(|state, _| state.revocation_watches.push(sender));
        Ok(Box::new(MemoryWatch(receiver)))
    }
}

struct MemoryWatch(mpsc::UnboundedReceiver<Revocation>);

#[async_trait]
impl RevocationWatch for MemoryWatch {
    async fn next(&mut self) -> Result<Vec<Revocation>> {
        let mut revocations = Vec::new();
        match self.0.recv_many(&mut revocations, usize::MAX).await {
            0 => Err(Error::Closed),
            _ => Ok(revocations),
        }
    }
}
