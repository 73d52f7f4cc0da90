//! Tasks that failed for good.

use async_trait::async_trait;
use celeriac_protocol::{TaskId, Timestamp, Value, json};
use redis::cmd;

use super::RedisStore;
use super::publish::decode;
use super::schedule::number;
use super::script::{REQUEUE, read};
use crate::{FailedTask, FailedTasks, FailureReason, Result};
use celeriac_protocol::QueueName;

/// Failed tasks read in one go for a list, because they come with their bodies.
const READ_AT_ONCE: usize = 16;

#[async_trait]
impl FailedTasks for RedisStore {
    async fn list(&self, limit: usize) -> Result<Vec<FailedTask>> {
        let ids: Vec<String> = self.shared.members("failed", limit, "REV").await?;
        let mut found = Vec::with_capacity(ids.len());
        for some in ids.chunks(READ_AT_ONCE) {
            let tasks = self.failed_tasks(some.iter().map(TaskId::new).collect()).await?;
            found.extend(tasks.into_iter().map(FailedTask::without_bytes));
        }
        Ok(found)
    }

    async fn get(&self, id: &TaskId) -> Result<Option<FailedTask>> {
        Ok(self.failed_tasks(vec![id.clone()]).await?.pop())
    }

    async fn requeue(&self, ids: &[TaskId]) -> Result<u64> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&REQUEUE);
        ids.iter().for_each(|id| {
            call.arg(id.as_str()).arg(shared.keys.result(id));
        });
        read(call.run("requeue failed tasks", &shared.link).await?, &shared.link)
    }

    async fn drop_failed(&self, ids: &[TaskId]) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let shared = &self.shared;
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for (command, key) in [("ZREM", "failed"), ("HDEL", "failed:tasks")] {
            let remove = pipeline.cmd(command).arg(shared.keys.named(key));
            ids.iter().for_each(|id| {
                remove.arg(id.as_str());
            });
        }
        let (_, dropped): (u64, u64) =
            read(shared.link.ask("drop failed tasks", pipeline).await?, &shared.link)?;
        Ok(dropped)
    }
}

impl RedisStore {
    pub(super) async fn failed_tasks(&self, ids: Vec<TaskId>) -> Result<Vec<FailedTask>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut get = cmd("HMGET");
        get.arg(shared.keys.named("failed:tasks"));
        ids.iter().for_each(|id| {
            get.arg(id.as_str());
        });
        let entries: Vec<Option<Vec<u8>>> =
            read(shared.link.ask("read failed tasks", get).await?, &shared.link)?;
        Ok(ids.into_iter().zip(entries).filter_map(|(id, entry)| open(id, &entry?)).collect())
    }
}

/// A failed task as `lua/finish.lua` keeps it: when, the facts, the list it came from, and the message.
fn open(task_id: TaskId, entry: &[u8]) -> Option<FailedTask> {
    let mut parts = entry.splitn(3, |byte| *byte == b'\n');
    let failed_at = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let facts = json::parse(parts.next()?).ok()?;
    let (list, rest) = number(parts.next()?)?;
    let raw = rest.get(list..)?;
    let text = |name: &str| facts.get(name).and_then(Value::as_str).unwrap_or_default();
    let deliveries = facts.get("deliveries").and_then(Value::as_i64).unwrap_or(0);
    let message = decode(raw).map(|(message, _)| message);
    Some(FailedTask {
        task_id,
        queue: QueueName::new(text("queue")),
        failed_at: Timestamp::from_micros(failed_at),
        deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX),
        reason: FailureReason {
            code: text("code").into(),
            text: text("text").into(),
            evidence: facts.get("evidence").cloned().unwrap_or(Value::Null),
        },
        undecodable: message.is_none().then(|| raw.to_vec()),
        size: message.as_ref().map_or(raw.len(), |message| message.body.len()),
        message,
    })
}
