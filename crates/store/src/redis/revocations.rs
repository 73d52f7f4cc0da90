//! What must not run: a sorted set by expiry, and a stream for those who watch.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::TaskId;
use celeriac_protocol::body::has_embed;
use redis::cmd;
use redis::streams::StreamRangeReply;

use super::publish::decode;
use super::pushes::{Listening, Topic};
use super::script::{REVOCATIONS, REVOKE, REVOKED, UNSCHEDULE, read};
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
        let scheduled: Vec<Waiting> = read(call.run("revoke", &shared.link).await?, &shared.link)?;
        if scheduled.is_empty() {
            return Ok(Vec::new());
        }
        let expiry = |id: &str| {
            let of_task = revocations.iter().rfind(|revocation| revocation.task_id.as_str() == id);
            of_task.map_or(Duration::ZERO, |revocation| revocation.expires_after)
        };
        self.unschedule(scheduled, expiry).await
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

    async fn list(&self, limit: usize) -> Result<Vec<TaskId>> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&REVOCATIONS);
        call.arg(i64::try_from(limit).unwrap_or(i64::MAX));
        let found: Vec<String> = read(call.run("list revocations", &shared.link).await?, &shared.link)?;
        Ok(found.into_iter().map(TaskId::new).collect())
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

/// A task that is revoked and has scheduled messages: its id, whether others were removed before, and number and message of
/// each.
type Waiting = (String, bool, Vec<(String, Vec<u8>)>);

impl RedisStore {
    /// Removes these messages, and makes ready what a worker must finish because something follows. Answers the tasks of
    /// which nothing is left.
    async fn unschedule(
        &self,
        tasks: Vec<Waiting>,
        expiry: impl Fn(&str) -> Duration,
    ) -> Result<Vec<TaskId>> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&UNSCHEDULE);
        for (id, _, messages) in &tasks {
            let expires = u64::try_from(expiry(id).as_micros()).unwrap_or(u64::MAX);
            for (number, message) in messages {
                let is_awaited = decode(message).is_some_and(|(message, _)| has_embed(&message));
                call.arg(id).arg(number).arg(if is_awaited { "ready" } else { "remove" }).arg(expires);
            }
        }
        let answer = call.run("remove what is revoked", &shared.link).await?;
        let mut is_removed = read::<Vec<bool>>(answer, &shared.link)?.into_iter();
        let mut gone = Vec::new();
        for (id, was_removed, messages) in tasks {
            let removed = is_removed.by_ref().take(messages.len()).filter(|removed| *removed).count();
            if removed == messages.len() && (removed > 0 || was_removed) {
                gone.push(TaskId::new(id));
            }
        }
        Ok(gone)
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
