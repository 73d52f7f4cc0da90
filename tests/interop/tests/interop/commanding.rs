//! `celeriac inspect`, `control` and `status` towards a worker of ours and a stock one, side by side.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use celeriac::protocol::{Value, json};

use super::harness::{Broker, DEADLINE, Program};

const OURS: &str = "ours@commanding";
const STOCK: &str = "stock@interop";

/// Both workers on one server.
struct Both {
    broker: Broker,
    _workers: [Program; 2],
}

impl Both {
    async fn start() -> Self {
        let broker = Broker::start();
        let mut ours = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
        ours.args(["worker", "-l", "warning", "-n", OURS]).env("CELERIAC_BROKER_URL", broker.url());
        ours.stdin(Stdio::null()).stdout(Stdio::null());
        let both = Self { _workers: [Program::start(ours), broker.stock_canvas_worker()], broker };
        both.until(
            "both are there",
            || both.run(&["status", "-t", "0.3", "-d", &format!("{OURS},{STOCK}")]),
            |said| said.contains("\n2 nodes online."),
        )
        .await;
        both
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_rust-tasks"))
            .args(arguments)
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/apps"))
            .env("CELERIAC_BROKER_URL", self.broker.url())
            .env("CELERY_BROKER_URL", self.broker.url())
            .env("CELERIAC_PYTHON", std::env::var_os("CELERIAC_TEST_PYTHON").expect("it names a Python"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()
            .unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let ended = self.run(arguments);
        assert!(ended.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    }

    /// What each node replied.
    fn replies(&self, arguments: &[&str]) -> Value {
        let nodes = format!("{OURS},{STOCK}");
        let json = [arguments, &["--json", "-t", "10", "-d", &nodes]].concat();
        json::parse(self.succeed(&json).trim().as_bytes()).unwrap()
    }

    async fn until(&self, what: &str, ask: impl Fn() -> Output, holds: impl Fn(&str) -> bool) {
        let until = Instant::now() + DEADLINE;
        loop {
            let said = String::from_utf8(ask().stdout).unwrap();
            if holds(&said) {
                return;
            }
            assert!(Instant::now() < until, "not within {DEADLINE:?}: {what}: {said}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The keys that have to do with mailboxes.
    fn mailboxes(&self) -> Vec<String> {
        redis::cmd("KEYS").arg("*reply.celery.pidbox*").query(&mut self.broker.redis()).unwrap()
    }
}

#[tokio::test]
async fn workers_of_both_kinds_answer_what_they_are_asked() {
    let both = Both::start().await;
    for command in ["active", "active_queues", "clock", "conf", "ping", "registered", "report", "stats"] {
        let replies = both.replies(&["inspect", command]);
        let kind = |node: &str| replies.get(node).unwrap_or_else(|| panic!("{command}: {replies:?}")).kind();
        assert_eq!(kind(OURS), kind(STOCK), "{command}: {replies:?}");
    }
    let tasks = both.replies(&["inspect", "registered", "name"]);
    for node in [OURS, STOCK] {
        let names = tasks.get(node).unwrap().as_list().unwrap();
        assert!(names.contains(&"canvas.add [name=canvas.add]".into()), "{node}: {names:?}");
    }
    let there = both.replies(&["status"]);
    for node in [OURS, STOCK] {
        assert_eq!(there.get(node).and_then(|said| said.get("ok")), Some(&"pong".into()), "{there:?}");
    }
    let said = both.succeed(&["inspect", "ping", "-d", OURS]);
    assert_eq!(said, format!("->  {OURS}: OK\n        pong\n\n1 node online.\n"));
    let listed = both.succeed(&["inspect", "--list"]);
    assert!(listed.contains("\ngreet [name]") && listed.contains("\nquery_task [ID ...]"), "{listed}");
    assert_eq!(both.mailboxes(), Vec::<String>::new(), "nothing is left of a question");
}

#[tokio::test]
async fn workers_of_both_kinds_obey() {
    let both = Both::start().await;
    let limited = both.replies(&["control", "rate_limit", "canvas.add", "5/s"]);
    let limited = limited.as_list().unwrap();
    assert_eq!(limited.len(), 2, "{limited:?}");
    for reply in limited {
        let [(_, said)] = reply.as_map().unwrap() else { panic!("{reply:?}") };
        assert_eq!(said.get("ok"), Some(&"new rate limit set successfully".into()), "{said:?}");
    }
    both.replies(&["control", "time_limit", "canvas.add", "1.5", "3"]);
    both.replies(&["control", "revoke", "one", "other"]);
    let revoked = both.replies(&["inspect", "revoked"]);
    for node in [OURS, STOCK] {
        let ids = revoked.get(node).unwrap().as_list().unwrap();
        assert!(ids.contains(&"one".into()) && ids.contains(&"other".into()), "{node}: {ids:?}");
    }
    let sizes = || {
        let stats = both.replies(&["inspect", "stats"]);
        let pool = stats.get(OURS).and_then(|said| said.get("pool")).cloned().unwrap();
        let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_i64).unwrap();
        [number(pool.get("pools").unwrap(), "prefork"), number(&pool, "max-concurrency")]
    };
    let before = sizes();
    for (command, reply, by) in [("pool_grow", "pool will grow", 2), ("pool_shrink", "pool will shrink", 0)] {
        let said = both.replies(&["control", command, "2"]);
        for reply_of in said.as_list().unwrap() {
            let [(node, said)] = reply_of.as_map().unwrap() else { panic!("{reply_of:?}") };
            assert_eq!(said.get("ok"), Some(&reply.into()), "{node}: {said:?}");
        }
        assert_eq!(sizes(), before.map(|size| size + by), "{command}");
    }
    let said = both.succeed(&["control", "add_consumer", "more", "-d", OURS]);
    assert_eq!(said, format!("->  {OURS}: OK\n        add consumer more\n"));
    let queues = both.replies(&["inspect", "active_queues"]);
    assert_eq!(queues.get(OURS).unwrap().as_list().unwrap().len(), 2, "{queues:?}");
}

#[tokio::test]
async fn commands_of_a_program_and_of_an_application_are_known() {
    let both = Both::start().await;
    let said = both.succeed(&["inspect", "greet", "you", "-d", OURS]);
    assert_eq!(said, format!("->  {OURS}: OK\n    * you\n    * {OURS}\n\n1 node online.\n"));
    // That application has commands of its own, and neither of the workers has them.
    let ended = both.run(&["-A", "held", "control", "doubled", "x"]);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(
        (ended.status.code(), &*said),
        (Some(2), "error: factor of doubled is a whole number, not \"x\"\n")
    );
    let ended = both.run(&["-A", "held", "control", "doubled", "3", "-t", "0.2", "-d", OURS]);
    assert_eq!(ended.status.code(), Some(69));
}

#[tokio::test]
async fn who_asks_nobody_or_wrongly_is_told_by_the_exit_code() {
    let broker = Broker::start();
    let run = |arguments: &[&str]| {
        let ended = Command::new(env!("CARGO_BIN_EXE_rust-tasks"))
            .args(arguments)
            .env("CELERIAC_BROKER_URL", broker.url())
            .output()
            .unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let expected = "error: no worker has replied to ping within 0.1s\n  next: start one with `worker`\n";
    assert_eq!(run(&["inspect", "ping", "-t", "0.1"]), (Some(69), expected.to_owned()));
    assert_eq!(run(&["status", "-t", "0.1"]).0, Some(69));
    assert_eq!(run(&["control", "pool_grow", "1", "-t", "0.1"]).0, Some(69));
    let (code, said) = run(&["inspect", "rate_limit"]);
    assert!(
        code == Some(2) && said.contains("rate_limit is no command of `inspect`: there are active,"),
        "{said}"
    );
    assert_eq!(run(&["control", "pool_grow", "many"]).0, Some(2));
    assert_eq!(run(&["control", "pool_grow", "1", "2"]).0, Some(2));
}

/// The time until which anybody may remove it is a part of its name.
#[tokio::test]
async fn a_client_that_is_killed_leaves_its_mailbox_for_a_minute() {
    let broker = Broker::start();
    let mut client = Command::new(env!("CARGO_BIN_EXE_rust-tasks"));
    client.args(["inspect", "ping", "-t", "30"]).env("CELERIAC_BROKER_URL", broker.url());
    client.stdin(Stdio::null()).stdout(Stdio::null());
    let now = || redis::cmd("TIME").query::<(u64, u64)>(&mut broker.redis()).unwrap().0;
    let began = now();
    let client = Program::start(client);
    let until = Instant::now() + DEADLINE;
    let bound = loop {
        let bound: Vec<String> = redis::cmd("SMEMBERS")
            .arg("_kombu.binding.reply.celery.pidbox")
            .query(&mut broker.redis())
            .unwrap();
        if let [bound] = &bound[..] {
            break bound.clone();
        }
        assert!(Instant::now() < until, "the client opens its mailbox");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    client.kill();
    let ends: u64 = bound.split('.').nth(1).unwrap().parse().unwrap();
    let expected = began + 90..=now() + 91;
    assert!(expected.contains(&ends), "{bound}: {expected:?}");
}
