//! The input half of a subscription: it waits without polling, then claims in one step.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use celeriac_protocol::{QueueName, Timestamp, Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Shared;
use super::claim::{Claim, Claimed};
use super::lease::RedisLease;
use super::lending::{Changes, Lending};
use super::pushes::{Listening, Topic};
use super::script::MOVE;
use super::settle::RedisSettler;
use crate::{ConsumeOptions, Consumer, Delivery, DeliveryTag, Error, QueueOrder, Result, Subscription};

/// The most messages that one script takes: while it runs, the server does nothing else. More at once would also leave the
/// processor's cache between the steps of the script, which makes each message dearer.
const LARGEST_CLAIM: usize = 500;

/// So many consumers look within one millisecond of each other when all of them are told of a message.
const CROWD_PER_MILLISECOND: u64 = 20;

/// A started consumer, as its three parts share it.
pub(super) struct Consuming {
    pub shared: Arc<Shared>,
    /// Names it for ever.
    pub id: String,
    pub lease: Duration,
    pub prefetch: usize,
    worker: String,
    places: Mutex<Arc<Places>>,
    pub lending: Lending,
    /// Held while a claim is on its way.
    pub claim: tokio::sync::Mutex<Claim>,
    /// Which queue has its turn first.
    turn: AtomicUsize,
    /// Whether the server has known it.
    begun: AtomicBool,
}

/// Where a consumer takes from, and has taken from.
pub(super) struct Places {
    /// All its lists. None ever goes, because deliveries know where they came from by its place here.
    pub lists: Vec<List>,
    /// The places of those that it takes from: what is taken from first before the rest, queue by queue within each step.
    order: Vec<usize>,
    /// How many queues it takes from.
    queues: usize,
    /// What the server must know to give its deliveries back, as JSON.
    pub record: Vec<u8>,
}

impl Places {
    /// These queues, beside what there was before.
    fn new(shared: &Shared, worker: &str, mut queues: Vec<QueueName>, mut lists: Vec<List>) -> Self {
        if shared.options.redis.queue_order_strategy == QueueOrder::Sorted {
            queues.sort_unstable();
        }
        let mut order = Vec::new();
        for step in shared.keys.steps() {
            for queue in &queues {
                let key = shared.keys.list(queue, *step);
                let place = lists.iter().position(|list| list.key == key).unwrap_or_else(|| {
                    let name =
                        String::from_utf8_lossy(&json::to_bytes(&Value::from(queue.as_str()))).into_owned();
                    lists.push(List { key, queue: queue.clone(), tail: format!(", \"\", {name}]") });
                    lists.len() - 1
                });
                order.push(place);
            }
        }
        let record = record(worker, &queues, &lists);
        Self { lists, order, queues: queues.len(), record }
    }

    /// The lists that are taken from, with their places, when this queue has its turn first.
    pub(super) fn in_turn(&self, turn: usize) -> impl ExactSizeIterator<Item = (usize, &List)> + Clone {
        let queues = self.queues.max(1);
        let at_turn = move |at: usize| at / queues * queues + (at + turn) % queues;
        (0..self.order.len()).map(move |at| {
            let place = self.order[at_turn(at)];
            (place, &self.lists[place])
        })
    }

    /// The queues that are taken from.
    fn queues(&self) -> Vec<QueueName> {
        self.order.iter().take(self.queues).map(|place| self.lists[*place].queue.clone()).collect()
    }
}

/// One list of one queue.
#[derive(Clone)]
pub(super) struct List {
    pub key: String,
    pub queue: QueueName,
    /// What follows a message of it in `unacked`: the exchange and the routing key by which anybody finds the queue again.
    pub tail: String,
}

impl Consuming {
    /// Where it takes from now, and has taken from.
    pub(super) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Which queue has its turn first.
    pub(super) fn turn(&self) -> usize {
        self.turn.load(Ordering::Relaxed)
    }

