//! What must not run: a sorted set by expiry, and a stream for those who watch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::TaskId;
use redis::cmd;
use redis::streams::StreamRangeReply;

use super::pushes::{Listening, Topic};
use super::script::{REVOKE, REVOKED, read};
use super::{RedisStore, Shared};
use crate::{Result, Revocation, RevocationWatch, Revocations};

#[async_trait]
impl Revocations for RedisStore {
    async fn revoke(&self, revocations: Vec<Revocation>) -> Result<Vec<TaskId>> {
        if revocations.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut call = shared.plain_script(&REVOKE);
        for revocation in &revocations {
            call.arg(revocation.task_id.as_str()).arg(u8::from(revocation.terminate));
            call.arg(u64::try_from(revocation.expires_after.as_micros()).unwrap_or(u64::MAX));
        }
        let removed: Vec<String> = read(call.run("revoke", &shared.link).await?, &shared.link)?;
        Ok(removed.into_iter().map(TaskId::new).collect())
    }

    async fn revoked(&self, ids: &[TaskId]) -> Result<Vec<TaskId>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut call = shared.plain_script(&REVOKED);
        ids.iter().for_each(|id| {
            call.arg(id.as_str());
        });
        let answers: Vec<u8> = read(call.run("ask what is revoked", &shared.link).await?, &shared.link)?;
        Ok(ids.iter().zip(answers).filter(|(_, revoked)| *revoked == 1).map(|(id, _)| id.clone()).collect())
    }

    async fn watch(&self) -> Result<Box<dyn RevocationWatch>> {
        let mut last = cmd("XREVRANGE");
        last.arg(self.shared.keys.named("revocations")).arg("+").arg("-").arg("COUNT").arg(1);
        let last: StreamRangeReply =
            read(self.shared.link.ask("watch revocations", last).await?, &self.shared.link)?;
        let cursor = last.ids.into_iter().next().map_or_else(|| "0-0".to_owned(), |entry| entry.id);
        Ok(Box::new(Watch { shared: Arc::clone(&self.shared), cursor, listening: None }))
    }
}

/// A place in the stream of revocations.
struct Watch {
    shared: Arc<Shared>,
    /// The last entry that was told.
    cursor: String,
    listening: Option<Listening>,
}

#[async_trait]
impl RevocationWatch for Watch {
    async fn next(&mut self) -> Result<Vec<Revocation>> {
        loop {
            match &self.listening {
                None => {
                    let stream = Topic::Key(self.shared.keys.named("revocations").into());
                    self.listening = Some(self.shared.pushes.listen(vec![stream]).await?);
                }
                Some(listening) => self.shared.pushes.again(listening).await?,
            }
            let found = self.read_on().await?;
            if !found.is_empty() {
                return Ok(found);
            }
            if let Some(listening) = &self.listening {
                listening.changed().await;
            }
        }
    }
}

impl Watch {
    /// What was revoked since the last time.
    async fn read_on(&mut self) -> Result<Vec<Revocation>> {
        let link = &self.shared.link;
        let mut range = cmd("XRANGE");
        range.arg(self.shared.keys.named("revocations")).arg(format!("({}", self.cursor)).arg("+");
        let entries: StreamRangeReply = read(link.ask("read revocations", range).await?, link)?;
        let mut found = Vec::with_capacity(entries.ids.len());
        for entry in entries.ids {
            let (id, terminate) = (entry.get::<String>("id"), entry.get::<u8>("terminate"));
            let expires = entry.get::<u64>("expires");
            self.cursor = entry.id;
            if let (Some(id), Some(terminate), Some(expires)) = (id, terminate, expires) {
                let expires_after = Duration::from_micros(expires);
                found.push(Revocation { task_id: TaskId::new(id), terminate: terminate == 1, expires_after });
            }
        }
        Ok(found)
    }
}
