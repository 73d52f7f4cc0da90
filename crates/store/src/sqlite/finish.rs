//! Finishing: the delivery is settled, its result stored and its follow-ups published, in one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::TaskId;
use rusqlite::params;
use tokio::sync::oneshot;

use super::key::TaskKey;
use super::lending::{self, Counts, Held, Lending};
use super::publish::{self, NewMessage};
use super::results::{NewResult, ResultInserts};
use super::transaction::Tx;
use super::wake::Topic;
use super::writer::{Operation, Writer};
use crate::{DeliveryTag, Error, FailureReason, Finish, Result, Settle, Settled, Settler};

/// The output half of one subscription.
pub(super) struct SqliteSettler {
    pub writer: Writer,
    pub message_limit: usize,
    pub lending: Arc<Lending>,
}

#[async_trait]
impl Settler for SqliteSettler {
    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Settled>> {
        if finishes.is_empty() {
            return Ok(Vec::new());
        }
        let endings: Result<Vec<_>> =
            finishes.into_iter().map(|finish| Ending::of(finish, self.message_limit)).collect();
        let (reply, answer) = oneshot::channel();
        let lending = Arc::clone(&self.lending);
        let operation =
            FinishOperation { lending, endings: endings?, settled: Vec::new(), before: None, reply };
        self.writer.submit("finish", Box::new(operation)).await?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    async fn started(&self, tags: Vec<DeliveryTag>) -> Result<()> {
        if tags.is_empty() {
            return Ok(());
        }
        self.writer
            .call("say what starts", move |tx| {
                let mut start = tx.statement(include_str!("sql/settle_start.sql"))?;
                for tag in &tags {
                    start.execute([tag.0 as i64])?;
                }
                Ok(())
            })
            .await
    }

    async fn close(&self) -> Result<()> {
        self.lending.close();
        let lending = Arc::clone(&self.lending);
        self.writer
            .call("close the consumer", move |tx| {
                lending::remove(tx, lending.held().consumer, Counts::No)?;
                Ok(())
            })
            .await
    }
}

/// A finish as it is stored. Made in the task that finishes, so the writer only copies bytes.
struct Ending {
    tag: Option<i64>,
    settle: HowSettled,
    result: Option<NewResult>,
    follow_ups: Vec<NewMessage>,
}

enum HowSettled {
    Ack,
    Back(Counts),
    Fail(Box<Failure>),
}

struct Failure {
    reason: FailureReason,
    evidence: Vec<u8>,
    /// For a message without an id.
    made_up: TaskKey,
}

impl Ending {
    fn of(finish: Finish, limit: usize) -> Result<Self> {
        let settle = match finish.settle {
            Settle::Ack => HowSettled::Ack,
            Settle::Requeue => HowSettled::Back(Counts::Yes),
            Settle::Release => HowSettled::Back(Counts::No),
            Settle::Fail(reason) => HowSettled::Fail(Box::new(Failure {
                evidence: celeriac_protocol::json::to_bytes(&reason.evidence),
                made_up: TaskKey::of(&TaskId::fresh()),
                reason,
            })),
        };
        Ok(Self {
            tag: finish.delivery.map(|tag| tag.0 as i64),
            settle,
            result: finish.result.map(|result| NewResult::of(result, limit)).transpose()?,
            follow_ups: NewMessage::all(finish.follow_ups, limit)?,
        })
    }
}

/// Finishes a batch.
struct FinishOperation {
    lending: Arc<Lending>,
    endings: Vec<Ending>,
    settled: Vec<Settled>,
    /// What the consumer held before this transaction.
    before: Option<Held>,
    reply: oneshot::Sender<Result<Vec<Settled>>>,
}

impl Operation for FinishOperation {
    fn run(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()> {
        let mut held = self.lending.held();
        self.before = Some(held);
        self.settled = settle_all(tx, &self.endings)?;
        let mut results = ResultInserts::begin(tx)?;
        for (ending, settled) in self.endings.iter().zip(&self.settled) {
            if *settled == Settled::Lost {
                continue;
            }
            held.unsettled = held.unsettled.saturating_sub(usize::from(ending.tag.is_some()));
            publish::insert(tx, &ending.follow_ups)?;
            if let Some(result) = &ending.result {
                results.add(tx, result)?;
            }
        }
        results.end(tx)?;
        self.lending.set_held(held);
        Ok(())
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.lending.set_held(before);
        }
    }