    /// Takes from these queues from now on. The server knows the new lists before anything is taken from them.
    async fn take_from(&self, mut queues: Vec<QueueName>) -> Result<()> {
        only_once(&mut queues);
        self.shared.declare_again(&queues).await?;
        let places = Places::new(&self.shared, &self.worker, queues, self.places().lists.clone());
        let mut call = self.shared.plain_script(&MOVE);
        call.arg(&self.id).arg(&places.record[..]);
        call.run("consume", &self.shared.link).await?;
        *self.places.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(places);
        Ok(())
    }

    /// The next queue goes first, if the queues take turns.
    pub(super) fn pass_turn(&self) {
        if self.shared.options.redis.queue_order_strategy == QueueOrder::RoundRobin {
            self.turn.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The server knew nothing of this consumer any more, and perhaps of nothing: it may be empty. `newest` is the last delivery
    /// that was here before the server was asked; it may have given others since, on another connection.
    pub(super) fn was_forgotten(&self, newest: Option<DeliveryTag>) {
        self.lending.forget_until(newest);
        if !self.begun.swap(true, Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let queues = self.places().queues();
        drop(self.shared.io.spawn(async move {
            if let Err(error) = shared.declare_again(&queues).await {
                tracing::warn!(%error, "the queues could not be declared again");
            }
        }));
    }

    /// A lease in microseconds, as scripts take it.
    pub(super) fn lease_micros(&self) -> u64 {
        u64::try_from(self.lease.as_micros()).unwrap_or(u64::MAX)
    }
}

/// Starts a consumer.
pub(super) async fn start(shared: &Arc<Shared>, options: ConsumeOptions) -> Result<Subscription> {
    let ConsumeOptions { mut queues, prefetch, lease, worker } = options;
    only_once(&mut queues);
    shared.declare_again(&queues).await?;
    let places = Places::new(shared, &worker, queues, Vec::new());
    let consuming = Arc::new(Consuming {
        shared: Arc::clone(shared),
        id: fresh_id(),
        lease,
        prefetch: prefetch.max(1),
        worker,
        places: Mutex::new(Arc::new(places)),
        lending: Lending::new(),
        claim: tokio::sync::Mutex::default(),
        turn: AtomicUsize::new(0),
        begun: AtomicBool::new(false),
    });
    let subscription = Subscription {
        settler: Arc::new(RedisSettler { consuming: Arc::clone(&consuming) }),
        lease: Arc::new(RedisLease { consuming: Arc::clone(&consuming) }),
        consumer: Box::new(RedisConsumer::new(consuming)),
    };
    subscription.lease.renew().await?;
    // Whoever may not listen learns it now, and not when there is nothing to take.
    shared.pushes.listen(vec![Topic::Channel(shared.keys.named("wake").into())]).await?;
    Ok(subscription)
}

fn only_once(queues: &mut Vec<QueueName>) {
    let mut seen = HashSet::new();
    queues.retain(|queue| seen.insert(queue.clone()));
}

/// A name that nobody has had or will have. It is part of every tag, so it is short: 128 bits in base 36.
fn fresh_id() -> String {
    let mut left = uuid::Uuid::new_v4().as_u128();
    let mut id = String::new();
    while left > 0 {
        id.extend(char::from_digit((left % 36) as u32, 36));
        left /= 36;
    }
    id
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
    /// Whether there may be something to take, whatever the lists say.
    look: bool,
    /// When something happens that no key tells of.
    next_event: Option<Timestamp>,
    /// How many consumers there were at the last claim.
    crowd: u64,
    /// Tells of changes of the lists.
    lists: Option<Listening>,
    /// Tells that the next event comes sooner than was said.
    wake: Option<Listening>,
}

#[async_trait]
impl Consumer for RedisConsumer {
    async fn fetch(&mut self, limit: usize) -> Result<Vec<Delivery>> {
        let limit = limit.max(1);
        let mut changes = self.consuming.lending.changes();
        loop {
            if changes.borrow_and_update().closed {
                return Err(Error::Closed);
            }
            if !self.ready.is_empty() {
                return Ok(self.ready.drain(..limit.min(self.ready.len())).collect());
            }
            let room = self.consuming.prefetch.saturating_sub(self.consuming.lending.len());
            if self.claiming.is_none() {
                if room == 0 {
                    // It fails only if the settler is gone, and it lives in the same value.
                    let _ = changes.changed().await;
                    continue;
                }
                if !self.look {
                    self.listen_for_wake().await?;
                }
                if !self.look && !self.lists_hold_something().await? {
                    self.wait(&mut changes).await;
                    continue;
                }
            }
            self.claim(limit.min(room).min(LARGEST_CLAIM)).await?;
        }
    }

    async fn consume_from(&mut self, queues: Vec<QueueName>) -> Result<()> {
        // An answer that was not heard names places that were taken from then.
        if self.claiming.is_some() || self.consuming.claim.lock().await.is_unheard() {
            self.claim(1).await?;
        }
        self.consuming.take_from(queues).await?;
        (self.lists, self.look) = (None, true);
        Ok(())
    }
}

impl RedisConsumer {
    fn new(consuming: Arc<Consuming>) -> Self {
        Self {
            consuming,
            claiming: None,
            ready: VecDeque::new(),
            look: true,
            next_event: None,
            crowd: 0,
            lists: None,
            wake: None,
        }
    }

    /// Claims what is there, in a task of its own: what it takes is not lost when the caller stops waiting.
    async fn claim(&mut self, limit: usize) -> Result<()> {
        // After an error too: what a claim took whose answer was not heard is in no list.
        self.look = true;
        let claiming = self.claiming.get_or_insert_with(|| {
            let consuming = Arc::clone(&self.consuming);
            self.consuming.shared.io.spawn(async move { consuming.claim(limit).await })
        });
        let claimed = claiming.await;
        self.claiming = None;
        let claimed = claimed.unwrap_or(Err(Error::Closed))?;
        self.look = claimed.deliveries.len() >= limit;
        let clock = &self.consuming.shared.options.clock;
        self.next_event = claimed.next_event.map(|time| clock.now().saturating_add(time));
        self.crowd = claimed.crowd;
        self.ready.extend(claimed.deliveries);
        Ok(())
    }

    /// From when this returns, every change of a list is told; says whether any holds something now.
    async fn lists_hold_something(&mut self) -> Result<bool> {
        let pushes = &self.consuming.shared.pushes;
        let lists = self.lists.get_or_insert_with(|| {
            let places = self.consuming.places();
            let keys = places.in_turn(0).map(|(_, list)| Topic::Key(list.key.as_str().into()));
            pushes.interest(keys.collect())
        });
        if self.consuming.places().queues == 0 {
            return Ok(false);
        }
        pushes.any_exists(lists).await
    }

    /// Before the claim that says when the next event is, so that no change of that is missed.
    async fn listen_for_wake(&mut self) -> Result<()> {
        if self.wake.is_none() {
            let shared = &self.consuming.shared;
            let wake = Topic::Channel(shared.keys.named("wake").into());
            self.wake = Some(shared.pushes.listen(vec![wake]).await?);
            self.look = true;
        }
        Ok(())
    }

    /// Waits until there may be something.
    async fn wait(&mut self, changes: &mut watch::Receiver<Changes>) {
        let (Some(lists), Some(wake)) = (&self.lists, &self.wake) else { return };
        let next_event = async {
            match self.next_event {
                Some(moment) => self.consuming.shared.options.clock.sleep_until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = lists.changed() => step_aside(self.crowd).await,
            // The connection may have broken: the channel is subscribed anew.
            () = wake.changed() => self.wake = None,
            () = next_event => self.look = true,
            _ = changes.changed() => {}
        }
    }
}

/// Where many wait, all are told of one message. Some look a little later than others, and find that it is gone.
async fn step_aside(crowd: u64) {
    let longest = crowd / CROWD_PER_MILLISECOND;
    if longest > 0 {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..=longest))).await;
    }
}
