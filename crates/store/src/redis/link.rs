//! A connection that comes back by itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::dial::{Connection, connect};
use super::door::Door;
use super::failure::{ends_connection, translate};
use super::io::Io;
use super::lock;
use super::target::Target;
use crate::{Error, Result};

/// A connection on which nothing comes for so long while somebody waits for an answer is compared with a new one.
pub(super) const SILENCE: Duration = Duration::from_millis(1500);
/// What both have been asked is answered on the old one first; this is left for that.
const GRACE: Duration = Duration::from_millis(100);

/// One connection to the server for any number of callers, made when it is first needed and again whenever it breaks.
pub(super) struct Link {
    target: Arc<Target>,
    io: Handle,
    deadline: Duration,
    /// What it is for, in the log.
    purpose: &'static str,
    /// Shared by all links of a store.
    door: Arc<Door>,
    setup: Setup,
    current: Mutex<Current>,
}

/// How a connection is made ready for use.
pub(super) struct Setup {
    config: Box<dyn Fn() -> AsyncConnectionConfig + Send + Sync>,
    /// Asked before everything else.
    first: Option<Cmd>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { config: Box::new(AsyncConnectionConfig::new), first: None }
    }
}

impl Setup {
    pub(super) fn new(
        config: impl Fn() -> AsyncConnectionConfig + Send + Sync + 'static,
        first: Cmd,
    ) -> Self {
        Self { config: Box::new(config), first: Some(first) }
    }
}

#[derive(Default)]
struct Current {
    connection: Option<Connection>,
    /// How many connections there were.
    number: u64,
    /// Since when there has been none, after there was one or should have been.
    lost: Option<Instant>,
    /// Why there is none.
    trouble: Option<Error>,
}

/// One question to the server.
pub(super) enum Request {
    Command(Cmd),
    Pipeline(Pipeline),
    /// To these channels.
    Subscribe(Vec<String>),
    /// To the channels that match these patterns.
    SubscribeToPatterns(Vec<String>),
    Unsubscribe(Vec<String>),
    UnsubscribeFromPatterns(Vec<String>),
}

impl From<Cmd> for Request {
    fn from(command: Cmd) -> Self {
        Self::Command(command)
    }
}

impl From<Pipeline> for Request {
    fn from(pipeline: Pipeline) -> Self {
        Self::Pipeline(pipeline)
    }
}

impl Link {
    pub(super) fn new(
        target: &Arc<Target>,
        io: &Io,
        deadline: Duration,
        purpose: &'static str,
        door: &Arc<Door>,
    ) -> Self {
        Self {
            target: Arc::clone(target),
            io: io.handle().clone(),
            deadline,
            purpose,
            door: Arc::clone(door),
            setup: Setup::default(),
            current: Mutex::default(),
        }
    }

    /// Makes its connections ready in another way.
    pub(super) fn with(self, setup: Setup) -> Self {
        Self { setup, ..self }
    }

    /// Asks the server; `operation` says what for.
    ///
    /// # Errors
    /// Within the deadline. After a transient one nobody knows whether the server did it.
    pub(super) async fn ask(&self, operation: &'static str, request: impl Into<Request>) -> Result<Value> {
        self.ask_again(operation, &request.into()).await.map_err(|refusal| match refusal {
            Refusal::NoScript => self.failed("the server knows no such script".to_owned()),
            Refusal::Other(error) => error,
        })
    }