    fn answer(self: Box<Self>, outcome: Result<()>) {
        if outcome.is_ok() {
            self.lending.changed.notify_one();
        }
        // A caller that stopped waiting has no use for it; what is committed stays.
        let Self { reply, settled, .. } = *self;
        let _ = reply.send(outcome.map(|()| settled));
    }
}

/// Settles each delivery that is still lent.
fn settle_all(tx: &mut Tx<'_>, endings: &[Ending]) -> rusqlite::Result<Vec<Settled>> {
    let mut settled = vec![Settled::Lost; endings.len()];
    let mut acknowledged = Vec::with_capacity(endings.len());
    for (index, ending) in endings.iter().enumerate() {
        let is_ours = match (ending.tag, &ending.settle) {
            (None, _) => true,
            (Some(tag), HowSettled::Ack) => {
                acknowledged.push((tag, index));
                continue;
            }
            (Some(tag), HowSettled::Back(counts)) => give_back(tx, tag, *counts)?,
            (Some(tag), HowSettled::Fail(failure)) => fail(tx, tag, failure)?,
        };
        if is_ours {
            settled[index] = Settled::Done;
        }
    }
    // Tasks end in another order than they were taken in; their tags are neighbours nevertheless.
    acknowledged.sort_unstable();
    for run in acknowledged.chunk_by(|(tag, _), (next, _)| tag + 1 == *next) {
        acknowledge_run(tx, run, &mut settled)?;
    }
    Ok(settled)
}

/// Acknowledges tags that follow each other: two statements if all of them are ours, else two for each.
fn acknowledge_run(tx: &Tx<'_>, run: &[(i64, usize)], settled: &mut [Settled]) -> rusqlite::Result<()> {
    let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(()) };
    let ours: i64 =
        tx.statement(include_str!("sql/settle_count_run.sql"))?.query_one([first, last], |row| row.get(0))?;
    if ours == run.len() as i64 {
        tx.execute(include_str!("sql/settle_run_messages.sql"), [first, last])?;
        tx.execute(include_str!("sql/settle_run_tags.sql"), [first, last])?;
        run.iter().for_each(|(_, index)| settled[*index] = Settled::Done);
        return Ok(());
    }
    for (tag, index) in run {
        if acknowledge(tx, *tag)? {
            settled[*index] = Settled::Done;
        }
    }
    Ok(())
}

fn acknowledge(tx: &Tx<'_>, tag: i64) -> rusqlite::Result<bool> {
    let removed = tx.execute(include_str!("sql/settle_message.sql"), [tag])?;
    if removed > 0 {
        tx.execute(include_str!("sql/settle_tag.sql"), [tag])?;
    }
    Ok(removed > 0)
}

fn give_back(tx: &mut Tx<'_>, tag: i64, counts: Counts) -> rusqlite::Result<bool> {
    let returned = tx.execute(include_str!("sql/settle_back.sql"), params![tag, counts.subtract()])?;
    if returned > 0 {
        tx.execute(include_str!("sql/settle_tag.sql"), [tag])?;
        tx.touch(Topic::Ready);
    }
    Ok(returned > 0)
}

fn fail(tx: &mut Tx<'_>, tag: i64, failure: &Failure) -> rusqlite::Result<bool> {
    let number = tx.number()?;
    let reason = &failure.reason;
    let kept = tx.execute(
        include_str!("sql/settle_failed.sql"),
        params![tag, number, failure.made_up, tx.now, &*reason.code, &*reason.text, failure.evidence],
    )?;
    Ok(kept > 0 && acknowledge(tx, tag)?)
}
