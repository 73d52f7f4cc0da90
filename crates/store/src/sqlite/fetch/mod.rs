//! Fetching: messages go from ready to lent, and to the worker.

mod claim;
mod operation;

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::{Message, QueueName, Timestamp};
use tokio::sync::{mpsc, watch};

use self::claim::Batch;
use self::operation::{Fetch, Found};
use super::SqliteStore;
use super::finish::SqliteSettler;
use super::lease::SqliteLease;
use super::lending::{self, Lending, Queues};
use super::wake::Topic;
use super::writer::Writer;
use crate::clock::Clock;
use crate::{
    ConsumeOptions, Consumer, Delivery, DeliveryTag, Error, FailureReason, Finish, Result, Settle, Settler,
    Subscription,
};

impl SqliteStore {
    pub(super) async fn start_consumer(&self, options: ConsumeOptions) -> Result<Subscription> {
        let shared = &self.shared;
        // Before the first look, so that nothing is missed between that and the first wait.
        let ready = shared.wake.listen(Topic::Ready);
        let (queues, worker, lease) = (options.queues.clone(), options.worker.clone(), options.lease);
        let started = shared.writer.call("consume", move |tx| {
            let queues = Queues::named(tx, &queues)?;
            let lease_until = lending::lease_until(tx.now, lease);
            let consumer = lending::register(tx, &worker, &queues.taken_from, lease_until)?;
            Ok((queues, consumer))
        });
        let (queues, consumer) = started.await?;
        let lending = Arc::new(Lending::new(options, queues, consumer));
        let settler = Arc::new(SqliteSettler {
            writer: shared.writer.clone(),
            message_limit: shared.options.message_limit,
            lending: Arc::clone(&lending),
        });
        let (replies, inbox) = mpsc::unbounded_channel();
        let consumer = SqliteConsumer {
            store: self.clone(),
            writer: shared.writer.clone(),
            clock: shared.options.clock.clone(),
            lending: Arc::clone(&lending),
            settler: Arc::clone(&settler),
            ready,
            replies,
            inbox,
            asked: false,
            taken: VecDeque::new(),
            undecodable: Vec::new(),
        };
        let lease = SqliteLease { writer: shared.writer.clone(), lending };
        Ok(Subscription { consumer: Box::new(consumer), settler, lease: Arc::new(lease) })
    }
}

/// The input half of one subscription.
///
/// What the writer finds comes through `inbox`, which outlives a dropped call of `fetch`. At most one request
/// is under way, so the inbox never holds more than one batch.
struct SqliteConsumer {
    /// Keeps the store, and with it its pipes, while somebody consumes.
    #[expect(dead_code, reason = "held, not used")]
    store: SqliteStore,
    writer: Writer,
    clock: Clock,
    lending: Arc<Lending>,
    settler: Arc<SqliteSettler>,
    ready: watch::Receiver<u64>,
    replies: mpsc::UnboundedSender<Result<Found>>,
    inbox: mpsc::UnboundedReceiver<Result<Found>>,
    /// Whether a request is under way.
    asked: bool,
    /// Taken and not returned yet.
    taken: VecDeque<Delivery>,
    /// Taken, and not messages.
    undecodable: Vec<(DeliveryTag, String)>,
}

#[async_trait]
impl Consumer for SqliteConsumer {
    async fn fetch(&mut self, limit: usize) -> Result<Vec<Delivery>> {
        let limit = limit.max(1);
        loop {
            self.fail_undecodable().await?;
            if self.lending.is_closed() {
                return Err(Error::Closed);
            }
            if !self.taken.is_empty() {
                let count = limit.min(self.taken.len());
                return Ok(self.taken.drain(..count).collect());
            }
            if let Some(until) = self.look(limit).await? {
                self.wait(until).await;
            }
        }
    }

    async fn consume_from(&mut self, queues: Vec<QueueName>) -> Result<()> {
        if self.asked {
            // What is under way was asked of the queues before, and is answered first.
            self.look(1).await?;
        }
        let lending = Arc::clone(&self.lending);
        let moved = self.writer.call("consume", move |tx| {
            let queues = Queues::named(tx, &queues)?;
            lending::move_consumer(tx, lending.held().consumer, &queues.taken_from)?;
            Ok(queues)
        });
        self.lending.take_from(moved.await?);
        Ok(())
    }
}

/// Nothing to deliver; look again at this time, if there is one.
type Nothing = Option<Timestamp>;

impl SqliteConsumer {
    /// Takes what can be taken now. Answers until when there is nothing to take, if that is so.
    async fn look(&mut self, limit: usize) -> Result<Option<Nothing>> {
        if !self.asked {
            if self.lending.room() == 0 {
                return Ok(Some(None));
            }
            // From here on, everything that becomes ready shows in `ready.changed()`.
            self.ready.borrow_and_update();
            let fetch = Fetch::new(Arc::clone(&self.lending), limit, self.replies.clone());
            self.writer.submit("fetch", Box::new(fetch)).await?;
            self.asked = true;
        }
        let answer = self.inbox.recv().await;
        self.asked = false;
        match answer.unwrap_or(Err(Error::Closed))? {
            Found::Taken(batch) => {
                self.decode(&batch);
                Ok(None)
            }
            Found::Nothing(until) => Ok(Some(until)),
        }
    }

    /// Waits until another look may find something.
    async fn wait(&mut self, until: Nothing) {
        let due = async {
            match until {
                Some(moment) => self.clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => {}
            () = self.lending.changed.notified() => {}
            // Without room, only settling helps.
            Ok(()) = self.ready.changed(), if self.lending.room() > 0 => {}
        }
    }

    fn decode(&mut self, batch: &Batch) {
        let queues = self.lending.queues();
        for row in &batch.rows {
            let tag = DeliveryTag(row.tag as u64);
            match Message::decode(batch.head(row), batch.body(row)) {
                Ok(message) => self.taken.push_back(Delivery {
                    tag,
                    queue: queues.names[&row.queue].clone(),
                    message,
                    redelivered: row.deliveries > 1,
                    deliveries: u32::try_from(row.deliveries).unwrap_or(u32::MAX),
                    revoked: Some(row.revoked),
                }),
                Err(error) => self.undecodable.push((tag, error.to_string())),
            }
        }
    }

    /// Moves what is not a message to the failed tasks. Doing it again after a dropped call does no harm.
    async fn fail_undecodable(&mut self) -> Result<()> {
        if self.undecodable.is_empty() {
            return Ok(());
        }
        let finishes = self.undecodable.iter().map(|(tag, error)| Finish {
            delivery: Some(*tag),
            settle: Settle::Fail(FailureReason::undecodable(Some(error))),
            result: None,
            follow_ups: Vec::new(),
            workflow: None,
        });
        self.settler.finish(finishes.collect()).await?;
        self.undecodable.clear();
        Ok(())
    }
}
