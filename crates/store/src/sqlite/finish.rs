//! Finishing: the delivery is settled, its result stored, its follow-ups published and what else it brings about done, in
//! one transaction.

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::TaskId;
use rusqlite::params;
use tokio::sync::oneshot;

use super::key::TaskKey;
use super::lending::{self, Counts, Held, Lending};
use super::publish::{self, NewMessage};
use super::results::NewResult;
use super::transaction::Tx;
use super::wake::Topic;
use super::workflow::{Effects, NewConsequences, Publications};
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
    workflow: Option<Box<NewConsequences>>,
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
        let workflow = finish.workflow.map(|workflow| NewConsequences::of(*workflow, limit)).transpose()?;
        Ok(Self {
            tag: finish.delivery.map(|tag| tag.0 as i64),
            settle,
            result: finish.result.map(|result| NewResult::of(&result, limit)).transpose()?,
            follow_ups: NewMessage::all(finish.follow_ups, limit)?,
            workflow: workflow.map(Box::new),
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
        self.settled = find_ours(tx, &self.endings)?;
        let mut effects = Effects::begin(tx)?;
        for (ending, settled) in self.endings.iter().zip(&mut self.settled) {
            if *settled == Settled::Done {
                *settled = ending.bring_about(tx, &mut effects)?;
            }
        }
        effects.end(tx)?;
        let left = settle_all(tx, &self.endings, &self.settled)?;
        held.unsettled = held.unsettled.saturating_sub(left);
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

impl Ending {
    /// Does everything but settling, or nothing if it completes a chord.
    fn bring_about(&self, tx: &mut Tx<'_>, effects: &mut Effects<'_>) -> rusqlite::Result<Settled> {
        if let Some(workflow) = &self.workflow
            && effects.chords.completes(tx, workflow)?
        {
            return Ok(Settled::Completes);
        }
        publish::insert(tx, &self.follow_ups)?;
        if let Some(result) = &self.result {
            effects.results.add(tx, result)?;
        }
        if let Some(workflow) = &self.workflow {
            effects.bring_about(tx, workflow, Publications::AreHere)?;
        }
        Ok(Settled::Done)
    }
}

/// Tells what is still lent from what is lost.
fn find_ours(tx: &Tx<'_>, endings: &[Ending]) -> rusqlite::Result<Vec<Settled>> {
    let mut settled = vec![Settled::Done; endings.len()];
    let tagged = endings.iter().enumerate().filter_map(|(index, ending)| Some((ending.tag?, index)));
    let mut tags: Vec<(i64, usize)> = tagged.collect();
    // Tasks end in another order than they were taken in; their tags are neighbours nevertheless.
    tags.sort_unstable();
    for again in tags.chunk_by(|(tag, _), (next, _)| tag == next) {
        again[1..].iter().for_each(|(_, index)| settled[*index] = Settled::Lost);
    }
    tags.dedup_by_key(|(tag, _)| *tag);
    for run in tags.chunk_by(|(tag, _), (next, _)| tag + 1 == *next) {
        find_run(tx, run, &mut settled)?;
    }
    Ok(settled)
}

/// Looks for tags that follow each other: one statement if all of them are ours, else one for each.
fn find_run(tx: &Tx<'_>, run: &[(i64, usize)], settled: &mut [Settled]) -> rusqlite::Result<()> {
    let (Some((first, _)), Some((last, _))) = (run.first(), run.last()) else { return Ok(()) };
    let ours: i64 =
        tx.statement(include_str!("sql/settle_count_run.sql"))?.query_one([first, last], |row| row.get(0))?;
    if ours == run.len() as i64 {
        return Ok(());
    }
    let mut is_lent = tx.statement(include_str!("sql/settle_is_lent.sql"))?;
    for (tag, index) in run {
        if !is_lent.exists([tag])? {
            settled[*index] = Settled::Lost;
        }
    }
    Ok(())
}

/// Settles what is done, and says how many deliveries that were.
fn settle_all(tx: &mut Tx<'_>, endings: &[Ending], settled: &[Settled]) -> rusqlite::Result<usize> {
    let mut count = 0;
    let mut acknowledged = Vec::with_capacity(endings.len());
    for (ending, _) in endings.iter().zip(settled).filter(|(_, settled)| **settled == Settled::Done) {
        let Some(tag) = ending.tag else { continue };
        count += 1;
        match &ending.settle {
            HowSettled::Ack => acknowledged.push(tag),
            HowSettled::Back(counts) => give_back(tx, tag, *counts)?,
            HowSettled::Fail(failure) => fail(tx, tag, failure)?,
        }
    }
    acknowledged.sort_unstable();
    for run in acknowledged.chunk_by(|tag, next| tag + 1 == *next) {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
        tx.execute(include_str!("sql/settle_run_messages.sql"), [first, last])?;
        tx.execute(include_str!("sql/settle_run_tags.sql"), [first, last])?;
    }
    Ok(count)
}

fn acknowledge(tx: &Tx<'_>, tag: i64) -> rusqlite::Result<()> {
    tx.execute(include_str!("sql/settle_message.sql"), [tag])?;
    tx.execute(include_str!("sql/settle_tag.sql"), [tag])?;
    Ok(())
}

fn give_back(tx: &mut Tx<'_>, tag: i64, counts: Counts) -> rusqlite::Result<()> {
    tx.execute(include_str!("sql/settle_back.sql"), params![tag, counts.subtract()])?;
    tx.execute(include_str!("sql/settle_tag.sql"), [tag])?;
    tx.touch(Topic::Ready);
    Ok(())
}

fn fail(tx: &mut Tx<'_>, tag: i64, failure: &Failure) -> rusqlite::Result<()> {
    let number = tx.number()?;
    let reason = &failure.reason;
    tx.execute(
        include_str!("sql/settle_failed.sql"),
        params![tag, number, failure.made_up, tx.now, &*reason.code, &*reason.text, failure.evidence],
    )?;
    acknowledge(tx, tag)
}
