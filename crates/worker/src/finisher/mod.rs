//! Makes outcomes durable, as many at once as have come while the store was busy.

mod completing;
mod reducing;
mod spans;

use std::sync::Arc;

use celeriac_app::trace::{Origin, Sending};
use celeriac_protocol::State;
use celeriac_store::clock::Clock;
use celeriac_store::{
    Closing, Consequences, DeliveryTag, Error, Finish, Publish, Settle, Settled, Settler, Store,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::consumer::Input;
use crate::reports::Reports;
use crate::table::Key;
use crate::trouble::Trouble;
use crate::workflow::{Ended, Workflow};

use completing::Completing;
use reducing::{Reduced, can_go_back, sent_back};

/// Something to make durable.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The request it belongs to; `None` for a delivery that never became one.
    pub key: Option<Key>,
    /// What to make durable.
    pub finish: Finish,
    /// The end of its task, if something may follow it.
    pub ended: Option<Box<Ended>>,
    /// The delivery of which to say, before that, that its task starts.
    pub starts: Option<DeliveryTag>,
    /// Whether the request waits for this before it runs.
    pub prepares: bool,
    /// How much of it has been left out, because the store refused it.
    pub reduced: Reduced,
    /// The task as the sender of what follows it, if that is traced.
    pub origin: Option<Box<Origin>>,
    /// The spans of what follows.
    pub sending: Option<Box<Sending>>,
}

impl Item {
    /// The end of a request, or of a delivery that never became one.
    pub(crate) fn last(key: Option<Key>, finish: Finish) -> Self {
        Self {
            key,
            finish,
            ended: None,
            starts: None,
            prepares: false,
            reduced: Reduced::Whole,
            origin: None,
            sending: None,
        }
    }
}

/// What became of one [`Item`].
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The request it belongs to.
    pub key: Option<Key>,
    /// Whether the request waited for it before it runs.
    pub prepares: bool,
    /// Whether a delivery was settled by it.
    pub settles: bool,
    /// Whether that delivery is back in its queue.
    pub returned: bool,
    /// What the store said.
    pub settled: Settled,
}

/// Takes outcomes from the loop and answers when they are durable.
///
/// Batching adds no latency: a batch is whatever has come while the one before was being stored. What follows a task in
/// its workflow is composed here, so that the loop need not wait for it. The last success of a chord takes two steps: what
/// the other members returned is read beside the batches, and the body comes with a later one.
pub(crate) struct Finisher {
    pub(crate) store: Store,
    pub(crate) settler: Arc<dyn Settler>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) workflow: Workflow,
    pub(crate) clock: Clock,
    /// Unbounded, because the prefetch bounds how many outcomes there can be.
    pub(crate) items: mpsc::UnboundedReceiver<Item>,
    pub(crate) answers: mpsc::UnboundedSender<Input>,
    pub(crate) trouble: Trouble,
}

/// The messages that were published with these consequences. Not those of a chord that has failed: nobody knows whether
/// this member was the first to say so.
fn sent_with(consequences: &Consequences) -> impl Iterator<Item = &Publish> {
    let closings = consequences.parts.iter().filter_map(|part| match &part.closing {
        Closing::Known(closing) if part.state == State::Success => Some(&closing.publication.messages),
        _ => None,
    });
    consequences.publication.messages.iter().chain(closings.flatten())
}

/// The most outcomes in one round trip.
const LARGEST_BATCH: usize = 2048;

/// How often one outcome alone may fail for no reason that we know before its delivery goes back to its queue instead.
const ATTEMPTS: u32 = 12;

impl Finisher {
    /// Works until the loop has dropped its end and everything is durable.
    pub(crate) async fn run(mut self) {
        let (mut batch, mut completing) = (Vec::new(), JoinSet::new());
        let mut is_open = true;
        while is_open || !completing.is_empty() {
            tokio::select! {
                received = self.items.recv_many(&mut batch, LARGEST_BATCH), if is_open => is_open = received > 0,
                Some(Ok(completed)) = completing.join_next() => batch.push(completed),
                () = self.reports.added() => {}
            }
            self.store_reports().await;
            if !batch.is_empty() {
                for completed in self.finish(std::mem::take(&mut batch)).await {
                    completing.spawn(self.completing().complete(completed));
                }
            }
        }
        self.store_reports().await;
    }

