//! Results in another database of the same server than messages.
//!
//! Connections stay in the database of messages. A script may go to the other and come back, which changes nothing for
//! the connection; a command on its own goes there and back in one transaction. Channels belong to no database.

use redis::{Cmd, Pipeline, Value, cmd, pipe};

use super::Shared;
use super::script::read;
use super::target::Target;
use crate::{Error, RedisOptions, Result};

/// The databases of messages and of results, which are two.
#[derive(Clone, Copy)]
pub(super) struct Databases {
    messages: i64,
    results: i64,
}

/// The database for the results of `results`, if that is on the server of `messages`.
pub(crate) fn shared_database(messages: &str, results: &str, options: &RedisOptions) -> Option<u32> {
    // What is wrong with a URL is said when it is opened.
    let target = |url| Target::parse(url, options).ok();
    let (messages, results) = (target(messages)?, target(results)?);
    if messages.is_same_server(&results) { u32::try_from(results.login().db()).ok() } else { None }
}

impl Databases {
    pub(super) fn of(target: &Target, options: &RedisOptions) -> Option<Self> {
        let (messages, results) = (target.login().db(), i64::from(options.result_database?));
        (messages != results).then_some(Self { messages, results })
    }

    /// Both, as scripts take them.
    pub(super) fn argument(self) -> String {
        format!(" {} {}", self.messages, self.results)
    }
}

impl Shared {
    /// Asks for something in the database of results.
    pub(super) async fn ask_of_results(&self, operation: &'static str, question: Cmd) -> Result<Value> {
        if self.databases.is_none() {
            return self.link.ask(operation, question).await;
        }
        let mut there_and_back = pipe();
        self.add_among_results(there_and_back.atomic(), question);
        let (answer,) = read(self.link.ask(operation, there_and_back).await?, &self.link)?;
        Ok(answer)
    }

    /// Adds a command in the database of results, and says how many commands that took: more than one need a transaction.
    pub(super) fn add_among_results(&self, pipeline: &mut Pipeline, command: Cmd) -> usize {
        let Some(Databases { messages, results }) = self.databases else {
            pipeline.add_command(command);
            return 1;
        };
        pipeline.cmd("SELECT").arg(results).ignore().add_command(command);
        pipeline.cmd("SELECT").arg(messages).ignore();
        3
    }

    /// Finds out whether scripts may go to the database of results.
    pub(super) async fn check_databases(&self) -> Result<()> {
        let Some(Databases { results, .. }) = self.databases else { return Ok(()) };
        let mut select = cmd("EVAL");
        select.arg("return redis.call('SELECT', ARGV[1])").arg(0).arg(results);
        match self.link.ask("select the database of results", select).await {
            Err(Error::Failed { url, reason }) => Err(Error::Misconfigured {
                url,
                reason: format!("results cannot be kept in database {results} of this server: {reason}"),
            }),
            answer => answer.map(drop),
        }
    }
}
