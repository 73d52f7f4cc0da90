//! Messages for later.

use async_trait::async_trait;
use celeriac_protocol::{TaskId, Timestamp};
use redis::{FromRedisValue, cmd};

use super::publish::decode;
use super::script::{CANCEL, read};
use super::{RedisStore, Shared};
use crate::{Result, Schedule, Scheduled};

#[async_trait]
impl Schedule for RedisStore {
    async fn next_due(&self) -> Result<Option<Timestamp>> {
        Ok(self.scheduled_numbers(1).await?.first().map(|(_, due)| *due))
    }

    async fn scheduled(&self, limit: usize) -> Result<Vec<Scheduled>> {
        let shared = &self.shared;
        let numbers = self.scheduled_numbers(limit).await?;
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = cmd("HMGET");
        get.arg(shared.keys.named("schedule:messages"));
        numbers.iter().for_each(|(number, _)| {
            get.arg(number);
        });
        let entries: Vec<Option<Vec<u8>>> =
            read(shared.link.ask("read the schedule", get).await?, &shared.link)?;
        // What became ready between the two questions is not scheduled any more.
        let found = numbers.into_iter().zip(entries).filter_map(|((_, due), entry)| {
            let (list, message) = split(entry.as_deref()?)?;
            let (message, _) = decode(message)?;
            Some(Scheduled { due, queue: shared.keys.queue_of(list), message })
        });
        Ok(found.collect())
    }

    async fn cancel(&self, ids: &[TaskId]) -> Result<u64> {
        if ids.is_empty() {
            return Ok(0);
        }
        let shared = &self.shared;
        let mut call = shared.plain_script(&CANCEL);
        ids.iter().for_each(|id| {
            call.arg(id.as_str());
        });
        let counts: Vec<u64> = read(call.run("cancel scheduled tasks", &shared.link).await?, &shared.link)?;
        Ok(counts.iter().sum())
    }
}

impl RedisStore {
    /// The first entries of the schedule, by number.
    async fn scheduled_numbers(&self, limit: usize) -> Result<Vec<(String, Timestamp)>> {
        let found: Vec<(String, f64)> = self.shared.members("schedule", limit, "WITHSCORES").await?;
        Ok(found.into_iter().map(|(number, due)| (number, Timestamp::from_micros(due as i64))).collect())
    }
}

impl Shared {
    /// Up to `limit` members of a sorted set of our own, read with one of the options of `ZRANGE`.
    pub(super) async fn members<T: FromRedisValue>(
        &self,
        name: &str,
        limit: usize,
        option: &str,
    ) -> Result<Vec<T>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let last = i64::try_from(limit).unwrap_or(i64::MAX) - 1;
        let mut range = cmd("ZRANGE");
        range.arg(self.keys.named(name)).arg(0).arg(last).arg(option);
        read(self.link.ask("read a sorted set", range).await?, &self.link)
    }
}

/// The list and the message of an entry: see `schedule` in `lua/shared.lua`.
pub(super) fn split(entry: &[u8]) -> Option<(&str, &[u8])> {
    let (list_size, rest) = number(entry)?;
    let (id_size, rest) = number(rest)?;
    let (list, rest) = rest.split_at_checked(list_size)?;
    let (_, message) = rest.split_at_checked(id_size)?;
    Some((std::str::from_utf8(list).ok()?, message))
}

/// The digits before the next colon, and what follows it.
pub(super) fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let digits = std::str::from_utf8(&bytes[..colon]).ok()?;
    Some((digits.parse().ok()?, &bytes[colon + 1..]))
}
