//! What the server says unasked: that a key has changed, and what is published on a channel.
//!
//! A consumer that finds nothing asks here to hear of the next change of its lists, and looks again when it comes. The
//! server does this for any number of keys on one connection (`CLIENT TRACKING`, Redis 6), takes nothing out of a list for
//! it, and tells no one else: it remembers the keys that this connection has read and says once that each has changed.
//! ARCHITECTURE.md compares it with the other ways to wait.
//!
//! No change is missed: first the server is asked to tell, then the keys are looked at, and only then somebody waits.
//! When the connection breaks, everybody who waits is woken, looks, and asks anew.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, cmd};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::io::Io;
use super::link::{Link, Request as Question, Setup};
use super::lock;
use super::script::read;
use crate::inbox::{Inbox, Sender, inbox};
use crate::{Error, Result};

/// How often an idle connection is tried, so that a half-open one is noticed, and work goes on within 5 seconds.
pub(super) const PING_EVERY: Duration = Duration::from_secs(2);
/// How many requests are taken into one round trip.
const BATCH: usize = 256;

/// The connection on which the server speaks unasked. Made when it is first needed.
pub(super) struct Pushes {
    requests: mpsc::UnboundedSender<Request>,
    board: Arc<Board>,
}

/// What somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// A change of this key.
    Key(Box<str>),
    /// A message on this channel.
    Channel(Box<str>),
    /// A message on a channel that matches this pattern.
    Pattern(Box<str>),
}

impl Topic {
    fn name(&self) -> &str {
        match self {
            Self::Key(name) | Self::Channel(name) | Self::Pattern(name) => name,
        }
    }
}

/// Asks the server to tell of topics.
struct Request {
    topics: Vec<Topic>,
    reply: oneshot::Sender<Result<bool>>,
}

impl Request {
    fn names_keys(&self) -> bool {
        self.topics.iter().any(|topic| matches!(topic, Topic::Key(_)))
    }
}

/// Who waits for what.
#[derive(Default)]
struct Board {
    waiting: Mutex<HashMap<Topic, HashMap<u64, Ear>>>,
    last: AtomicU64,
}

/// How to reach somebody who waits.
#[derive(Clone, Default)]
struct Ear {
    /// Told of news, and when the connection is gone.
    notify: Arc<Notify>,
    /// Takes what is published, which is no news for `notify` then.
    inbox: Option<Sender<Vec<u8>>>,
}

/// An interest in topics, until it is dropped.
pub(super) struct Listening {
    topics: Vec<Topic>,
    number: u64,
    notify: Arc<Notify>,
    board: Arc<Board>,
}

impl Listening {
    /// Waits until one of the topics has news since this began, or since the last time. Cancel safe.
    pub(super) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut waiting = lock(&self.board.waiting);
        for topic in &self.topics {
            if let Some(listeners) = waiting.get_mut(topic) {
                listeners.remove(&self.number);
                if listeners.is_empty() {
                    waiting.remove(topic);
                }
            }
        }
    }
}

/// What is published on one channel, until it is dropped.
pub(super) struct Subscribed {
    listening: Listening,
    inbox: Inbox<Vec<u8>>,
    /// Whether the server must be asked again to tell of it.
    is_lost: bool,
}

impl Board {
    fn listen(self: &Arc<Self>, topics: Vec<Topic>, inbox: Option<Sender<Vec<u8>>>) -> Listening {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let ear = Ear { inbox, ..Ear::default() };
        let mut waiting = lock(&self.waiting);
        for topic in &topics {
            waiting.entry(topic.clone()).or_default().insert(number, ear.clone());
        }
        drop(waiting);
        Listening { topics, number, notify: ear.notify, board: Arc::clone(self) }
    }

    fn tell(&self, topic: &Topic) {
        if let Some(listeners) = lock(&self.waiting).get(topic) {
            listeners.values().for_each(|ear| ear.notify.notify_one());
        }
    }

    fn tell_all(&self) {
        lock(&self.waiting).values().flat_map(HashMap::values).for_each(|ear| ear.notify.notify_one());
    }

    /// Hands what was published to those who take it, and tells the others that something was.
    fn pass_on(&self, topic: &Topic, published: Option<&Value>) {
        let waiting = lock(&self.waiting);
        let Some(listeners) = waiting.get(topic) else { return };
        for ear in listeners.values() {
            match (&ear.inbox, published) {
                (Some(inbox), Some(Value::BulkString(bytes))) => {
                    inbox.put(bytes.len(), topic.name(), || bytes.clone());
                }
                (Some(_), _) => {}
                (None, _) => ear.notify.notify_one(),
            }
        }
    }

