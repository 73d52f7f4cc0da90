//! Sends what has been written of tasks, and says how the worker is.

use std::sync::Arc;
use std::time::Duration;

use celeriac_protocol::events::{self, EventList, Sender};
use celeriac_protocol::{Message, Value, key};
use celeriac_store::clock::Clock;
use celeriac_store::{Broadcasts, Error};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::Inbox;
use crate::control::{Inquirer, LogicalClock};
use crate::trouble::{Asker, Trouble};

/// How long the last words of a worker may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often the log is told of events that are dropped.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The group of the events of tasks.
const TASK: &str = "task";

/// How much a worker has to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many tasks run.
    pub active: usize,
    /// How many have started since it began.
    pub started: u64,
}

/// Sends the events of one worker.
pub(crate) struct Dispatcher {
    pub(crate) broadcasts: Arc<dyn Broadcasts>,
    /// The setting `event_exchange`.
    pub(crate) exchange: String,
    pub(crate) sender: Sender,
    /// How often it says that it lives; `None` for never.
    pub(crate) heartbeat: Option<Duration>,
    pub(crate) logical: LogicalClock,
    pub(crate) clock: Clock,
    pub(crate) inquirer: Inquirer,
    pub(crate) inbox: Inbox,
    /// Asks for a heartbeat now.
    pub(crate) bell: Arc<Notify>,
    pub(crate) trouble: Trouble,
}

/// One message, and how many events it has.
struct Outgoing {
    message: Message,
    events: u64,
}

/// What the log is told, and of what.
struct Log {
    /// The store is away.
    asker: Asker,
    /// There was no room for these events.
    dropped: Dropped,
    /// The store has refused these for their size.
    too_large: Dropped,
}

impl Log {
    fn new(trouble: &Trouble) -> Self {
        let (dropped, too_large) = (Dropped::default(), Dropped::default());
        Self { asker: trouble.asker("events are not sent"), dropped, too_large }
    }

    fn dropped(&mut self, events: u64) {
        if let Some(dropped) = self.dropped.add(events) {
            tell_dropped(dropped);
        }
    }

    fn too_large(&mut self, events: u64, error: &Error) {
        if let Some(dropped) = self.too_large.add(events) {
            tracing::warn!(dropped, %error, "{TOO_LARGE}");
        }
    }

    /// Nothing more comes: tells what was not told yet.
    fn end(&mut self) {
        if let Some(dropped) = self.dropped.rest() {
            tell_dropped(dropped);
        }
        if let Some(dropped) = self.too_large.rest() {
            tracing::warn!(dropped, "{TOO_LARGE}");
        }
    }
}

const TOO_LARGE: &str = "events were dropped: they are larger than the store takes";

fn tell_dropped(dropped: u64) {
    tracing::warn!(
        dropped,
        "events of tasks were dropped: there are more than event_rate_limit allows, or than can be sent"
    );
}

/// What the log is told of events that are dropped: at once, and from then on what has come together.
#[derive(Debug, Default)]
struct Dropped {
    untold: u64,
    told: Option<Instant>,
}

impl Dropped {
    /// So many more were dropped. Says of how many the log is told now, if of any.
    fn add(&mut self, dropped: u64) -> Option<u64> {
        self.untold += dropped;
        if self.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        let now = self.rest()?;
        self.told = Some(Instant::now());
        Some(now)
    }

    /// How many the log was not told of yet, if any.
    fn rest(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.untold)).filter(|untold| *untold > 0)
    }
}

