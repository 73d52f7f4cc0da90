//! How a Redis server is used: kombu's and Celery's transport options.

use std::fmt;
use std::time::Duration;

use celeriac_protocol::Value;

/// How a Redis server is used, under the names of kombu's transport options. All who share a server must agree.
///
/// Source: `Channel.from_transport_options`, `kombu/transport/redis.py`, kombu 5.7.0.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RedisOptions {
    /// After this time without a sign, what a stock Celery worker holds goes to others. Leases of ours are never
    /// longer, because what they hold goes to stock workers then. Default: one hour.
    pub visibility_timeout: Duration,
    /// What every key begins with, except those of results.
    pub global_keyprefix: String,
    /// What the keys of results begin with: `global_keyprefix` of Celery's result backend, with the `_` that Celery adds.
    pub result_keyprefix: String,
    /// Whether the results of a chord's header come in the order of its members, as Celery's result backend has it, or in
    /// that of their ends. Default: true.
    pub result_chord_ordered: bool,
    /// The database that results are kept in, if not in that of the URL.
    pub result_database: Option<u32>,
    /// Where the priorities of a queue's lists begin, in rising order. The first is consumed first. Default: 0, 3, 6, 9.
    pub priority_steps: Vec<u8>,
    /// What stands between a queue and its priority, and between the parts of a binding.
    pub sep: String,
    /// Which queue of a consumer comes first.
    pub queue_order_strategy: QueueOrder,
    /// The hash of what is lent.
    pub unacked_key: String,
    /// The sorted set that says since when.
    pub unacked_index_key: String,
    /// What the channels of fan-out exchanges begin with, after [`RedisOptions::global_keyprefix`]; `{db}` in it is the number
    /// of the database. Default: `/{db}.`. With `false` it is empty, as in old releases of kombu.
    pub fanout_prefix: String,
    /// Whether the routing key of what is sent to a fan-out exchange is part of its channel, so that those who listen may choose.
    /// Default: true.
    pub fanout_patterns: bool,
    /// What the sentinels of a `sentinel://` URL call the primary; `?master_name=` in the URL goes first.
    pub master_name: Option<String>,
    /// How to sign in to sentinels.
    pub sentinel_kwargs: SentinelLogin,
}

/// How to sign in to sentinels, which have other users than the servers: `sentinel_kwargs` of kombu's transport options.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SentinelLogin {
    /// The user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<String>,
    /// Whether they are reached with TLS, by the same options as the servers.
    pub ssl: bool,
}

impl fmt::Debug for SentinelLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "***");
        let mut shown = f.debug_struct("SentinelLogin");
        shown.field("username", &self.username).field("password", &password).field("ssl", &self.ssl).finish()
    }
}

/// Which queue of a consumer comes first, among messages of the same priority step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum QueueOrder {
    /// They take turns.
    #[default]
    RoundRobin,
    /// In alphabetical order: a queue is consumed while those before it are empty.
    Sorted,
    /// In the order in which the consumer names them: a queue is consumed while those before it are empty.
    Priority,
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self {
            visibility_timeout: Duration::from_secs(3600),
            global_keyprefix: String::new(),
            result_keyprefix: String::new(),
            result_chord_ordered: true,
            result_database: None,
            priority_steps: vec![0, 3, 6, 9],
            sep: "\x06\x16".to_owned(),
            queue_order_strategy: QueueOrder::RoundRobin,
            unacked_key: "unacked".to_owned(),
            unacked_index_key: "unacked_index".to_owned(),
            fanout_prefix: FANOUT_PREFIX.to_owned(),
            fanout_patterns: true,
            master_name: None,
            sentinel_kwargs: SentinelLogin::default(),
        }
    }
}

/// Why a transport option cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{expected}; found {found}")]
#[non_exhaustive]
pub struct RefusedOption {
    /// What would be right, or why it cannot be.
    pub expected: &'static str,
    /// What was given.
    pub found: String,
}

