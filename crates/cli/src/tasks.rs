//! `tasks`: what this program can run.

use std::time::Duration;

use celeriac_app::task::{Acks, Isolation, RetryFor, RetryPolicy};
use celeriac_app::{TaskBody, TaskDefinition};
use celeriac_protocol::Value;

use crate::failure::Failure;
use crate::output::map;
use crate::session::Session;
use crate::table::{Column, Table};

const COLUMNS: [Column; 4] =
    [Column::Text("TASK"), Column::Text("RUNS ON"), Column::Text("PARAMETERS"), Column::Text("OPTIONS")];

const HELP: &str = "\
Only options that differ from their defaults are shown.";

/// List the tasks of this program and their options
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let app = session.app().clone();
    if args.json {
        return session.output.json(&Value::List(app.task_list().map(|task| as_json(task)).collect()));
    }
    let mut table = Table::new(&COLUMNS);
    for task in app.task_list() {
        let options: Vec<String> =
            options(task).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        table.row([task.name.to_string(), pool(task).into(), task.parameters.join(", "), options.join(" ")]);
    }
    session.output.table(&table, "this program has no tasks: register them with App::tasks")
}

/// The pool that runs a task.
pub(crate) fn pool(task: &TaskDefinition) -> &'static str {
    match (&task.body, task.options.isolation) {
        (TaskBody::Python(rules), _) if rules.is_coroutine => "loops",
        (TaskBody::Python(_), _) => "python",
        (_, Isolation::Process) => "prefork",
        (TaskBody::Async(_), Isolation::None) => "async",
        (TaskBody::Blocking(_), Isolation::None) => "threads",
    }
}

fn as_json(task: &TaskDefinition) -> Value {
    let options = options(task).into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    map([
        ("task", task.name.as_str().into()),
        ("pool", pool(task).into()),
        ("parameters", Value::List(task.parameters.iter().map(|&name| name.into()).collect())),
        ("options", Value::Map(options)),
    ])
}

/// The options that were set, under Celery's names.
fn options(task: &TaskDefinition) -> Vec<(&'static str, String)> {
    let options = &task.options;
    let flag = |set: Option<bool>| set.map(|set| set.to_string());
    let text = |set: &Option<Box<str>>| set.as_deref().map(str::to_owned);
    let acks = options.acks.map(|acks| (acks == Acks::Late).to_string());
    let mut set = vec![
        ("queue", options.queue.as_ref().map(ToString::to_string)),
        ("priority", options.priority.map(|priority| priority.to_string())),
        ("countdown", options.countdown.map(seconds)),
        ("expires", options.expires.map(seconds)),
        ("acks_late", acks),
        ("time_limit", options.time_limit.map(seconds)),
        ("soft_time_limit", options.soft_time_limit.map(seconds)),
        ("rate_limit", options.rate_limit.map(|limit| limit.to_string())),
        ("ignore_result", flag(options.ignore_result)),
        ("track_started", flag(options.track_started)),
        ("serializer", text(&options.serializer)),
        ("compression", text(&options.compression)),
    ];
    set.extend(retry(&options.retry));
    set.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
}

fn retry(policy: &RetryPolicy) -> [(&'static str, Option<String>); 5] {
    let default = RetryPolicy::default();
    let max_retries = policy.max_retries.map_or_else(|| "none".to_owned(), |max| max.to_string());
    let retry_for = match policy.retry_for {
        RetryFor::Nothing => None,
        RetryFor::Everything => Some("all"),
        RetryFor::Matching(_) => Some("some"),
    };
    [
        ("retry_for", retry_for.map(str::to_owned)),
        ("max_retries", (policy.max_retries != default.max_retries).then_some(max_retries)),
        ("retry_backoff", policy.backoff.map(seconds)),
        (
            "retry_backoff_max",
            (policy.backoff_max != default.backoff_max).then(|| seconds(policy.backoff_max)),
        ),
        ("retry_jitter", (!policy.jitter).then(|| "false".to_owned())),
    ]
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
