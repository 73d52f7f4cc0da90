//! How much the worker has done, and with what: `stats`.

use std::time::Duration;

use celeriac_protocol::{Value, json};

use crate::control::Numbers;
use crate::control::panel::{Panel, Refusal};
use crate::finish::python::seconds;

/// What is told where there is nothing to tell.
const NOTHING: &str = "N/A";

impl Panel {
    /// What tells of the pool tells of all pools together; `pools` says how many tasks each of them runs at once.
    ///
    /// Source: `WorkController.stats`, `celery/worker/worker.py`, and `TaskPool._get_info`, `celery/concurrency/prefork.py`,
    /// Celery 5.7.0.
    pub(in crate::control) async fn stats(&self) -> Result<Value, Refusal> {
        let numbers = self.inquirer.numbers().await?;
        let started = numbers.started.iter();
        let total = started.map(|(name, count)| (name.as_str().into(), integer(*count))).collect();
        Ok(map(vec![
            ("total", Value::Map(total)),
            ("pid", std::process::id().into()),
            ("clock", self.clock.value().to_string().into()),
            ("uptime", integer(self.since.elapsed().as_secs_f64().round() as u64)),
            ("pool", self.pool(&numbers)),
            ("broker", self.broker()),
            ("prefetch_count", integer(numbers.prefetch as u64)),
            ("rusage", rusage()),
        ]))
    }

    fn pool(&self, numbers: &Numbers) -> Value {
        let of_application = |name| self.of_application("pool").and_then(|pool| pool.get(name).cloned());
        let mut processes: Vec<Value> = numbers.children.iter().map(|(pid, _)| (*pid).into()).collect();
        if processes.is_empty() {
            processes.push(std::process::id().into());
        }
        let most = self.options.max_tasks_per_child.map_or_else(|| NOTHING.into(), integer);
        let limit = |limit: Option<Duration>| limit.map_or(Value::Int(0), seconds);
        let pools = numbers.pools.iter().map(|(kind, slots)| (kind.as_str(), integer(*slots as u64)));
        // Where there is one, all else tells of it.
        let pools = (numbers.pools.len() > 1).then(|| ("pools", map(pools.collect())));
        let mut told = vec![
            ("implementation", of_application("implementation").unwrap_or_else(|| "celeriac:Pools".into())),
            ("max-concurrency", integer(numbers.slots as u64)),
            ("processes", Value::List(processes)),
            ("max-tasks-per-child", most),
            ("put-guarded-by-semaphore", of_application("put-guarded-by-semaphore").unwrap_or(true.into())),
            (
                "timeouts",
                Value::List(vec![limit(self.options.soft_time_limit), limit(self.options.time_limit)]),
            ),
            ("writes", writes(numbers)),
        ];
        told.extend(pools);
        map(told)
    }

    /// The broker, without its password.
    ///
    /// Source: `Connection.info`, `kombu/connection.py`, kombu 5.7.0.
    fn broker(&self) -> Value {
        if let Some(broker) = self.of_application("broker") {
            return broker;
        }
        let broker = Address::of(self.store.url());
        let text = |text: Option<&str>| text.map_or(Value::Null, Value::from);
        map(vec![
            ("hostname", text(broker.host)),
            ("userid", text(broker.user)),
            ("virtual_host", broker.path.into()),
            ("port", broker.port.map_or(Value::Null, Value::from)),
            ("insist", false.into()),
            ("ssl", (broker.scheme == "rediss").into()),
            ("transport", broker.scheme.into()),
            ("connect_timeout", Value::Int(4)),
            ("transport_options", Value::Map(Vec::new())),
            ("login_method", Value::Null),
            ("uri_prefix", Value::Null),
            ("heartbeat", Value::Null),
            ("failover_strategy", "round-robin".into()),
            ("alternates", Value::List(Vec::new())),
            ("credential_provider", Value::Null),
        ])
    }