    /// As [`Link::ask`], for a request that may be asked again when the server has forgotten a script.
    pub(super) async fn ask_again(
        &self,
        operation: &'static str,
        request: &Request,
    ) -> std::result::Result<Value, Refusal> {
        let ends = Instant::now() + self.deadline;
        let (mut connection, number) = match timeout_at(ends, self.connection()).await {
            Ok(connection) => connection?,
            Err(_) => return Err(self.why_not_connected(operation).into()),
        };
        self.door.count_round_trip();
        let replaced = self.until_replaced(connection.clone(), number);
        let answer = async {
            match request {
                Request::Command(command) => command.query_async(&mut *connection).await,
                Request::Pipeline(pipeline) => pipeline.query_async(&mut *connection).await,
                Request::Subscribe(channels) => connection.subscribe(channels).await.map(|()| Value::Okay),
                Request::SubscribeToPatterns(patterns) => {
                    connection.psubscribe(patterns).await.map(|()| Value::Okay)
                }
                Request::Unsubscribe(channels) => {
                    connection.unsubscribe(channels).await.map(|()| Value::Okay)
                }
                Request::UnsubscribeFromPatterns(patterns) => {
                    connection.punsubscribe(patterns).await.map(|()| Value::Okay)
                }
            }
        };
        let answer = tokio::select! {
            biased;
            answer = timeout_at(ends, answer) => answer,
            after = replaced => return Err(self.timed_out(operation, after).into()),
        };
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_no_script(&error) => Err(Refusal::NoScript),
            Ok(Err(error)) => {
                let translated = translate(&error, &self.target);
                if ends_connection(&error) {
                    self.discard(number, &translated);
                }
                Err(translated.into())
            }
            Err(_) => {
                // Half open, perhaps: the next caller tries another.
                let error = self.timed_out(operation, self.deadline);
                self.discard(number, &error);
                Err(error.into())
            }
        }
    }

    /// Which connection there is, counted from 1, or 0.
    pub(super) fn number(&self) -> u64 {
        self.current().map_or(0, |(_, number)| number)
    }

    /// The connection, made if there is none.
    async fn connection(&self) -> Result<(Connection, u64)> {
        if let Some(current) = self.current() {
            return Ok(current);
        }
        let mut attempts = self.door.approach().await;
        loop {
            // Somebody else may have been let in meanwhile.
            if let Some(current) = self.current() {
                return Ok(current);
            }
            attempts.begin().await;
            match self.connect().await {
                Ok(connection) => return Ok(self.install(connection, attempts.succeeded())),
                // Asking again will not change this.
                Err(error @ Error::Misconfigured { .. }) => return Err(error),
                Err(error) => {
                    let (store, purpose) = (self.url(), self.purpose);
                    tracing::debug!(store, purpose, %error, "cannot connect; trying again");
                    let mut current = lock(&self.current);
                    current.lost.get_or_insert_with(Instant::now);
                    current.trouble = Some(error);
                }
            }
        }
    }

    /// Connects for the first time. Gives up a quarter of the deadline early, so that whoever has set the deadline hears
    /// what is wrong and not that the time is over.
    pub(super) async fn connect_first(&self) -> Result<()> {
        let ends = Instant::now() + self.deadline / 4 * 3;
        let mut attempts = self.door.approach().await;
        while self.current().is_none() {
            attempts.begin().await;
            match self.connect().await {
                Ok(connection) => drop(self.install(connection, attempts.succeeded())),
                Err(error) if !error.is_transient() || Instant::now() >= ends => return Err(error),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether there is a connection that works, as far as is known.
    #[cfg(test)]
    pub(super) fn is_open(&self) -> bool {
        self.number() > 0
    }

    /// The connection that there is. One that has ended meanwhile is forgotten, before anything is asked on it: servers,
    /// and what stands before them, close what nobody has used for a while.
    fn current(&self) -> Option<(Connection, u64)> {
        let mut current = lock(&self.current);
        if current.connection.as_ref().is_some_and(|connection| !connection.is_open()) {
            let reason = "the connection was closed".to_owned();
            let closed = Error::Unreachable { url: self.target.url().to_owned(), reason };
            *current =
                Current { lost: Some(Instant::now()), trouble: Some(closed), connection: None, ..*current };
        }
        current.connection.clone().map(|connection| (connection, current.number))
    }

    /// From here on everybody uses this connection. One line for each time that one was lost, with why and for how long.
    fn install(&self, connection: Connection, failures: u32) -> (Connection, u64) {
        let mut current = lock(&self.current);
        let before = std::mem::take(&mut *current);
        let number = before.number + 1;
        *current = Current { connection: Some(connection.clone()), number, ..Current::default() };
        drop(current);
        if let Some(lost) = before.lost {
            let (store, purpose, away) = (self.url(), self.purpose, lost.elapsed());
            let cause = before.trouble.map_or_else(String::new, |cause| cause.to_string());
            tracing::info!(store, purpose, ?away, failures, cause, "connected again");
        }
        (connection, number)
    }

    /// One attempt.
    async fn connect(&self) -> Result<Connection> {
        let Setup { config, first } = &self.setup;
        let mut connection = connect(&self.target, &self.io, config(), self.deadline).await?;
        if let Some(first) = first {
            let asking = first.exec_async(&mut *connection);
            match tokio::time::timeout(SILENCE, asking).await {
                Ok(answered) => answered.map_err(|error| translate(&error, &self.target))?,
                Err(_) => return Err(self.timed_out("connect", SILENCE)),
            }
        }
        Ok(connection)
    }

    /// Waits until another connection has taken the place of this one, on which an answer is awaited from now on; says
    /// for how long that was. That happens when nothing comes on this one, and a new one is answered: then the server
    /// is there, and what was asked or answered is lost on the way. A server that is only busy answers neither.
    async fn until_replaced(&self, connection: Connection, number: u64) -> Duration {
        let asked = Instant::now();
        loop {
            let silent_since = connection.last_heard().max(asked);
            sleep_until(silent_since + SILENCE).await;
            if connection.last_heard() > silent_since {
                continue;
            }
            let mut attempts = self.door.approach().await;
            if self.number() != number {
                return asked.elapsed();
            }
            attempts.begin().await;
            let Ok(other) = self.connect().await else { continue };
            sleep(GRACE).await;
            if connection.last_heard() > silent_since {
                attempts.succeeded();
                continue;
            }
            self.discard(number, &self.timed_out("an answer", silent_since.elapsed()));
            self.install(other, attempts.succeeded());
            return asked.elapsed();
        }
    }

    /// Forgets a connection that does not work, unless another has taken its place.
    fn discard(&self, number: u64, error: &Error) {
        let mut current = lock(&self.current);
        if current.number == number && current.connection.take().is_some() {
            current.lost = Some(Instant::now());
            current.trouble = Some(error.clone());
        }
    }

    /// Where it leads, without the password.
    pub(super) fn url(&self) -> &str {
        self.target.url()
    }

    fn why_not_connected(&self, operation: &'static str) -> Error {
        lock(&self.current).trouble.clone().unwrap_or_else(|| self.timed_out(operation, self.deadline))
    }

    fn timed_out(&self, operation: &'static str, after: Duration) -> Error {
        Error::Timeout { operation, url: self.target.url().to_owned(), after }
    }

    /// An error for several questions that belong on one connection.
    pub(super) fn replaced(&self) -> Error {
        let reason = "the connection was lost meanwhile".to_owned();
        Error::Unreachable { url: self.target.url().to_owned(), reason }
    }

    /// An error for an answer that makes no sense.
    pub(super) fn failed(&self, reason: String) -> Error {
        Error::Failed { url: self.target.url().to_owned(), reason }
    }
}

/// Why a request was not answered.
pub(super) enum Refusal {
    /// The server does not know the script, and has done nothing.
    NoScript,
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

fn is_no_script(error: &redis::RedisError) -> bool {
    matches!(error.kind(), redis::ErrorKind::Server(redis::ServerErrorKind::NoScript))
}