    fn completing(&self) -> Completing {
        Completing {
            store: self.store.clone(),
            workflow: self.workflow.clone(),
            clock: self.clock.clone(),
            trouble: self.trouble.clone(),
        }
    }

    /// Stores progress before the outcomes that came after it. Progress is for people who watch: it is not tried again.
    async fn store_reports(&self) {
        let reports = self.reports.take();
        if reports.is_empty() {
            return;
        }
        let count = reports.len();
        if let Err(error) = self.store.results().store(reports).await {
            tracing::warn!(%error, count, "progress reports were not stored");
        }
    }

    /// Finishes a batch, in halves as long as one part of it is refused. Returns what completes a chord: nothing of it has
    /// taken effect.
    async fn finish(&self, mut batch: Vec<Item>) -> Vec<Item> {
        batch.iter_mut().for_each(|item| {
            self.follow(item);
            self.trace(item);
        });
        let (mut parts, mut completing) = (vec![batch], Vec::new());
        while let Some(part) = parts.pop() {
            match self.finish_patiently(&part).await {
                Ok(settled) => completing.extend(self.answer(part, &settled)),
                Err(_) if part.len() > 1 => {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.push(second);
                    parts.push(first);
                }
                Err(error @ Error::TooLarge { .. }) if part.iter().all(Item::can_be_reduced) => {
                    parts.push(part.into_iter().map(|item| self.reduce(item, &error)).collect());
                }
                Err(error @ Error::Failed { .. }) if part.iter().any(can_go_back) => {
                    parts.push(part.into_iter().map(|item| sent_back(item, &error)).collect());
                }
                Err(error) => self.give_up(part, &error),
            }
        }
        completing
    }

    /// Asks until the store answers. Fails only for what waiting does not mend.
    async fn finish_patiently(&self, part: &[Item]) -> Result<Vec<Settled>, Error> {
        let mut asker = self.trouble.asker("outcomes are not durable yet");
        let mut attempt = 0;
        loop {
            attempt += 1;
            let error = match self.finish_once(part).await {
                Ok(settled) => {
                    asker.worked();
                    return Ok(settled);
                }
                Err(error @ (Error::TooLarge { .. } | Error::Closed)) => return Err(error),
                Err(error @ Error::Failed { .. }) if attempt >= ATTEMPTS => return Err(error),
                Err(error) => error,
            };
            asker.pause(&error).await;
        }
    }

    async fn finish_once(&self, part: &[Item]) -> Result<Vec<Settled>, Error> {
        let starts: Vec<DeliveryTag> = part.iter().filter_map(|item| item.starts).collect();
        if !starts.is_empty() {
            self.settler.started(starts).await?;
        }
        let finishes = part.iter().map(|item| item.finish.clone()).collect();
        self.store.finish(&*self.settler, finishes).await
    }

    /// Tells the loop what became of these, but for those that complete a chord, which are returned.
    fn answer(&self, part: Vec<Item>, settled: &[Settled]) -> Vec<Item> {
        let (mut answers, mut completing) = (Vec::with_capacity(part.len()), Vec::new());
        for (item, settled) in part.into_iter().zip(settled) {
            if *settled == Settled::Completes && item.asks() {
                completing.push(item);
                continue;
            }
            if *settled == Settled::Done
                && let Some(published) = &item.finish.workflow
            {
                self.workflow.app.announce_published(sent_with(published));
            }
            if let (Settled::Done, Some(sending)) = (settled, item.sending) {
                sending.sent(self.clock.now());
            }
            answers.push(Answer {
                key: item.key,
                prepares: item.prepares,
                settles: item.finish.delivery.is_some(),
                returned: matches!(item.finish.settle, Settle::Requeue | Settle::Release),
                settled: *settled,
            });
        }
        // Without a loop there is nobody who waits for the answer.
        let _ = self.answers.send(Input::Settled(answers));
        completing
    }

