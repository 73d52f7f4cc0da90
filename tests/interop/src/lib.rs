//! Tasks in Rust for the tests that run Celeriac beside real Celery. `python/tasks.py` has the same ones in Python.

pub mod canvas;
mod endings;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use celeriac::control::{ArgumentKind, Asked, Command, CommandError};
use celeriac::prelude::*;

/// Adds.
#[celeriac::task(name = "rust.add")]
pub async fn add(x: i64, y: i64) -> TaskResult<i64> {
    Ok(x + y)
}

/// Returns what it was given.
#[celeriac::task(name = "rust.echo")]
pub async fn echo(value: Value) -> TaskResult<Value> {
    Ok(value)
}

/// Fails.
#[celeriac::task(name = "rust.fail")]
pub async fn fail(message: String) -> TaskResult<()> {
    Err(TaskError::failure("OutOfTea", message))
}

/// Fails until it was tried `times` times again.
#[celeriac::task(name = "rust.stubborn", bind, max_retries = 10)]
pub async fn stubborn(task: &Context, times: u32) -> TaskResult<u32> {
    if task.retries() < times {
        return Err(TaskError::retry().countdown(Duration::from_millis(50)));
    }
    Ok(task.retries())
}

/// Says what it knows of its own call.
#[celeriac::task(name = "rust.whoami", bind)]
pub async fn whoami(task: &Context) -> TaskResult<Value> {
    let headers = task.headers();
    let other = |name: &str| {
        headers.other.iter().find(|(key, _)| &**key == name).map_or(Value::Null, |(_, value)| value.clone())
    };
    Ok(Value::Map(vec![
        ("id".into(), Value::from(task.id().as_str())),
        ("root_id".into(), Value::from(task.root_id().as_str())),
        ("retries".into(), Value::from(i64::from(task.retries()))),
        ("priority".into(), Value::from(task.delivery().message.properties.priority.map(i64::from))),
        ("tenant".into(), other("tenant")),
        ("stamps".into(), other("stamps")),
        ("stamped_headers".into(), other("stamped_headers")),
    ]))
}

/// Asks to be run again in an hour.
#[celeriac::task(name = "rust.later", max_retries = 10)]
pub async fn later() -> TaskResult<()> {
    Err(TaskError::retry().countdown(Duration::from_secs(3600)))
}

/// Adds, and says in which language.
#[celeriac::task(name = "shared.add")]
pub async fn shared_add(x: i64, y: i64) -> TaskResult<(i64, String)> {
    Ok((x + y, "rust".to_owned()))
}

/// Says that it runs, and runs until it may go, in a process of its own.
#[celeriac::task(name = "shared.slow", isolation = "process")]
pub fn shared_slow(address: String) -> TaskResult<String> {
    let mut test = TcpStream::connect(address)?;
    test.write_all(b"rust\n")?;
    // It may go as well when nobody is there any more.
    let _ = test.read(&mut [0]);
    Ok("rust".to_owned())
}

/// Sleeps.
#[celeriac::task(name = "shared.nap")]
pub async fn shared_nap(seconds: f64) -> TaskResult<String> {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    Ok("rust".to_owned())
}

/// Fails.
#[celeriac::task(name = "shared.fail")]
pub async fn shared_fail(message: String) -> TaskResult<()> {
    Err(TaskError::failure("OutOfTea", message))
}

/// The program, for workers and for clients.
pub fn app() -> App {
    App::new("interop")
        .tasks(tasks![
            add,
            echo,
            fail,
            stubborn,
            whoami,
            later,
            shared_add,
            shared_slow,
            shared_nap,
            shared_fail
        ])
        .tasks(canvas::all())
        .tasks(endings::all())
        .control_command(
            Command::inspect("greet", greet).takes("name", ArgumentKind::Text).help("Greets somebody"),
        )
        .control_command(Command::control("panics", async |_| -> Result<(), CommandError> {
            panic!("as it does")
        }))
        .control_command(Command::control("blocks", blocks).takes("address", ArgumentKind::Text))
}

/// A command that tells who was asked.
async fn greet(asked: Asked) -> Result<(String, String), CommandError> {
    Ok((asked.argument("name")?, asked.node.into()))
}

/// A command that blocks its thread until it may go.
async fn blocks(asked: Asked) -> Result<&'static str, CommandError> {
    let mut test = TcpStream::connect(asked.argument::<String>("address")?)?;
    let _ = test.read(&mut [0]);
    Ok("gone on")
}