/// Options that shape what kombu's and Celery's own clients do and mean nothing here: every call has a deadline
/// (`store_timeout`), connections are few and are made again by themselves, and taking back is one atomic step.
const MEANINGLESS: &[&str] = &[
    "additional_connection_errors",
    "client_name",
    "connect_retries_timeout",
    "errback",
    "health_check_interval",
    "interval_max",
    "interval_start",
    "interval_step",
    "max_connections",
    "max_retries",
    "min_other_sentinels",
    "reauth_check_interval",
    "retry_on_timeout",
    "retry_policy",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_keepalive_options",
    "socket_timeout",
    "unacked_mutex_expire",
    "unacked_mutex_key",
    "unacked_restore_interval",
    "unacked_restore_limit",
    "unacked_restore_throttle",
];

/// Options that change what is set here.
const HONOURED: &[&str] = &[
    "fanout_patterns",
    "fanout_prefix",
    "global_keyprefix",
    "master_name",
    "priority_steps",
    "queue_order_strategy",
    "sentinel_kwargs",
    "sep",
    "unacked_index_key",
    "unacked_key",
    "visibility_timeout",
];

impl RedisOptions {
    /// The names of all options that are taken, for advice about others.
    pub fn known() -> impl Iterator<Item = &'static str> {
        HONOURED.iter().chain(MEANINGLESS).copied()
    }

    /// Whether an option of this name shapes only what kombu's and Celery's own clients do.
    pub(crate) fn means_nothing(name: &str) -> bool {
        MEANINGLESS.contains(&name)
    }

    /// Sets one of Celery's `broker_transport_options`.
    ///
    /// # Errors
    /// For an unknown option, a value that does not fit, and what kombu can do and this store cannot.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), RefusedOption> {
        let refuse = |expected| RefusedOption { expected, found: shown(name, value) };
        match name {
            "visibility_timeout" => {
                let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let long_enough = seconds.filter(|time| *time >= Duration::from_secs(1));
                self.visibility_timeout = long_enough.ok_or_else(|| refuse("one second or more"))?;
            }
            "global_keyprefix" => {
                self.global_keyprefix = value.as_str().ok_or_else(|| refuse("text"))?.to_owned();
            }
            "fanout_prefix" => {
                self.fanout_prefix = fanout_prefix(value).ok_or_else(|| refuse("true, false or text"))?;
            }
            "fanout_patterns" => {
                self.fanout_patterns = value.as_bool().ok_or_else(|| refuse("true or false"))?;
            }
            "sep" => self.sep = not_empty(value).ok_or_else(|| refuse(NOT_EMPTY))?,
            "unacked_key" => self.unacked_key = not_empty(value).ok_or_else(|| refuse(NOT_EMPTY))?,
            "unacked_index_key" => {
                self.unacked_index_key = not_empty(value).ok_or_else(|| refuse(NOT_EMPTY))?;
            }
            "priority_steps" => {
                self.priority_steps =
                    steps(value).ok_or_else(|| refuse("rising numbers from 0 to 9, such as [0, 3, 6, 9]"))?;
            }
            "queue_order_strategy" => {
                self.queue_order_strategy = order(value).ok_or_else(|| {
                    refuse("\"round_robin\", \"sorted\" or \"priority\", as kombu names them")
                })?;
            }
            "master_name" => self.master_name = Some(not_empty(value).ok_or_else(|| refuse(NOT_EMPTY))?),
            "sentinel_kwargs" => self.sentinel_kwargs = sentinel_login(value)?,
            "ack_emulation" if value.as_bool() == Some(true) => {}
            "ack_emulation" => return Err(refuse("true: what is taken is always recorded as lent")),
            "body_encoding" if value.as_str() == Some("base64") => {}
            "body_encoding" => return Err(refuse("\"base64\", the one way in which bodies are written")),
            "deadletter_queue" => {
                return Err(refuse(
                    "no such option: messages are published to queues by name, and none is dropped",
                ));
            }
            "credential_provider" => {
                return Err(unknown(name, "no Python class: user and password go into the URL"));
            }
            name if MEANINGLESS.contains(&name) => {}
            _ => return Err(unknown(name, "an option of kombu's transport for Redis")),
        }
        Ok(())
    }

    /// Sets one of Celery's `result_backend_transport_options`. Those of the broker have no meaning for results.
    ///
    /// # Errors
    /// For an unknown option and a value that does not fit.
    pub fn set_for_results(&mut self, name: &str, value: &Value) -> Result<(), RefusedOption> {
        let refuse = |expected| RefusedOption { expected, found: shown(name, value) };
        match name {
            "global_keyprefix" => {
                let prefix = value.as_str().ok_or_else(|| refuse("text"))?;
                self.result_keyprefix = result_keyprefix(prefix);
            }
            // Where broker and results have sentinels of their own, `?master_name=` in the URL tells them apart.
            "master_name" if self.master_name.is_none() => self.set(name, value)?,
            "sentinel_kwargs" if self.sentinel_kwargs == SentinelLogin::default() => self.set(name, value)?,
            "result_chord_ordered" => {
                self.result_chord_ordered = value.as_bool().ok_or_else(|| refuse("true or false"))?;
            }
            name if HONOURED.contains(&name) || MEANINGLESS.contains(&name) => {}
            _ => return Err(unknown(name, "an option of Celery's result backend on Redis")),
        }
        Ok(())
    }
}

