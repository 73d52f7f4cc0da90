//! Results, where Celery's Redis backend keeps them, told on the channel of the same name.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use celeriac_protocol::{ResultRecord, State, TaskId};
use redis::cmd;
use tokio::time::{Instant, sleep};

use super::pushes::{Listening, Topic};
use super::script::{Arguments, Call, read};
use super::{RedisStore, Shared};
use crate::{Result, ResultBackend, StoreResult};

/// Redis adds a time to live to the present in milliseconds of 64 bits; a longer life is endless.
const LONGEST_LIFE: Duration = Duration::from_secs(3600 * 24 * 365 * 1000);

/// Who waits for a result bears with a server that is away for this long: it may be starting again.
const PATIENCE: Duration = Duration::from_secs(30);
/// About how long until it is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// A record as it is stored. Made in the task that stores it.
pub(super) struct NewResult {
    key: String,
    state: State,
    record: Bytes,
    life: Life,
}

/// How long something lives, in milliseconds; nothing for ever.
pub(super) type Life = Option<u64>;

/// A life of this length.
pub(super) fn life(expires_after: Duration) -> Life {
    let millis = u64::try_from(expires_after.as_millis()).unwrap_or(u64::MAX);
    // A life of nothing is not one that Redis takes.
    (expires_after < LONGEST_LIFE).then(|| millis.max(1))
}

impl NewResult {
    pub(super) fn of(result: StoreResult, shared: &Shared) -> Result<Self> {
        Ok(Self {
            record: result.to_bytes(shared.options.message_limit)?,
            key: shared.keys.result(&result.record.task_id),
            life: life(result.expires_after),
            state: result.record.state,
        })
    }

    pub(super) fn life(&self) -> Life {
        self.life
    }

    pub(super) fn is_success(&self) -> bool {
        self.state == State::Success
    }

    /// Adds what the scripts take of a result.
    pub(super) fn add_to(&self, call: &mut impl Arguments) {
        call.arg(&self.key).arg(self.state.as_str()).arg(&self.record[..]);
        add_life(self.life, call);
    }

    /// Adds what the script takes of a success that lives as long as it says of all of them.
    pub(super) fn add_success_to(&self, call: &mut Call) {
        call.arg(&self.key).arg(&self.record[..]);
    }
}

/// Adds a time to live.
pub(super) fn add_life(life: Life, call: &mut impl Arguments) {
    match life {
        Some(millis) => call.arg(millis),
        None => call.arg(""),
    };
}

#[async_trait]
impl ResultBackend for RedisStore {
    async fn store(&self, results: Vec<StoreResult>) -> Result<()> {
        let shared = &self.shared;
        let results: Result<Vec<NewResult>> =
            results.into_iter().map(|result| NewResult::of(result, shared)).collect();
        match results? {
            results if results.is_empty() => Ok(()),
            results => shared.store_results(&results).await,
        }
    }

    async fn get(&self, ids: &[TaskId]) -> Result<Vec<Option<ResultRecord>>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let mut get = cmd("MGET");
        ids.iter().for_each(|id| {
            get.arg(shared.keys.result(id));
        });
        let stored: Vec<Option<Vec<u8>>> =
            read(shared.ask_of_results("read results", get).await?, &shared.link)?;
        let decode = |bytes: Vec<u8>| match ResultRecord::decode(&bytes) {
            Ok(record) => Ok(record),
            Err(error) => Err(shared.link.failed(format!("a stored result cannot be read: {error}"))),
        };
        stored.into_iter().map(|found| found.map(decode).transpose()).collect()
    }

    async fn wait(&self, ids: &[TaskId]) -> Result<Vec<ResultRecord>> {
        let ended = self.ended(ids).await?;
        if ids.is_empty() || !ended.is_empty() {
            return Ok(ended);
        }
        let mut listening = None;
        let mut away_since = None;
        loop {
            match self.listen_and_look(ids, &mut listening).await {
                Ok(ended) if !ended.is_empty() => return Ok(ended),
                Ok(_) => {
                    away_since = None;
                    if let Some(listening) = &listening {
                        listening.changed().await;
                    }
                }
                Err(error) => {
                    let since = *away_since.get_or_insert_with(Instant::now);
                    if !error.is_transient() || since.elapsed() > PATIENCE {
                        return Err(error);
                    }
                    sleep(PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                }
            }
        }
    }

    async fn forget(&self, ids: &[TaskId]) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let mut delete = cmd("DEL");
        ids.iter().for_each(|id| {
            delete.arg(self.shared.keys.result(id));
        });
        self.shared.ask_of_results("forget results", delete).await?;
        Ok(())
    }
}

impl RedisStore {
    /// Asks to be told of results, then looks for them: what came before is found, what comes after is told.
    async fn listen_and_look(
        &self,
        ids: &[TaskId],
        listening: &mut Option<Listening>,
    ) -> Result<Vec<ResultRecord>> {
        let shared = &self.shared;
        match listening {
            // The connection may have broken; else this asks for nothing.
            Some(listening) => shared.pushes.again(listening).await?,
            None => {
                let channels: HashSet<Topic> =
                    ids.iter().map(|id| Topic::Channel(shared.keys.result(id).into())).collect();
                *listening = Some(shared.pushes.listen(channels.into_iter().collect()).await?);
            }
        }
        self.ended(ids).await
    }

    /// The records of those tasks that have ended, each once.
    async fn ended(&self, ids: &[TaskId]) -> Result<Vec<ResultRecord>> {
        let records = self.get(ids).await?.into_iter().flatten().filter(|record| record.state.is_ready());
        let mut seen = HashSet::new();
        Ok(records.filter(|record| seen.insert(record.task_id.clone())).collect())
    }
}