    fn give_up(&self, part: Vec<Item>, error: &Error) {
        tracing::error!(%error, outcomes = part.len(), "outcomes were refused; their tasks come back when this worker has ended");
        let lost = vec![Settled::Lost; part.len()];
        self.answer(part, &lost);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;
    use celeriac_protocol::Value;
    use celeriac_store::{ConnectOptions, connect};

    use super::*;
    use crate::outcome::Outcome;
    use crate::testing::{NOW, delivery, request, rules, workflow};

    /// Answers with these errors first, and refuses results that are larger than allowed.
    #[derive(Default)]
    struct Moody {
        errors: Mutex<Vec<Error>>,
        batches: Mutex<Vec<usize>>,
        finished: Mutex<Vec<Finish>>,
    }

    #[async_trait]
    impl Settler for Moody {
        async fn finish(&self, finishes: Vec<Finish>) -> celeriac_store::Result<Vec<Settled>> {
            self.batches.lock().unwrap().push(finishes.len());
            if let Some(error) = self.errors.lock().unwrap().pop() {
                return Err(error);
            }
            let large = |finish: &Finish| matches!(&finish.result, Some(r) if matches!(r.record.result, Value::Bytes(_)));
            if finishes.iter().any(large) {
                return Err(Error::TooLarge { what: "a result".into(), size: 9, limit: 8 });
            }
            let settled = vec![Settled::Done; finishes.len()];
            self.finished.lock().unwrap().extend(finishes);
            Ok(settled)
        }

        async fn started(&self, _tags: Vec<DeliveryTag>) -> celeriac_store::Result<()> {
            Ok(())
        }

        async fn close(&self) -> celeriac_store::Result<()> {
            Ok(())
        }
    }

    /// Finishes these values in one batch and returns how many answers came.
    async fn finish(settler: &Arc<Moody>, name: &str, values: Vec<Value>) -> usize {
        let store = connect(&format!("memory://finisher-{name}"), &ConnectOptions::default()).await.unwrap();
        let (send, items) = mpsc::unbounded_channel();
        let (answers, mut answered) = mpsc::unbounded_channel();
        for (tag, value) in values.into_iter().enumerate() {
            let (mut finish, _) = rules().finish(&request(delivery(1)), Outcome::Success(value), false, NOW);
            finish.delivery = Some(DeliveryTag(tag as u64));
            send.send(Item::last(None, finish)).unwrap();
        }
        drop(send);
        let settler = Arc::clone(settler) as Arc<dyn Settler>;
        let (workflow, clock, trouble) = (workflow(), Clock::system(), Trouble::new(store.url()));
        let reports = Arc::default();
        Finisher { store, settler, reports, workflow, clock, items, answers, trouble }.run().await;
        let mut count = 0;
        while let Some(Input::Settled(answers)) = answered.recv().await {
            count += answers.len();
        }
        count
    }

    fn full() -> Error {
        Error::Full { url: "sqlite:///full.db".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_together_is_stored_together() {
        let settler = Arc::new(Moody::default());
        assert_eq!(finish(&settler, "together", vec![Value::Null; 100]).await, 100);
        assert_eq!(*settler.batches.lock().unwrap(), [100]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_loses_nothing() {
        let settler =
            Arc::new(Moody { errors: Mutex::new(vec![full(), full(), full()]), ..Moody::default() });
        assert_eq!(finish(&settler, "full", vec![Value::Null; 10]).await, 10);
        assert_eq!(settler.finished.lock().unwrap().len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_that_is_too_large_fails_alone() {
        let settler = Arc::new(Moody::default());
        let mut values = vec![Value::Null; 9];
        values.insert(4, Value::Bytes([1, 2, 3].into()));
        assert_eq!(finish(&settler, "large", values).await, 10);
        let finished = settler.finished.lock().unwrap();
        let failed: Vec<&Finish> = finished.iter().filter(|finish| finish.settle != Settle::Ack).collect();
        assert_eq!((finished.len(), failed.len()), (10, 1));
        assert!(matches!(&failed[0].settle, Settle::Fail(reason) if &*reason.code == "result-too-large"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outcome_that_is_always_refused_does_not_hold_up_the_others() {
        let refused = || Error::Failed { url: "x".into(), reason: "no".into() };
        let errors = Mutex::new((0..ATTEMPTS * 2).map(|_| refused()).collect());
        let settler = Arc::new(Moody { errors, ..Moody::default() });
        assert_eq!(finish(&settler, "refused", vec![Value::Null; 2]).await, 2);
        let settled: Vec<Settle> =
            settler.finished.lock().unwrap().iter().map(|finish| finish.settle.clone()).collect();
        assert_eq!(settled, [Settle::Requeue, Settle::Ack], "the refused one goes back to its queue");
    }
}
