//! Which workers are alive.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value, json};
use redis::cmd;

use super::pushes::Topic;
use super::script::{ANNOUNCE, WITHDRAW, read};
use super::{RedisStore, Shared};
use crate::{ConsumerId, Presence, Result, WorkerRecord};

#[async_trait]
impl Presence for RedisStore {
    async fn announce(&self, record: WorkerRecord) -> Result<()> {
        let shared = &self.shared;
        // By the server's clock, which may differ from this one.
        let valid_for = u64::try_from(record.valid_for.as_micros()).unwrap_or(u64::MAX);
        let mut call = shared.plain_script(&ANNOUNCE);
        call.arg(&record.id.0).arg(&encode(&record)[..]).arg(valid_for);
        call.run("announce", &shared.link).await?;
        Ok(())
    }

    async fn withdraw(&self, worker: &ConsumerId) -> Result<()> {
        let shared = &self.shared;
        let mut call = shared.plain_script(&WITHDRAW);
        call.arg(&worker.0);
        call.run("withdraw", &shared.link).await?;
        Ok(())
    }

    async fn workers(&self, patience: Duration) -> Result<Vec<WorkerRecord>> {
        let shared = &self.shared;
        let announced = Topic::Channel(shared.keys.named("announced").into());
        let listening = shared.pushes.listen(vec![announced]).await?;
        let before = self.announcements().await?;
        let mut ask = cmd("INCR");
        ask.arg(shared.keys.named("asked"));
        shared.link.ask("ask the workers", ask).await?;
        let out_of_patience = tokio::time::sleep(patience);
        tokio::pin!(out_of_patience);
        loop {
            let found = self.announcements().await?;
            let waits = found.iter().any(|(id, said)| before.get(id) == Some(said));
            if out_of_patience.is_elapsed() || !waits {
                return Ok(by_name(&found));
            }
            tokio::select! {
                () = &mut out_of_patience => {}
                () = listening.changed() => shared.pushes.again(&listening).await?,
            }
        }
    }

    async fn asked(&self) -> Result<()> {
        let shared = &self.shared;
        let before = shared.asked.load(Ordering::Relaxed);
        let listening = shared.pushes.listen(vec![Topic::Key(shared.keys.named("asked").into())]).await?;
        loop {
            let asked = shared.times_asked().await?;
            if asked != before {
                shared.asked.store(asked, Ordering::Relaxed);
                return Ok(());
            }
            listening.changed().await;
            shared.pushes.again(&listening).await?;
        }
    }
}

impl Shared {
    /// How often anybody has asked the workers.
    pub(super) async fn times_asked(&self) -> Result<u64> {
        let mut get = cmd("GET");
        get.arg(self.keys.named("asked"));
        let asked: Option<u64> = read(self.link.ask("look for questions", get).await?, &self.link)?;
        Ok(asked.unwrap_or(0))
    }
}

impl RedisStore {
    /// What every worker said last, whose word still counts.
    async fn announcements(&self) -> Result<HashMap<String, Vec<u8>>> {
        type Answers = (HashMap<String, Vec<u8>>, Vec<(String, f64)>, (i64, i64));
        let shared = &self.shared;
        let mut pipeline = redis::pipe();
        pipeline.cmd("HGETALL").arg(shared.keys.named("workers"));
        pipeline.cmd("ZRANGE").arg(shared.keys.named("workers:until")).arg(0).arg(-1).arg("WITHSCORES");
        pipeline.cmd("TIME");
        let (mut said, until, time): Answers =
            read(shared.link.ask("read workers", pipeline).await?, &shared.link)?;
        let now = shared.time_at(time).as_micros() as f64;
        let until: HashMap<String, f64> = until.into_iter().collect();
        said.retain(|id, _| until.get(id).is_some_and(|until| *until > now));
        Ok(said)
    }
}

fn by_name(said: &HashMap<String, Vec<u8>>) -> Vec<WorkerRecord> {
    let mut records: Vec<WorkerRecord> = said.iter().filter_map(|(id, said)| decode(id, said)).collect();
    records.sort_by(|one, other| (&one.name, &one.id).cmp(&(&other.name, &other.id)));
    records
}

/// What a worker said, other bytes each time it says so.
fn encode(record: &WorkerRecord) -> Vec<u8> {
    let micros = |time: i64| Value::Int(time);
    let valid_for = i64::try_from(record.valid_for.as_micros()).unwrap_or(i64::MAX);
    json::to_bytes(&Value::Map(vec![
        ("name".into(), Value::from(record.name.as_str())),
        ("announced_at".into(), micros(record.announced_at.as_micros())),
        ("valid_for".into(), micros(valid_for)),
        ("facts".into(), record.facts.clone()),
        ("said".into(), Value::from(uuid::Uuid::new_v4().to_string())),
    ]))
}

fn decode(id: &str, said: &[u8]) -> Option<WorkerRecord> {
    let said = json::parse(said).ok()?;
    let micros = |name: &str| said.get(name).and_then(Value::as_i64);
    Some(WorkerRecord {
        id: ConsumerId(id.to_owned()),
        name: said.get("name")?.as_str()?.to_owned(),
        announced_at: Timestamp::from_micros(micros("announced_at")?),
        valid_for: match micros("valid_for")? {
            i64::MAX => Duration::MAX,
            valid => Duration::from_micros(u64::try_from(valid).ok()?),
        },
        facts: said.get("facts").cloned().unwrap_or(Value::Null),
    })
}
