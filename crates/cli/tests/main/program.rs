//! The program that the tests of the command line run: some tasks, and `run`.

use std::process::ExitCode;

use celeriac_app::signals::{self, WorkerSetup};
use celeriac_app::task::Isolation;
use celeriac_app::{App, Arguments, Context, TaskBody, TaskDefinition, TaskError, TaskOptions};
use celeriac_protocol::Value;

fn main() -> ExitCode {
    celeriac_cli::run(app())
}

fn app() -> App {
    let app = App::new("demo")
        .on(signals::celeryd_init, |setup| choose_by_name(signals::celeryd_init.name(), setup))
        .on(signals::celeryd_after_setup, |setup| choose_by_name(signals::celeryd_after_setup.name(), setup))
        .on(signals::worker_shutting_down, |worker| tracing::info!("told to stop by {:?}", worker.signal));
    if std::env::var_os("DEMO_OWN_LOGGING").is_some() {
        return with_tasks(app.on(signals::setup_logging, |node| eprintln!("own logging of {}", node.name)));
    }
    with_tasks(app.on(signals::after_setup_logger, |node| tracing::info!("logging of {}", node.name)))
}

/// A worker with the name of a signal gets other settings from it.
fn choose_by_name(signal: &str, setup: &WorkerSetup) {
    if setup.name.starts_with(signal) {
        let concurrency = if setup.name.ends_with("@bad") { 0 } else { 3 };
        setup.edit(|settings| settings.worker_concurrency = Some(concurrency));
    }
}

fn with_tasks(app: App) -> App {
    let mut isolated = TaskOptions::default();
    isolated.isolation = Isolation::Process;
    let mut ignored = TaskOptions::default();
    ignored.ignore_result = Some(true);
    app.task(TaskDefinition::new("demo.add", TaskBody::blocking(|_, _, arguments| add(&arguments))))
        .task(TaskDefinition::new("demo.fail", TaskBody::blocking(|_, _, _| Err(fail()))))
        .task(
            TaskDefinition::new("demo.mute", TaskBody::blocking(|_, _, _| Ok(Value::Null)))
                .with_options(ignored),
        )
        .task(TaskDefinition::new("demo.hold", TaskBody::asynchronous(hold)))
        .task(TaskDefinition::new("demo.pid", TaskBody::blocking(pid)).with_options(isolated))
}

fn add(arguments: &Arguments) -> Result<Value, TaskError> {
    let sum = arguments.args.iter().map(|value| value.as_i64().unwrap_or(0)).sum::<i64>();
    Ok(Value::from(sum))
}

fn fail() -> TaskError {
    TaskError::failure("ValueError", "no links")
}

/// Runs until it is told to stop.
async fn hold(context: Context, _: Arguments) -> Result<Value, TaskError> {
    tracing::info!("holding");
    context.cancellation().cancelled().await;
    Ok(Value::Null)
}

/// Which process runs it; says so in its log too.
fn pid(_: &Context, _: &celeriac_app::resource::LocalSet, _: Arguments) -> Result<Value, TaskError> {
    tracing::warn!("in a child");
    Ok(Value::from(std::process::id()))
}