    fn is_wanted(&self, topic: &Topic) -> bool {
        lock(&self.waiting).contains_key(topic)
    }

    /// What the server said.
    fn hear(&self, info: PushInfo) {
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
            Value::SimpleString(text) => Some(text.clone()),
            _ => None,
        };
        match (info.kind, &info.data[..]) {
            (PushKind::Invalidate, [Value::Array(keys), ..]) => {
                for key in keys.iter().filter_map(text) {
                    self.tell(&Topic::Key(key.into()));
                }
            }
            (PushKind::Message, [channel, published @ ..]) => {
                if let Some(channel) = text(channel) {
                    self.pass_on(&Topic::Channel(channel.into()), published.first());
                }
            }
            (PushKind::PMessage, [pattern, _channel, published @ ..]) => {
                if let Some(pattern) = text(pattern) {
                    self.pass_on(&Topic::Pattern(pattern.into()), published.first());
                }
            }
            // Everything was flushed, or the connection is gone.
            (PushKind::Invalidate | PushKind::Disconnection, _) => self.tell_all(),
            _ => {}
        }
    }
}

impl Pushes {
    /// Uses this link for what the server says unasked.
    pub(super) fn start(link: Link, io: &Io) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let board = Arc::new(Board::default());
        let heard = Arc::clone(&board);
        let config = move || {
            let board = Arc::clone(&heard);
            AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
                board.hear(info);
                Ok::<(), redis::aio::SendError>(())
            })
        };
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        let link = link.with(Setup::new(config, tracking));
        io.spawn(
            Listener { link, board: Arc::clone(&board), number: 0, channels: HashSet::new() }.run(inbox),
        );
        Self { requests, board }
    }

    /// From when this returns, every change of these topics is told.
    ///
    /// # Errors
    /// When the server cannot be reached within the deadline.
    pub(super) async fn listen(&self, topics: Vec<Topic>) -> Result<Listening> {
        let listening = self.interest(topics);
        self.again(&listening).await?;
        Ok(listening)
    }

    /// An interest in topics that the server has not been asked to tell of.
    pub(super) fn interest(&self, topics: Vec<Topic>) -> Listening {
        self.board.listen(topics, None)
    }

    /// From when this returns, all that is published on this channel, or these, comes out of [`Pushes::published`].
    ///
    /// # Errors
    /// When the server cannot be reached within the deadline.
    pub(super) async fn subscribe(&self, topic: Topic) -> Result<Subscribed> {
        let (sender, inbox) = inbox();
        let listening = self.board.listen(vec![topic], Some(sender));
        self.again(&listening).await?;
        Ok(Subscribed { listening, inbox, is_lost: false })
    }

    /// Waits for what is published next, and subscribes again where the connection was lost. Cancel safe.
    ///
    /// # Errors
    /// When the server cannot be reached within the deadline. It may be asked again.
    pub(super) async fn published(&self, subscribed: &mut Subscribed) -> Result<Vec<u8>> {
        loop {
            if subscribed.is_lost {
                self.again(&subscribed.listening).await?;
                subscribed.is_lost = false;
            }
            tokio::select! {
                biased;
                Some(published) = subscribed.inbox.next() => return Ok(published),
                () = subscribed.listening.changed() => subscribed.is_lost = true,
            }
        }
    }

    /// As [`Pushes::listen`], for an interest that was told already: a changed key is told once.
    pub(super) async fn again(&self, listening: &Listening) -> Result<()> {
        self.any_exists(listening).await.map(drop)
    }

    /// As [`Pushes::again`]; says whether any of the keys exists now.
    pub(super) async fn any_exists(&self, listening: &Listening) -> Result<bool> {
        let (reply, answer) = oneshot::channel();
        let request = Request { topics: listening.topics.clone(), reply };
        self.requests.send(request).map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}

/// The task that owns the connection.
struct Listener {
    link: Link,
    board: Arc<Board>,
    /// Which connection was told of `channels`.
    number: u64,
    /// What this connection has subscribed.
    channels: HashSet<Topic>,
}

