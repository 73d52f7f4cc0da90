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
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::dial::{Connection, connect};
use super::failure::translate;
use super::io::Io;
use super::lock;
use super::target::Target;
use crate::{Error, Result};

/// How often an idle connection is tried, so that a half-open one is noticed.
pub(super) const PING_EVERY: Duration = Duration::from_secs(3);
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
    waiting: Mutex<HashMap<Topic, HashMap<u64, Arc<Notify>>>>,
    last: AtomicU64,
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

impl Board {
    fn listen(self: &Arc<Self>, topics: Vec<Topic>) -> Listening {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        let notify = Arc::new(Notify::new());
        let mut waiting = lock(&self.waiting);
        for topic in &topics {
            waiting.entry(topic.clone()).or_default().insert(number, Arc::clone(&notify));
        }
        drop(waiting);
        Listening { topics, number, notify, board: Arc::clone(self) }
    }

    fn tell(&self, topic: &Topic) {
        if let Some(listeners) = lock(&self.waiting).get(topic) {
            listeners.values().for_each(|notify| notify.notify_one());
        }
    }

    fn tell_all(&self) {
        lock(&self.waiting).values().flat_map(HashMap::values).for_each(|notify| notify.notify_one());
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
            (PushKind::Message, [channel, ..]) => {
                if let Some(channel) = text(channel) {
                    self.tell(&Topic::Channel(channel.into()));
                }
            }
            // Everything was flushed, or the connection is gone.
            (PushKind::Invalidate | PushKind::Disconnection, _) => self.tell_all(),
            _ => {}
        }
    }
}

impl Pushes {
    pub(super) fn start(target: &Arc<Target>, io: &Io, deadline: Duration) -> Self {
        let (requests, inbox) = mpsc::unbounded_channel();
        let board = Arc::new(Board::default());
        let listener = Listener {
            target: Arc::clone(target),
            io: io.handle().clone(),
            deadline,
            board: Arc::clone(&board),
            connection: None,
            backoff: Backoff::default(),
            channels: HashSet::new(),
        };
        io.spawn(listener.run(inbox));
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
        self.board.listen(topics)
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
    target: Arc<Target>,
    io: Handle,
    deadline: Duration,
    board: Arc<Board>,
    connection: Option<Connection>,
    backoff: Backoff,
    /// What this connection has subscribed.
    channels: HashSet<Box<str>>,
}

impl Listener {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Request>) {
        let mut batch = Vec::new();
        loop {
            let next_ping = Instant::now() + PING_EVERY;
            let received = match &self.connection {
                None => inbox.recv_many(&mut batch, BATCH).await,
                Some(_) => tokio::select! {
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
            let had_connection = self.connection.is_some();
            let mut outcome = self.serve_in_time(&batch).await;
            if outcome.is_err() && had_connection {
                // Nobody had to know that it was broken.
                outcome = self.serve_in_time(&batch).await;
            }
            for (index, request) in batch.drain(..).enumerate() {
                let found = outcome.as_ref().map(|found| found.get(index).is_some_and(|count| *count > 0));
                // Who stopped waiting has no use for it.
                let _ = request.reply.send(found.map_err(Error::clone));
            }
        }
    }

    /// As [`Listener::serve`]; without a connection after a failure.
    async fn serve_in_time(&mut self, requests: &[Request]) -> Result<Vec<u64>> {
        let outcome = match timeout(self.deadline, self.serve(requests)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.timed_out("listen")),
        };
        if outcome.is_err() {
            self.disconnect();
        }
        outcome
    }

    /// Asks the server to tell of all these topics; answers how many of its keys each request found.
    async fn serve(&mut self, requests: &[Request]) -> Result<Vec<u64>> {
        let mut connection = self.connected().await?;
        let (mut channels, mut exist) = (Vec::new(), redis::pipe());
        for request in requests {
            let mut exists = cmd("EXISTS");
            for topic in &request.topics {
                match topic {
                    Topic::Key(key) => {
                        exists.arg(&**key);
                    }
                    Topic::Channel(channel) if self.channels.insert(channel.clone()) => {
                        channels.push(&**channel);
                    }
                    Topic::Channel(_) => {}
                }
            }
            if request.names_keys() {
                exist.add_command(exists);
            }
        }
        let unwanted = self.unwanted_channels();
        let failed = |error: redis::RedisError| translate(&error, &self.target);
        if !unwanted.is_empty() {
            connection.unsubscribe(&unwanted).await.map_err(failed)?;
        }
        if !channels.is_empty() {
            connection.subscribe(channels).await.map_err(failed)?;
        }
        let mut found: std::vec::IntoIter<u64> = match exist.is_empty() {
            true => Vec::new().into_iter(),
            false => exist.query_async::<Vec<u64>>(&mut *connection).await.map_err(failed)?.into_iter(),
        };
        let of = |request: &Request| if request.names_keys() { found.next().unwrap_or(0) } else { 0 };
        Ok(requests.iter().map(of).collect())
    }

    /// Channels that nobody listens to any more; they are left when something else is asked.
    fn unwanted_channels(&mut self) -> Vec<String> {
        let board = &self.board;
        self.channels
            .extract_if(|channel| !board.is_wanted(&Topic::Channel(channel.clone())))
            .map(String::from)
            .collect()
    }

    async fn connected(&mut self) -> Result<Connection> {
        if let Some(connection) = &self.connection {
            return Ok(connection.clone());
        }
        let board = Arc::clone(&self.board);
        let config = AsyncConnectionConfig::new().set_push_sender(move |info: PushInfo| {
            board.hear(info);
            Ok::<(), redis::aio::SendError>(())
        });
        self.backoff.wait().await;
        let connecting = connect(&self.target, &self.io, config, self.deadline).await;
        let mut connection = connecting.inspect_err(|_| self.backoff.failed())?;
        self.backoff = Backoff::default();
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON");
        tracking.exec_async(&mut *connection).await.map_err(|error| translate(&error, &self.target))?;
        self.channels.clear();
        self.connection = Some(connection.clone());
        Ok(connection)
    }

    /// Finds out whether the other side is still there.
    async fn ping(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        let ping = cmd("PING");
        let answer = timeout(self.deadline, ping.exec_async(&mut **connection)).await;
        if !matches!(answer, Ok(Ok(()))) {
            self.disconnect();
        }
    }

    fn disconnect(&mut self) {
        self.connection = None;
        self.channels.clear();
        self.board.tell_all();
    }

    fn timed_out(&self, operation: &'static str) -> Error {
        Error::Timeout { operation, url: self.target.url().to_owned(), after: self.deadline }
    }
}