impl Dispatcher {
    /// Sends until the loop has ended, and then its last words.
    pub(crate) async fn run(self) {
        let mut log = Log::new(&self.trouble);
        self.say_of_worker("worker-online", &mut log).await;
        let every = self.heartbeat.unwrap_or(Duration::from_secs(3600));
        let mut beat = interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // However much happens to tasks: who hears nothing of the worker takes it to be gone.
                biased;
                _ = beat.tick(), if self.heartbeat.is_some() => self.say_of_worker("worker-heartbeat", &mut log).await,
                () = self.bell.notified() => self.say_of_worker("worker-heartbeat", &mut log).await,
                next = self.inbox.next() => match next {
                    Some(lists) => {
                        self.send(lists, &mut log).await;
                        log.dropped(self.inbox.take_dropped());
                    }
                    None => break,
                },
            }
        }
        log.dropped(self.inbox.take_dropped());
        log.end();
        let _ = timeout(LAST_WORDS, self.say_of_worker("worker-offline", &mut log)).await;
    }

    /// Sends events of tasks, and finds out whether anybody listens.
    async fn send(&self, lists: Vec<EventList>, log: &mut Log) {
        let outgoing = lists.into_iter().map(|list| {
            let events = list.len() as u64;
            Outgoing { message: list.into_message(&self.sender), events }
        });
        let is_heard = self.broadcast(&events::routing_key_of_many(TASK), outgoing.collect(), log).await;
        self.inbox.found(is_heard);
    }

    /// Says how the worker is.
    ///
    /// Source: `Heart._send`, `celery/worker/heartbeat.py`, Celery 5.7.0.
    async fn say_of_worker(&self, kind: &str, log: &mut Log) {
        let Some(every) = self.heartbeat else { return };
        let load = self.inquirer.load().await.unwrap_or_default();
        let mut list = EventList::default();
        let float = |value: f64| Value::Float(value);
        list.add(kind, &self.sender, self.logical.forward(), self.clock.now())
            .value(key!("freq"), &float(every.as_secs_f64()))
            .value(key!("active"), &Value::from(load.active as u64))
            .value(key!("processed"), &Value::from(load.started))
            .value(key!("loadavg"), &Value::List(load_average().map(float).to_vec()))
            .text(key!("sw_ident"), "celeriac")
            .text(key!("sw_ver"), env!("CARGO_PKG_VERSION"))
            .text(key!("sw_sys"), &system())
            .end();
        let outgoing = Outgoing { message: list.into_single_message(&self.sender), events: 1 };
        self.broadcast(&events::routing_key(kind), vec![outgoing], log).await;
    }

    /// Sends messages, and says whether anybody listens; tried again where the store is away, while what happens waits, or
    /// is dropped, and what did arrive is sent twice. A message that the store refuses for its size is dropped, and counted
    /// where somebody listens.
    async fn broadcast(&self, routing_key: &str, outgoing: Vec<Outgoing>, log: &mut Log) -> bool {
        let (mut parts, mut is_heard) = (vec![outgoing], self.inbox.is_heard());
        while let Some(part) = parts.pop() {
            let messages = part.iter().map(|outgoing| outgoing.message.clone()).collect();
            match self.broadcasts.broadcast_all(&self.exchange, routing_key, messages).await {
                Ok(heard) => {
                    log.asker.worked();
                    is_heard = heard;
                }
                Err(Error::Closed) => return false,
                Err(Error::TooLarge { .. }) if part.len() > 1 => {
                    let mut first = part;
                    let second = first.split_off(first.len() / 2);
                    parts.extend([second, first]);
                }
                Err(error @ Error::TooLarge { .. }) => {
                    // Where nobody was known to listen, the next one finds out whether somebody does.
                    if is_heard {
                        let events = part.iter().map(|outgoing| outgoing.events).sum();
                        self.inbox.lost(events);
                        log.too_large(events, &error);
                    }
                }
                Err(error) => {
                    parts.push(part);
                    log.asker.pause(&error).await;
                }
            }
        }
        is_heard
    }
}

/// The load of the machine over one, five and fifteen minutes; zeros where it does not tell.
fn load_average() -> [f64; 3] {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let mut numbers = text.split(' ').map_while(|number| number.parse().ok());
    [(); 3].map(|()| numbers.next().unwrap_or_default())
}

/// The name of the system, such as `Linux`.
fn system() -> String {
    rustix::system::uname().sysname().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