    /// What the application has said of itself at its start.
    fn of_application(&self, name: &str) -> Option<Value> {
        let told = self.options.template.as_ref()?.stats(name)?;
        json::parse(told.to_string().as_bytes()).ok()
    }
}

/// How many tasks the children were given, and which part each of them.
///
/// Source: `AsynPool.human_write_stats`, `celery/concurrency/asynpool.py`, Celery 5.7.0.
fn writes(numbers: &Numbers) -> Value {
    let given: Vec<u64> = numbers.children.iter().map(|(_, given)| *given).collect();
    if given.is_empty() {
        return NOTHING.into();
    }
    let total: u64 = given.iter().sum();
    let part = |of: f64| format!("{:.2}", if total == 0 { 0.0 } else { of / total as f64 });
    let each =
        |show: &dyn Fn(u64) -> String| given.iter().map(|one| show(*one)).collect::<Vec<_>>().join(", ");
    map(vec![
        ("total", integer(total)),
        ("avg", part(total as f64 / given.len() as f64).into()),
        ("all", each(&|one| part(one as f64)).into()),
        ("raw", each(&|one| one.to_string()).into()),
        ("strategy", "fair".into()),
        (
            "inqueues",
            map(vec![("total", integer(given.len() as u64)), ("active", integer(numbers.busy as u64))]),
        ),
    ])
}

#[cfg(unix)]
fn rusage() -> Value {
    crate::control::usage::of_this_process().unwrap_or_else(|_| NOTHING.into())
}

#[cfg(not(unix))]
fn rusage() -> Value {
    NOTHING.into()
}

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

fn integer(number: u64) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

/// The parts of a URL.
#[derive(Debug, PartialEq)]
struct Address<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: Option<&'a str>,
    port: Option<u16>,
    path: &'a str,
}

impl<'a> Address<'a> {
    /// Of a file, all of the URL is the host.
    ///
    /// Source: `Connection.__init__`, `kombu/connection.py`, kombu 5.7.0, for transports that parse URLs themselves.
    fn of(url: &'a str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or((url, ""));
        if scheme == "sqlite" {
            return Self { scheme, user: None, host: Some(url), port: None, path: "/" };
        }
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = place.rsplit_once('@').map_or((None, place), |(user, place)| (Some(user), place));
        let user = user.map(|user| user.split(':').next().unwrap_or_default());
        let number = |text: &str| text.parse().ok();
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if number(port).is_some() => (host, number(port)),
            _ => (place, None),
        };
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        let path = path.split('?').next().unwrap_or_default();
        Self { scheme, user: user.and_then(some), host: some(host), port, path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let redis = Address::of("redis://me:***@host:6379/1?x=y");
        let expected =
            Address { scheme: "redis", user: Some("me"), host: Some("host"), port: Some(6379), path: "1" };
        assert_eq!(redis, expected);
        let nothing = Address { scheme: "memory", user: None, host: None, port: None, path: "" };
        assert_eq!(Address::of("memory://"), nothing);
        assert_eq!(Address::of("redis://[::1]:6379/0").host, Some("[::1]"));
        let url = "sqlite:////tmp/a.db";
        let file = Address { scheme: "sqlite", user: None, host: Some(url), port: None, path: "/" };
        assert_eq!(Address::of(url), file);
    }

    #[test]
    fn writes_are_told_as_in_celery() {
        let pools = Vec::new();
        let numbers = Numbers {
            started: Vec::new(),
            slots: 2,
            prefetch: 8,
            pools,
            children: vec![(7, 3), (8, 1)],
            busy: 1,
        };
        let told = writes(&numbers);
        let text = |name: &str| told.get(name).and_then(Value::as_str).map(str::to_owned);
        assert_eq!(told.get("total"), Some(&Value::Int(4)));
        assert_eq!(
            [text("avg"), text("all"), text("raw")].map(Option::unwrap),
            ["0.50", "0.75, 0.25", "3, 1"]
        );
        assert_eq!(writes(&Numbers { children: Vec::new(), ..numbers }), NOTHING.into());
    }
}
