//! Whoever asks a worker is answered, whatever comes of it.

use celeriac_app::control::{Asked, Command, CommandError};
use celeriac_app::protocol::Value;
use celeriac_app::store::{ConnectOptions, connect};
use celeriac_app::{App, TaskBody, TaskDefinition};

use crate::harness::Bench;

/// A program with a command whose reply is as large as it is asked for.
fn app() -> App {
    let fill = async |asked: Asked| -> Result<String, CommandError> {
        Ok("x".repeat(usize::try_from(asked.argument::<i64>("size")?).unwrap()))
    };
    let nothing = TaskBody::asynchronous(|_, _| std::future::ready(Ok(Value::Null)));
    App::new("test")
        .task(TaskDefinition::new("nothing", nothing))
        .control_command(Command::inspect("fill", fill))
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_an_error() {
    let bench = Bench::new(app()).await;
    let worker = bench.start();
    let reply = bench.ask("fill", &[("size", 16 << 20)]).await;
    let error = reply.get("error").and_then(Value::as_str).unwrap_or_default();
    let begins = "ValueError('the reply has 167772";
    assert!(error.starts_with(begins) && error.ends_with(" bytes, and may have 16777216')"), "{error:.100}");
    let reply = bench.ask("fill", &[("size", 15 << 20)]).await;
    assert_eq!(reply.as_str().map(str::len), Some(15 << 20));
    worker.stop().await;
}

#[tokio::test]
async fn a_reply_that_is_too_large_for_the_store_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("tasks.db").display());
    let mut bench = Bench::on(app(), &url).await;
    let options = ConnectOptions { message_limit: 100_000, ..ConnectOptions::default() };
    bench.store = connect(&url, &options).await.unwrap();
    bench.app = bench.app.with_store(bench.store.clone());
    let worker = bench.start();
    let reply = bench.ask("fill", &[("size", 200_000)]).await;
    let error = reply.get("error").and_then(Value::as_str).unwrap_or_default();
    assert!(error.ends_with(" bytes, and may have 100000')"), "{error:.100}");
    worker.stop().await;
}
