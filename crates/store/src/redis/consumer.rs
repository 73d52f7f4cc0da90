//! The input half of a subscription: it waits without polling, then claims in one step.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{QueueName, Value, json};
use tokio::task::JoinHandle;

use super::Shared;
use super::claim::{Claim, Claimed};
use super::lease::RedisLease;
use super::lending::Lending;
use super::pushes::{Listening, Topic};
use super::settle::RedisSettler;
use crate::{ConsumeOptions, Consumer, Delivery, Error, QueueOrder, Result, Subscription};

/// The most messages that one script takes: while it runs, the server does nothing else.
const LARGEST_CLAIM: usize = 5000;

/// A started consumer, as its three parts share it.
pub(super) struct Consuming {
    pub shared: Arc<Shared>,
    /// Names it for ever.
    pub id: String,
    pub lease: Duration,
    pub prefetch: usize,
    /// Its lists, those that are taken from first before the others, queue by queue within each step.
    pub lists: Vec<List>,
    /// How many queues it has.
    queues: usize,
    /// What the server must know to give its deliveries back, as JSON.
    pub record: Vec<u8>,
    pub lending: Lending,
    /// Held while a claim is on its way.
    pub claim: tokio::sync::Mutex<Claim>,
    /// Which queue has its turn first.
    turn: AtomicUsize,
}

/// One list of one queue.
pub(super) struct List {
    pub key: String,
    pub queue: QueueName,
    /// What follows a message of it in `unacked`: the exchange and the routing key by which anybody finds the queue again.
    pub tail: String,
}

impl Consuming {
    /// The lists in the order of taking, with their places.
    pub(super) fn in_turn(&self) -> impl ExactSizeIterator<Item = (usize, &List)> + Clone {
        let turn = self.turn.load(Ordering::Relaxed);
        let place = move |at: usize| at / self.queues * self.queues + (at + turn) % self.queues;
        (0..self.lists.len()).map(move |at| (place(at), &self.lists[place(at)]))
    }

    /// The next queue goes first, if the queues take turns.
    pub(super) fn pass_turn(&self) {
        if self.shared.options.redis.queue_order_strategy == QueueOrder::RoundRobin {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A lease in microseconds, as scripts take it.
    pub(super) fn lease_micros(&self) -> u64 {
        u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Starts a consumer.
pub(super) async fn start(shared: &Arc<Shared>, options: ConsumeOptions) -> Result<Subscription> {
    let ConsumeOptions { mut queues, prefetch, lease, worker } = options;
    let mut seen = std::collections::HashSet::new();
    queues.retain(|queue| seen.insert(queue.clone()));
    shared.declare(&queues).await?;
    if shared.options.redis.queue_order_strategy == QueueOrder::Sorted {
        queues.sort_unstable();
    }
    let steps = shared.keys.steps().iter();
    let lists: Vec<List> = steps
        .flat_map(|step| queues.iter().map(move |queue| (*step, queue)))
        .map(|(step, queue)| {
            let name = String::from_utf8_lossy(&json::to_bytes(&Value::from(queue.as_str()))).into_owned();
            List {
                key: shared.keys.list(queue, step),
                queue: queue.clone(),
                tail: format!(", \"\", {name}]"),
            }
        })
        .collect();
    let consuming = Arc::new(Consuming {
        shared: Arc::clone(shared),
        id: uuid::Uuid::now_v7().to_string(),
        lease,
        prefetch: prefetch.max(1),
        record: record(&worker, &queues, &lists),
        queues: queues.len().max(1),
        lists,
        lending: Lending::new(),
        claim: tokio::sync::Mutex::default(),
        turn: AtomicUsize::new(0),
    });
    let subscription = Subscription {
        settler: Arc::new(RedisSettler { consuming: Arc::clone(&consuming) }),
        lease: Arc::new(RedisLease { consuming: Arc::clone(&consuming) }),
        consumer: Box::new(RedisConsumer { consuming, claiming: None, ready: VecDeque::new() }),
    };
    subscription.lease.renew().await?;
    Ok(subscription)
}

/// What the server must know of a consumer.
fn record(worker: &str, queues: &[QueueName], lists: &[List]) -> Vec<u8> {
    let texts = |texts: &mut dyn Iterator<Item = &str>| Value::List(texts.map(Value::from).collect());
    json::to_bytes(&Value::Map(vec![
        ("worker".into(), Value::from(worker)),
        ("queues".into(), texts(&mut queues.iter().map(QueueName::as_str))),
        ("lists".into(), texts(&mut lists.iter().map(|list| &*list.key))),
        ("tails".into(), texts(&mut lists.iter().map(|list| &*list.tail))),
    ]))
}

struct RedisConsumer {
    consuming: Arc<Consuming>,
    /// A claim that nobody has waited for to the end.
    claiming: Option<JoinHandle<Result<Claimed>>>,
    /// What was taken and not asked for yet.
    ready: VecDeque<Delivery>,
}

#[async_trait]
impl Consumer for RedisConsumer {
    async fn fetch(&mut self, limit: usize) -> Result<Vec<Delivery>> {
        let limit = limit.max(1);
        let mut changes = self.consuming.lending.changes();
        let mut listening: Option<Listening> = None;
        loop {
            if changes.borrow_and_update().closed {
                return Err(Error::Closed);
            }
            if !self.ready.is_empty() {
                let taken = self.ready.drain(..limit.min(self.ready.len())).collect();
                return Ok(taken);
            }
            let room = self.consuming.prefetch.saturating_sub(self.consuming.lending.len());
            if room == 0 && self.claiming.is_none() {
                // It fails only if the settler is gone, and it lives in the same value.
                let _ = changes.changed().await;
                continue;
            }
            let claimed = self.claim(limit.min(room).min(LARGEST_CLAIM)).await?;
            if !claimed.deliveries.is_empty() {
                self.ready.extend(claimed.deliveries);
                continue;
            }
            // Nothing there: ask to be told, look once more, and wait.
            match &listening {
                None => {
                    listening = Some(self.listen().await?);
                    continue;
                }
                Some(listening) => {
                    tokio::select! {
                        () = listening.changed() => {}
                        () = self.sleep(claimed.next_event) => {}
                        _ = changes.changed() => {}
                    }
                    // A change is told once; what comes after the next look must be told too.
                    self.consuming.shared.pushes.again(listening).await?;
                }
            }
        }
    }
}

impl RedisConsumer {
    /// Claims what is there, in a task of its own: what it takes is not lost when the caller stops waiting.
    async fn claim(&mut self, limit: usize) -> Result<Claimed> {
        let claiming = self.claiming.get_or_insert_with(|| {
            let consuming = Arc::clone(&self.consuming);
            self.consuming.shared.io.spawn(async move { consuming.claim(limit).await })
        });
        let claimed = claiming.await;
        self.claiming = None;
        claimed.unwrap_or(Err(Error::Closed))
    }

    async fn listen(&self) -> Result<Listening> {
        let shared = &self.consuming.shared;
        let lists = self.consuming.lists.iter().map(|list| Topic::Key(list.key.as_str().into()));
        let topics = lists.chain([Topic::Key(shared.keys.named("wake").into())]).collect();
        shared.pushes.listen(topics).await
    }

    /// Waits until this long from when the server said so.
    async fn sleep(&self, time: Option<Duration>) {
        let clock = &self.consuming.shared.options.clock;
        match time {
            Some(time) => clock.sleep_until(clock.now().saturating_add(time)).await,
            None => std::future::pending().await,
        }
    }
}
