//! Workers and clients of both kinds at once.

use std::collections::BTreeSet;
use std::time::Instant;

use celeriac::prelude::*;
use celeriac::protocol::Envelope;
use redis::Commands as _;

use super::harness::{Broker, DEADLINE};

/// Asks the server until it answers that.
fn until<T: redis::FromRedisValue + PartialEq + std::fmt::Debug>(
    connection: &mut redis::Connection,
    question: &[&str],
    expected: &T,
) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer: T = redis::cmd(question[0]).arg(&question[1..]).query(connection).unwrap();
        if answer == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{question:?} answers {answer:?}, not {expected:?}");
    }
}

/// One queue, workers of both kinds, tasks from both sides: every result is right, and both kinds have worked.
#[tokio::test]
async fn workers_of_both_kinds_share_a_queue() {
    let broker = Broker::start();
    let small = [("CELERIAC_WORKER_ASYNC_CONCURRENCY", "1"), ("CELERIAC_WORKER_PREFETCH_MULTIPLIER", "1")];
    let _rust = broker.rust_worker(&small).await;
    let _python = broker.python_worker(&[]).await;
    let python_sends = broker.begin("python_sends.py", "half_of_many");
    let app = broker.app();
    let mut sent = Vec::new();
    for n in 0..250 {
        sent.push((n, celeriac_interop::shared_add.s(n, n).apply_async(&app).await.unwrap()));
    }
    let mut kinds = BTreeSet::new();
    for (n, result) in sent {
        let (sum, kind) = result.get(DEADLINE).await.unwrap();
        assert_eq!(sum, 2 * n);
        kinds.insert(kind);
    }
    python_sends.succeed().await;
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["python", "rust"]);
    let mut redis = broker.redis();
    until(&mut redis, &["ZCARD", "unacked_index"], &0);
    assert_eq!(redis.hlen::<_, u64>("unacked").unwrap(), 0);
}

/// While `AsyncResult::get` waits for a stock worker, it reads nothing.
#[tokio::test]
async fn waiting_for_a_stock_worker_is_not_polling() {
    let broker = Broker::start();
    let _worker = broker.python_worker(&[]).await;
    let mut redis = broker.redis();
    let nap = celeriac_interop::shared_nap.s(1.0).apply_async(&broker.app()).await.unwrap();
    redis::cmd("CONFIG").arg("RESETSTAT").exec(&mut redis).unwrap();
    assert_eq!(nap.get(DEADLINE).await.unwrap(), "python");
    let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut redis).unwrap();
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.map_or(0, |rest| rest.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    // Before it listens, once it listens, and when it is told; Celery itself reads before it stores.
    assert!(calls("mget") <= 3, "{stats}");
    assert!(calls("get") <= 3, "{stats}");
    assert!(calls("subscribe") >= 1, "{stats}");
}

/// While `AsyncResult.get` waits for a worker in Rust, it reads nothing.
#[tokio::test]
async fn waiting_for_a_worker_in_rust_is_not_polling() {
    let broker = Broker::start();
    let _worker = broker.rust_worker(&[]).await;
    let waits = broker.begin("python_sends.py", "waiting_is_not_polling");
    waits.succeed().await;
}

/// What a producer in Python sends for later waits in our schedule, lent to nobody.
#[tokio::test]
async fn a_task_for_later_waits_in_the_schedule() {
    let broker = Broker::start();
    let _worker = broker.rust_worker(&[]).await;
    let mut redis = broker.redis();
    until(&mut redis, &["HLEN", "unacked"], &0);
    let sends = broker.begin("python_sends.py", "one_for_later");
    until(&mut redis, &["ZCARD", "celeriac:{tasks}:schedule"], &1);
    assert_eq!(redis.hlen::<_, u64>("unacked").unwrap(), 0);
    assert_eq!(redis.zcard::<_, u64>("unacked_index").unwrap(), 0);
    sends.succeed().await;
    assert_eq!(redis.zcard::<_, u64>("celeriac:{tasks}:schedule").unwrap(), 0);
}

/// A retry keeps what its sender in Python asked for.
#[tokio::test]
async fn a_retry_keeps_headers_expiry_and_priority() {
    let broker = Broker::start();
    let _worker = broker.rust_worker(&[]).await;
    let mut redis = broker.redis();
    let sends = broker.begin("python_sends.py", "one_that_asks_for_a_retry");
    sends.succeed().await;
    until(&mut redis, &["ZCARD", "celeriac:{tasks}:schedule"], &1);
    let [entry] =
        <[String; 1]>::try_from(redis.hvals::<_, Vec<String>>("celeriac:{tasks}:schedule:messages").unwrap())
            .unwrap();
    let envelope = Envelope::decode(&entry.as_bytes()[entry.find('{').unwrap()..]).unwrap();
    let headers = envelope.message.headers;
    assert_eq!((headers.retries, headers.ignore_result), (1, Some(true)));
    assert!(headers.expires.is_some() && headers.eta.is_some());
    let tenant = headers.other.iter().find(|(name, _)| &**name == "tenant");
    assert_eq!(tenant.and_then(|(_, value)| value.get("name")).and_then(Value::as_str), Some("a"));
    assert_eq!(envelope.message.properties.priority, Some(3));
}

/// Both sides agree on the keys, steps and order that the transport options name.
#[tokio::test]
async fn transport_options_mean_the_same_to_both() {
    let broker = Broker::with_options(
        r#"{"global_keyprefix": "tea:", "priority_steps": [0, 2, 4, 6, 8], "queue_order_strategy": "priority",
            "sep": "|", "visibility_timeout": 600, "socket_timeout": 30}"#,
        r#"{"global_keyprefix": "cup"}"#,
    );
    let app = broker.app();
    let rust = broker.rust_worker(&[]).await;
    for scenario in
        ["results_are_read_in_python", "priorities_order_the_queue", "a_countdown_and_an_eta_are_kept"]
    {
        let run = broker.begin("python_sends.py", scenario);
        run.succeed().await;
    }
    drop(rust);
    let python = broker.python_worker(&[]).await;
    let sum: AsyncResult<i64> = app.send_task("python.add", args![2, 3], kwargs! {}).await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    drop(python);
    for priority in [9, 6, 0] {
        let call = Signature::<i64>::named("python.add", args![1, 1], kwargs! {}).priority(priority);
        call.apply_async(&app).await.unwrap();
    }
    let mut redis = broker.redis();
    let keys: BTreeSet<String> = redis.keys("*").unwrap();
    for list in ["tea:celery", "tea:celery|2", "tea:celery|8"] {
        assert_eq!(redis.llen::<_, u64>(list).unwrap(), 1, "{list} of {keys:?}");
    }
    let strange =
        keys.iter().find(|key| !key.starts_with("tea:") && !key.starts_with("cup_celery-task-meta-"));
    assert_eq!(strange, None, "of {keys:?}");
}
