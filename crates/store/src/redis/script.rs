//! Lua scripts, which the server runs as one step.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs, Value, cmd};

use super::Shared;
use super::databases::Databases;
use super::link::{Link, Refusal, Request};
use crate::Result;

/// One script, with what it shares with the others put before it.
pub(super) struct Script {
    source: String,
    hash: String,
}

impl Script {
    fn new(texts: &[&str]) -> Self {
        // Comments are for us, and a network may be slow.
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim_start);
        let source = lines.filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        Self { hash: redis::Script::new(&source).get_hash().to_owned(), source }
    }
}

macro_rules! scripts {
    ($($name:ident = $($file:literal),+;)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(&[include_str!("lua/shared.lua"), $(include_str!(concat!("lua/", $file))),+])
        });)*
    };
}

scripts! {
    ANNOUNCE = "announce.lua";
    CANCEL = "cancel.lua";
    CHORD = "groups.lua", "results.lua", "chords.lua", "chord.lua";
    CLOSE = "close.lua";
    COUNT = "groups.lua", "results.lua", "chords.lua", "count.lua";
    FETCH = "fetch.lua";
    FINISH = "groups.lua", "results.lua", "chords.lua", "finish.lua";
    KEEP_CHANGE = "keep_change.lua";
    MOVE = "move.lua";
    OPEN_MAILBOX = "open_mailbox.lua";
    OVERDUE = "overdue.lua";
    PUBLISH = "groups.lua", "publish.lua";
    PURGE = "purge.lua";
    RENEW = "renew.lua";
    RESTORE = "restore.lua";
    REPLY = "reply.lua";
    REQUEUE = "requeue.lua";
    REVOCATIONS = "revocations.lua";
    REVOKE = "revoke.lua";
    REVOKED = "revoked.lua";
    STARTED = "started.lua";
    UNSCHEDULE = "unschedule.lua";
    WITHDRAW = "withdraw.lua";
}

/// One call of a script, on its way to the server.
pub(super) struct Call {
    script: &'static Script,
    command: Cmd,
}

impl Shared {
    /// Begins a call of a script that names these lists besides kombu's two keys.
    pub(super) fn script<'list>(
        &self,
        script: &'static LazyLock<Script>,
        lists: impl ExactSizeIterator<Item = &'list str>,
    ) -> Call {
        let script = LazyLock::force(script);
        let mut command = cmd("EVALSHA");
        command.arg(&script.hash).arg(2 + lists.len());
        command.arg(self.keys.unacked()).arg(self.keys.unacked_index());
        for list in lists {
            command.arg(list);
        }
        let now = self.now().map_or(String::new(), |now| now.as_micros().to_string());
        let databases = self.databases.map_or(String::new(), Databases::argument);
        command.arg(self.keys.own()).arg(now + &databases);
        Call { script, command }
    }

    /// As [`Shared::script`], for a script that names no list.
    pub(super) fn plain_script(&self, script: &'static LazyLock<Script>) -> Call {
        self.script(script, std::iter::empty())
    }
}

impl Call {
    /// Adds an argument.
    pub(super) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.command.arg(argument);
        self
    }

    /// Calls the script, which is sent first if the server has forgotten it.
    pub(super) async fn run(self, operation: &'static str, link: &Link) -> Result<Value> {
        let request = Request::from(self.command);
        for _ in 0..2 {
            match link.ask_again(operation, &request).await {
                Err(Refusal::NoScript) => {
                    let mut load = cmd("SCRIPT");
                    load.arg("LOAD").arg(&self.script.source);
                    link.ask("load a script", load).await?;
                }
                Err(Refusal::Other(error)) => return Err(error),
                Ok(answer) => return Ok(answer),
            }
        }
        Err(link.failed("the server forgets its scripts at once".to_owned()))
    }
}

/// What takes arguments, one after the other.
pub(super) trait Arguments {
    /// Adds one.
    fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self;
}

impl Arguments for Call {
    fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        Call::arg(self, argument)
    }
}

impl Arguments for Cmd {
    fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        Cmd::arg(self, argument)
    }
}

/// Reads the answer of a script as what it must be.
pub(super) fn read<T: redis::FromRedisValue>(answer: Value, link: &Link) -> Result<T> {
    redis::from_redis_value(answer).map_err(|error| link.failed(error.to_string()))
}
