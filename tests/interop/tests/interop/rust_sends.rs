//! A producer in Rust, a stock Celery worker.

use std::time::{Duration, Instant};

use celeriac::prelude::*;
use celeriac::protocol::json;

use super::harness::{Broker, DEADLINE};

async fn echo(app: &App, value: &Value, serializer: &str) -> Value {
    let call = Signature::<Value>::named("python.echo", args![value], kwargs! {}).serializer(serializer);
    call.apply_async(app).await.unwrap().get(DEADLINE).await.unwrap()
}

/// What Python returns is read in Rust, whatever it is.
#[tokio::test]
async fn results_are_read_in_rust() {
    let broker = Broker::start();
    let _worker = broker.python_worker(&[]).await;
    let app = broker.app();
    let sum: AsyncResult<i64> = app.send_task("python.add", args![2, 3], kwargs! {}).await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    let sum: AsyncResult<i64> = app.send_task("python.add", args![], kwargs! { x: 2, y: 3 }).await.unwrap();
    assert_eq!(sum.get(DEADLINE).await.unwrap(), 5);
    let texts = [
        "null",
        "true",
        "-1",
        "9223372036854775808",
        "1.5",
        "\"\"",
        "\"ünïcode \\ud83d\\ude00 \\u0000\"",
        "[]",
        "{}",
        "[[1], {\"a\": [null]}]",
    ];
    for value in texts.map(|text| json::parse(text.as_bytes()).unwrap()) {
        assert_eq!(echo(&app, &value, "json").await, value);
        if value != Value::BigInt("9223372036854775808".into()) {
            assert_eq!(echo(&app, &value, "msgpack").await, value);
        }
    }
}

/// What Python raises has its class, message and traceback in Rust.
#[tokio::test]
async fn an_exception_of_python_is_an_error_in_rust() {
    let broker = Broker::start();
    let _worker = broker.python_worker(&[]).await;
    let failed: AsyncResult<()> =
        broker.app().send_task("python.fail", args!["no leaves: ü"], kwargs! {}).await.unwrap();
    let error = failed.get(DEADLINE).await.unwrap_err().to_string();
    assert!(error.contains("OutOfTea") && error.contains("no leaves: ü"), "{error}");
    let record = failed.record().await.unwrap().unwrap();
    assert_eq!(record.state, State::Failure);
    let traceback = record.traceback.expect("Celery stores a traceback");
    assert!(traceback.contains("tasks.py") && traceback.contains("OutOfTea"), "{traceback}");
}

/// Python's own retries are heard of in Rust, and options go there.
#[tokio::test]
async fn options_mean_the_same_to_both() {
    let broker = Broker::start();
    let _worker = broker.python_worker(&[]).await;
    let app = broker.app();
    let stubborn: AsyncResult<u32> = app.send_task("python.stubborn", args![2], kwargs! {}).await.unwrap();
    assert_eq!(stubborn.get(DEADLINE).await.unwrap(), 2);

    let whoami = || Signature::<Value>::named("python.whoami", args![], kwargs! {});
    let sent = whoami().priority(9).header("tenant", "a").apply_async(&app).await.unwrap();
    let seen = sent.get(DEADLINE).await.unwrap();
    // Our highest priority is Celery's 0 on Redis, which comes first.
    assert_eq!(seen.get("priority"), Some(&Value::Int(0)));
    assert_eq!(seen.get("tenant").and_then(Value::as_str), Some("a"));
    assert_eq!(seen.get("id").and_then(Value::as_str), Some(sent.id().as_str()));

    let large = "leaf ".repeat(10_000);
    for compression in ["zlib", "zstd", "bzip2"] {
        let call =
            Signature::<String>::named("python.echo", args![large], kwargs! {}).compression(compression);
        assert_eq!(call.apply_async(&app).await.unwrap().get(DEADLINE).await.unwrap(), large);
    }

    let later =
        Signature::<i64>::named("python.add", args![1, 1], kwargs! {}).countdown(Duration::from_secs(1));
    // Delays are held by our schedule, so somebody of ours must be there.
    let _ours = broker.rust_worker_on("other", &[]).await;
    let begin = Instant::now();
    let later = later.apply_async(&app).await.unwrap();
    assert_eq!(later.get(DEADLINE).await.unwrap(), 2);
    assert!(begin.elapsed() >= Duration::from_secs(1));
}
