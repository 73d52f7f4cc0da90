//! A connection that comes back by itself.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{AsyncConnectionConfig, Cmd, Pipeline, Value};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::backoff::Backoff;
use super::dial::{Connection, connect};
use super::failure::{ends_connection, translate};
use super::io::Io;
use super::lock;
use super::target::Target;
use crate::{Error, Result};

/// One connection to the server for any number of callers, made when it is first needed and again whenever it breaks.
pub(super) struct Link {
    target: Arc<Target>,
    io: Handle,
    deadline: Duration,
    /// What it is for, in the log.
    purpose: &'static str,
    state: tokio::sync::Mutex<State>,
    /// Why there is no connection.
    trouble: Mutex<Option<Error>>,
}

#[derive(Default)]
struct State {
    connection: Option<Connection>,
    /// How many connections there were.
    number: u64,
    backoff: Backoff,
    /// Since when there has been none, after there was one or should have been.
    lost: Option<Instant>,
}

/// One question to the server.
pub(super) enum Request {
    Command(Cmd),
    Pipeline(Pipeline),
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
    pub(super) fn new(target: &Arc<Target>, io: &Io, deadline: Duration, purpose: &'static str) -> Self {
        Self {
            target: Arc::clone(target),
            io: io.handle().clone(),
            deadline,
            purpose,
            state: tokio::sync::Mutex::default(),
            trouble: Mutex::default(),
        }
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
        let answer = async {
            match request {
                Request::Command(command) => command.query_async(&mut *connection).await,
                Request::Pipeline(pipeline) => pipeline.query_async(&mut *connection).await,
            }
        };
        match timeout_at(ends, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if is_no_script(&error) => Err(Refusal::NoScript),
            Ok(Err(error)) => {
                let translated = translate(&error, &self.target);
                if ends_connection(&error) {
                    self.discard(number, &translated).await;
                }
                Err(translated.into())
            }
            Err(_) => {
                // Half open, perhaps: the next caller tries another.
                let error = self.timed_out(operation);
                self.discard(number, &error).await;
                Err(error.into())
            }
        }
    }

    /// The connection, made if there is none.
    async fn connection(&self) -> Result<(Connection, u64)> {
        let mut state = self.state.lock().await;
        loop {
            match &state.connection {
                Some(connection) if connection.is_open() => return Ok((connection.clone(), state.number)),
                // Servers and what stands before them close what nobody has used for a while.
                Some(_) => {
                    tracing::info!(
                        store = self.url(),
                        purpose = self.purpose,
                        "the server has closed the connection"
                    );
                    state.connection = None;
                }
                None => {}
            }
            state.backoff.wait().await;
            match self.connect().await {
                Ok(connection) => {
                    self.tell_that_it_is_back(&state);
                    *lock(&self.trouble) = None;
                    *state =
                        State { connection: Some(connection), number: state.number + 1, ..State::default() };
                }
                // Asking again will not change this.
                Err(error @ Error::Misconfigured { .. }) => return Err(error),
                Err(error) => {
                    if state.backoff.failures() == 0 {
                        let (store, purpose) = (self.url(), self.purpose);
                        tracing::warn!(store, purpose, %error, "cannot connect; trying again");
                    }
                    *lock(&self.trouble) = Some(error);
                    state.lost.get_or_insert_with(Instant::now);
                    state.backoff.failed();
                }
            }
        }
    }

    /// Connects for the first time. Gives up a quarter of the deadline early, so that whoever has set the deadline hears
    /// what is wrong and not that the time is over.
    pub(super) async fn connect_first(&self) -> Result<()> {
        let ends = Instant::now() + self.deadline / 4 * 3;
        let mut state = self.state.lock().await;
        while state.connection.is_none() {
            state.backoff.wait().await;
            match self.connect().await {
                Ok(connection) => {
                    *state = State { connection: Some(connection), number: 1, ..State::default() }
                }
                Err(error) if !error.is_transient() || Instant::now() >= ends => return Err(error),
                Err(_) => state.backoff.failed(),
            }
        }
        Ok(())
    }

    /// Whether there is a connection that works, as far as is known.
    #[cfg(test)]
    pub(super) async fn is_open(&self) -> bool {
        self.state.lock().await.connection.as_ref().is_some_and(Connection::is_open)
    }

    /// One line for each time that a connection was lost, with why and for how long.
    fn tell_that_it_is_back(&self, state: &State) {
        let Some(lost) = state.lost else { return };
        let (store, purpose, away) = (self.url(), self.purpose, lost.elapsed());
        let failures = state.backoff.failures();
        match &*lock(&self.trouble) {
            Some(cause) => tracing::warn!(store, purpose, ?away, failures, %cause, "connected again"),
            None => tracing::warn!(store, purpose, ?away, failures, "connected again"),
        }
    }

    /// One attempt.
    async fn connect(&self) -> Result<Connection> {
        connect(&self.target, &self.io, AsyncConnectionConfig::new(), self.deadline).await
    }

    /// Forgets a connection that does not work, unless another has taken its place.
    async fn discard(&self, number: u64, error: &Error) {
        let mut state = self.state.lock().await;
        if state.number == number {
            state.connection = None;
            state.lost = Some(Instant::now());
            *lock(&self.trouble) = Some(error.clone());
        }
    }

    /// Where it leads, without the password.
    pub(super) fn url(&self) -> &str {
        self.target.url()
    }

    fn why_not_connected(&self, operation: &'static str) -> Error {
        lock(&self.trouble).clone().unwrap_or_else(|| self.timed_out(operation))
    }

    fn timed_out(&self, operation: &'static str) -> Error {
        Error::Timeout { operation, url: self.target.url().to_owned(), after: self.deadline }
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
