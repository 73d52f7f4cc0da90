//! What was changed of workers: a hash for each node and one for all, each with its expiry.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{Timestamp, Value, json};
use redis::cmd;

use super::script::{KEEP_CHANGE, read};
use super::{RedisStore, Shared};
use crate::{ControlChange, ControlState, Result, Whose};

/// The longest expiry in milliseconds, far beyond any that is wanted; the server adds it to its time.
const LONGEST: u128 = 1 << 52;

#[async_trait]
impl ControlState for RedisStore {
    async fn keep(&self, whose: &Whose, changes: Vec<ControlChange>, expires_after: Duration) -> Result<()> {
        let (shared, key) = (&self.shared, self.shared.changes_of(whose));
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for ControlChange { name, value, at } in changes {
            match value {
                Value::Null => pipeline.cmd("HDEL").arg(&key).arg(&*name),
                value => pipeline.cmd("HSET").arg(&key).arg(&*name).arg(encode(at, value)),
            };
        }
        pipeline.cmd("PEXPIRE").arg(&key).arg(milliseconds(expires_after));
        shared.link.ask("keep changes of workers", pipeline).await?;
        Ok(())
    }

    async fn keep_if_room(
        &self,
        whose: &Whose,
        change: ControlChange,
        most: usize,
        expires_after: Duration,
    ) -> Result<bool> {
        if change.value.is_null() {
            self.keep(whose, vec![change], expires_after).await?;
            return Ok(true);
        }
        let (shared, key) = (&self.shared, self.shared.changes_of(whose));
        let ControlChange { name, value, at } = change;
        let mut keep = shared.script(&KEEP_CHANGE, std::iter::once(key.as_str()));
        keep.arg(&*name).arg(encode(at, value)).arg(most).arg(milliseconds(expires_after));
        read(keep.run("keep a change of workers", &shared.link).await?, &shared.link)
    }

    async fn kept(&self, whose: &Whose) -> Result<Vec<ControlChange>> {
        let shared = &self.shared;
        let mut get = cmd("HGETALL");
        get.arg(shared.changes_of(whose));
        let kept: BTreeMap<String, Vec<u8>> =
            read(shared.link.ask("read changes of workers", get).await?, &shared.link)?;
        Ok(kept.into_iter().filter_map(|(name, kept)| decode(name, &kept)).collect())
    }
}

impl Shared {
    fn changes_of(&self, whose: &Whose) -> String {
        match whose {
            Whose::All => self.keys.named("changes"),
            Whose::Node(node) => self.keys.named(&format!("changes:{node}")),
        }
    }
}

fn milliseconds(expires_after: Duration) -> u64 {
    expires_after.as_millis().clamp(1, LONGEST) as u64
}

fn encode(at: Timestamp, value: Value) -> Vec<u8> {
    json::to_bytes(&Value::Map(vec![("at".into(), at.as_micros().into()), ("value".into(), value)]))
}

/// A change; none of what somebody else has put there.
fn decode(name: String, kept: &[u8]) -> Option<ControlChange> {
    let kept = json::parse(kept).ok()?;
    let at = Timestamp::from_micros(kept.get("at")?.as_i64()?);
    Some(ControlChange { name: name.into(), value: kept.get("value")?.clone(), at })
}