impl Listener {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        let mut batch = Vec::new();
        loop {
            let next_ping = Instant::now() + PING_EVERY;
            let received = match self.number {
                0 => inbox.recv_many(&mut batch, BATCH).await,
                _ => tokio::select! {
                    received = inbox.recv_many(&mut batch, BATCH) => received,
                    () = tokio::time::sleep_until(next_ping) => {
                        self.ping().await;
                        continue;
                    }
                },
            };
            if received == 0 {
                return;
            }
            let had_connection = self.number != 0;
            let mut outcome = self.serve(&batch).await;
            if outcome.is_err() && had_connection {
                // Nobody had to know that it was broken.
                outcome = self.serve(&batch).await;
            }
            for (index, request) in batch.drain(..).enumerate() {
                let found = outcome.as_ref().map(|found| found.get(index).is_some_and(|count| *count > 0));
                // Who stopped waiting has no use for it.
                let _ = request.reply.send(found.map_err(Error::clone));
            }
        }
    }

    /// As [`Listener::ask`]; without a connection after a failure.
    async fn serve(&mut self, requests: &[Request]) -> Result<Vec<u64>> {
        let outcome = self.ask(requests).await;
        if outcome.is_err() {
            self.forget();
        }
        outcome
    }

    /// Asks the server to tell of all these topics; answers how many of its keys each request found.
    async fn ask(&mut self, requests: &[Request]) -> Result<Vec<u64>> {
        // A ping, where there is no connection, or another than that which was told of the channels.
        if self.number == 0 || self.link.number() != self.number {
            if self.number != 0 {
                self.forget();
            }
            self.link.ask("listen", cmd("PING")).await?;
            self.number = self.link.number();
        }
        let (mut wanted, mut exist) = (Vec::new(), redis::pipe());
        for request in requests {
            let mut exists = cmd("EXISTS");
            for topic in &request.topics {
                match topic {
                    Topic::Key(key) => {
                        exists.arg(&**key);
                    }
                    topic if self.channels.insert(topic.clone()) => wanted.push(topic.clone()),
                    _ => {}
                }
            }
            if request.names_keys() {
                exist.add_command(exists);
            }
        }
        let (channels, patterns) = by_kind(self.unwanted_channels());
        self.subscribe(channels, Question::Unsubscribe).await?;
        self.subscribe(patterns, Question::UnsubscribeFromPatterns).await?;
        let (channels, patterns) = by_kind(wanted);
        self.subscribe(channels, Question::Subscribe).await?;
        self.subscribe(patterns, Question::SubscribeToPatterns).await?;
        let found: Vec<u64> = match exist.is_empty() {
            true => Vec::new(),
            false => read(self.link.ask("listen", exist).await?, &self.link)?,
        };
        if self.link.number() != self.number {
            return Err(self.link.replaced());
        }
        let mut found = found.into_iter();
        let of = |request: &Request| if request.names_keys() { found.next().unwrap_or(0) } else { 0 };
        Ok(requests.iter().map(of).collect())
    }

    /// Begins or ends subscriptions, if there are any in question.
    async fn subscribe(&self, names: Vec<String>, how: fn(Vec<String>) -> Question) -> Result<()> {
        if !names.is_empty() {
            self.link.ask("listen", how(names)).await?;
        }
        Ok(())
    }

    /// Channels that nobody listens to any more; they are left when something else is asked.
    fn unwanted_channels(&mut self) -> Vec<Topic> {
        let board = &self.board;
        self.channels.extract_if(|topic| !board.is_wanted(topic)).collect()
    }

    /// Finds out whether the other side is still there.
    async fn ping(&mut self) {
        let answer = self.link.ask("ping", cmd("PING")).await;
        if answer.is_err() || self.link.number() != self.number {
            self.forget();
        }
    }

    /// The connection that was told of the channels is gone: everybody looks, and asks anew.
    fn forget(&mut self) {
        self.number = 0;
        self.channels.clear();
        self.board.tell_all();
    }
}

/// The names of the channels among them, and the patterns.
fn by_kind(topics: Vec<Topic>) -> (Vec<String>, Vec<String>) {
    let (mut channels, mut patterns) = (Vec::new(), Vec::new());
    for topic in topics {
        match topic {
            Topic::Channel(name) => channels.push(name.into()),
            Topic::Pattern(name) => patterns.push(name.into()),
            Topic::Key(_) => {}
        }
    }
    (channels, patterns)
}