const NOT_EMPTY: &str = "text that is not empty";

fn not_empty(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// What `sentinel_kwargs` says. No part of it is shown: it holds a password.
fn sentinel_login(value: &Value) -> Result<SentinelLogin, RefusedOption> {
    let refuse = || RefusedOption {
        expected: "a table of username, password and ssl",
        found: "sentinel_kwargs that say something else".to_owned(),
    };
    let Value::Map(entries) = value else { return Err(refuse()) };
    let mut login = SentinelLogin::default();
    for (name, value) in entries {
        match (&**name, value) {
            ("username", value) => login.username = Some(value.as_str().ok_or_else(refuse)?.to_owned()),
            ("password", value) => login.password = Some(value.as_str().ok_or_else(refuse)?.to_owned()),
            ("ssl", value) => login.ssl = value.as_bool().ok_or_else(refuse)?,
            (name, _) if MEANINGLESS.contains(&name) => {}
            _ => return Err(refuse()),
        }
    }
    Ok(login)
}

/// Celery puts `_` behind a prefix that ends in none of `:_-.`.
///
/// Source: `KeyValueStoreBackend._add_global_keyprefix`, `celery/backends/base.py`, Celery 5.7.0.
fn result_keyprefix(prefix: &str) -> String {
    match prefix.chars().last() {
        None => String::new(),
        Some(':' | '_' | '-' | '.') => prefix.to_owned(),
        Some(_) => format!("{prefix}_"),
    }
}

/// Source: `Channel.__init__`, `kombu/transport/redis.py`, kombu 5.7.0.
fn fanout_prefix(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some(FANOUT_PREFIX.to_owned()),
        Value::Bool(false) | Value::Null => Some(String::new()),
        value => value.as_str().map(str::to_owned),
    }
}

/// Source: `Channel.keyprefix_fanout`, `kombu/transport/redis.py`, kombu 5.7.0.
const FANOUT_PREFIX: &str = "/{db}.";

fn steps(value: &Value) -> Option<Vec<u8>> {
    let step = |step: &Value| u8::try_from(step.as_i64()?).ok().filter(|step| *step <= 9);
    let steps: Vec<u8> = value.as_list()?.iter().map(step).collect::<Option<_>>()?;
    (!steps.is_empty() && steps.is_sorted_by(|one, next| one < next)).then_some(steps)
}

fn order(value: &Value) -> Option<QueueOrder> {
    match value.as_str()? {
        "round_robin" => Some(QueueOrder::RoundRobin),
        "sorted" => Some(QueueOrder::Sorted),
        "priority" => Some(QueueOrder::Priority),
        _ => None,
    }
}

/// The value is not shown: it may be a password, as that of a misspelt option.
fn unknown(name: &str, expected: &'static str) -> RefusedOption {
    RefusedOption { expected, found: name.to_owned() }
}

fn shown(name: &str, value: &Value) -> String {
    let value = celeriac_protocol::json::to_bytes(value);
    format!("{name} = {}", String::from_utf8_lossy(&value))
}

#[cfg(test)]
mod tests {
    use celeriac_protocol::json;

    use super::*;

    fn set(name: &str, value: &str) -> Result<RedisOptions, RefusedOption> {
        let mut options = RedisOptions::default();
        options.set(name, &json::parse(value.as_bytes()).unwrap())?;
        Ok(options)
    }

    #[test]
    fn options_of_kombu_are_taken() {
        assert_eq!(set("visibility_timeout", "1.5").unwrap().visibility_timeout, Duration::from_millis(1500));
        assert_eq!(set("global_keyprefix", "\"tea:\"").unwrap().global_keyprefix, "tea:");
        assert_eq!(set("priority_steps", "[0, 5]").unwrap().priority_steps, [0, 5]);
        assert_eq!(set("sep", "\":\"").unwrap().sep, ":");
        for (prefix, is) in [("true", "/{db}."), ("false", ""), ("\"f{db}:\"", "f{db}:")] {
            assert_eq!(set("fanout_prefix", prefix).unwrap().fanout_prefix, is);
        }
        assert!(!set("fanout_patterns", "false").unwrap().fanout_patterns);
        assert_eq!(
            set("queue_order_strategy", "\"sorted\"").unwrap().queue_order_strategy,
            QueueOrder::Sorted
        );
        assert_eq!(set("unacked_key", "\"lent\"").unwrap().unacked_key, "lent");
        assert_eq!(set("socket_timeout", "30"), Ok(RedisOptions::default()));
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, value) in [
            ("ack_emulation", "false"),
            ("body_encoding", "null"),
            ("deadletter_queue", "\"dead\""),
            ("global_keyprefix", "1"),
            ("priority_steps", "[]"),
            ("priority_steps", "[3, 0]"),
            ("priority_steps", "[0, 10]"),
            ("queue_order_strategy", "\"my.module.Cycle\""),
            ("master_name", "\"\""),
            ("sep", "\"\""),
            ("fanout_patterns", "1"),
            ("fanout_prefix", "1"),
            ("visibility_timeout", "0"),
        ] {
            let refused = set(name, value).unwrap_err().to_string();
            assert!(refused.ends_with(&format!("found {name} = {value}")), "{refused}");
        }
    }

    #[test]
    fn an_unknown_option_is_named_without_its_value() {
        for name in ["sentinel_kwarg", "password", "credential_provider", "ssl_keyfile"] {
            let refused = set(name, r#"{"password": "secret"}"#).unwrap_err().to_string();
            assert!(refused.ends_with(&format!("found {name}")), "{refused}");
        }
    }

    #[test]
    fn what_signs_in_to_sentinels_is_not_shown() {
        let options = set("sentinel_kwargs", r#"{"username": "me", "password": "secret"}"#).unwrap();
        assert_eq!(options.sentinel_kwargs.password.as_deref(), Some("secret"));
        assert!(!format!("{options:?}").contains("secret"));
        let refused = set("sentinel_kwargs", r#"{"pass": "secret"}"#).unwrap_err().to_string();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn the_prefix_of_results_ends_as_in_celery() {
        for (given, prefix) in [("", ""), ("tea", "tea_"), ("tea:", "tea:"), ("tea_", "tea_"), ("t-", "t-")] {
            let mut options = RedisOptions::default();
            options.set_for_results("global_keyprefix", &Value::from(given)).unwrap();
            assert_eq!((options.result_keyprefix.as_str(), options.global_keyprefix.as_str()), (prefix, ""));
        }
    }

    #[test]
    fn the_results_of_a_chord_are_in_order_unless_that_is_off() {
        let mut options = RedisOptions::default();
        assert!(options.result_chord_ordered);
        options.set_for_results("result_chord_ordered", &Value::Bool(false)).unwrap();
        assert!(!options.result_chord_ordered);
        assert!(options.set_for_results("result_chord_ordered", &Value::from("no")).is_err());
    }
}
