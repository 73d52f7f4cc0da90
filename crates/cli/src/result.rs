//! `result`: what became of a task.

use std::time::Duration;

use celeriac_protocol::{ResultRecord, State, TaskId, Value};
use celeriac_store::Store;

use crate::failure::Failure;
use crate::output::{Output, map, show_value};
use crate::session::Session;
use crate::values::{duration, iso};

const HELP: &str = "\
Prints the value that the task returned: text as it is, anything else as JSON. If the task failed, or has no result yet, says so on standard error and exits with 1.";

/// Print the result of a task
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The task
    id: String,

    #[command(flatten)]
    wait: Wait,

    /// Print JSON: state, result, traceback and more
    #[arg(long)]
    json: bool,
}

/// Whether and how long to wait for a result.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Wait {
    /// Wait for the result, at most this long; without SECONDS until it is there
    #[arg(short, long, value_name = "SECONDS", num_args = 0..=1, allow_negative_numbers = true, value_parser = duration)]
    wait: Option<Option<Duration>>,
}

impl Wait {
    /// Whether to wait at all.
    pub(crate) fn is_wanted(self) -> bool {
        self.wait.is_some()
    }
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let record = outcome(&TaskId::from(args.id), args.wait, session).await?;
    print(&record, args.json, &mut session.output)
}

/// The record of a task, final if waiting for it was asked for and worth it. A task that nothing is known of is pending.
pub(crate) async fn outcome(
    id: &TaskId,
    wait: Wait,
    session: &mut Session<'_>,
) -> Result<ResultRecord, Failure> {
    let store = session.store().await?;
    let known = current(id, &store).await?;
    let Some(limit) = wait.wait.filter(|_| !known.state.is_ready()) else { return Ok(known) };
    if store.presence().workers(Duration::ZERO).await.is_ok_and(|workers| workers.is_empty()) {
        session.output.note("note: no worker is alive; waiting all the same");
    }
    let ids = [id.clone()];
    let ended = store.results().wait(&ids);
    let ended = match limit {
        None => ended.await,
        Some(limit) => match tokio::time::timeout(limit, ended).await {
            Ok(ended) => ended,
            Err(_) => return current(id, &store).await,
        },
    };
    match ended.map_err(unreadable)?.into_iter().next() {
        Some(record) => Ok(record),
        None => current(id, &store).await,
    }
}

async fn current(id: &TaskId, store: &Store) -> Result<ResultRecord, Failure> {
    let records = store.results().get(std::slice::from_ref(id)).await.map_err(unreadable)?;
    let record = records.into_iter().next().flatten();
    Ok(record.unwrap_or_else(|| ResultRecord::new(id.clone(), State::Pending, Value::Null, None)))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: celeriac_store::Error) -> Failure {
    Failure::because("the result cannot be read", &error)
}

/// Prints the value of a task that succeeded; anything else is a failure of the command.
pub(crate) fn print(record: &ResultRecord, json: bool, output: &mut Output<'_>) -> Result<(), Failure> {
    if json {
        output.json(&as_json(record))?;
    } else if record.state == State::Success {
        output.line(show_value(&record.result))?;
    }
    let id = &record.task_id;
    match &record.state {
        State::Success => Ok(()),
        State::Pending => Err(Failure::new(format!("task {id} has no result: it waits, or nobody knows it"))
            .next("wait with --wait; `queues`, `failed list` and `inspect` show where it could be")),
        State::Failure | State::Revoked => Err(ended_badly(record, json)),
        _ => Err(unfinished(record)),
    }
}

/// A task that runs, is retried, or reports a state of its own, with what it said of it.
fn unfinished(record: &ResultRecord) -> Failure {
    let (id, state) = (&record.task_id, &record.state);
    let said = match (record.exception(), &record.result) {
        (Some(exception), _) => format!(", {exception}"),
        (None, Value::Null) => String::new(),
        (None, said) => format!(", {}", show_value(said)),
    };
    Failure::new(format!("task {id} has not ended: its state is {state}{said}")).next("wait with --wait")
}

fn ended_badly(record: &ResultRecord, json: bool) -> Failure {
    let verb = if record.state == State::Revoked { "was revoked" } else { "failed" };
    let exception =
        record.exception().map_or_else(|| show_value(&record.result), |exception| exception.to_string());
    let failure = Failure::new(format!("task {} {verb}", record.task_id)).cause(exception);
    // With --json the traceback is part of what was printed.
    match &record.traceback {
        Some(traceback) if !json => failure.cause(traceback.trim_end()),
        _ => failure,
    }
}

fn as_json(record: &ResultRecord) -> Value {
    let mut entries = map([
        ("task_id", record.task_id.as_str().into()),
        ("state", record.state.as_str().into()),
        ("result", record.result.clone()),
        ("traceback", record.traceback.clone().into()),
        ("date_done", record.date_done.map(iso).into()),
    ]);
    if let Value::Map(entries) = &mut entries {
        entries.extend(record.other.iter().cloned());
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_protocol::TaskException;

    /// What is printed, and the failure.
    fn printed(record: &ResultRecord, json: bool) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let ended = print(record, json, &mut Output { out: &mut out, err: &mut err, is_terminal: false });
        let failure = ended.err().map(|failure| failure.to_string()).unwrap_or_default();
        (String::from_utf8(out).unwrap(), failure)
    }

    fn record(state: State, result: Value) -> ResultRecord {
        ResultRecord::new("4f2a".into(), state, result, None)
    }

    #[test]
    fn a_value_is_printed_alone() {
        assert_eq!(
            printed(&record(State::Success, "two\nlines".into()), false),
            ("two\nlines\n".into(), String::new())
        );
        assert_eq!(
            printed(&record(State::Success, Value::List(vec![Value::Int(1)])), false),
            ("[1]\n".into(), String::new())
        );
    }

    #[test]
    fn a_failed_task_fails_the_command_with_its_error() {
        let mut failed = record(State::Failure, TaskException::new("ValueError", "no links").into_value());
        failed.traceback = Some("at urls.rs:7\n".into());
        let (out, failure) = printed(&failed, false);
        assert_eq!(out, "");
        assert_eq!(
            failure,
            "error: task 4f2a failed\n  cause: ValueError: no links\n  cause: at urls.rs:7\n"
        );
    }

    #[test]
    fn progress_is_shown_with_what_the_task_says_of_it() {
        let progress = record(State::Custom("PROGRESS".into()), map([("done", 3.into())]));
        let expected = "\
error: task 4f2a has not ended: its state is PROGRESS, {\"done\": 3}
  next: wait with --wait
";
        assert_eq!(printed(&progress, false), (String::new(), expected.to_owned()));
    }

    #[test]
    fn programs_get_every_field() {
        let (out, failure) = printed(&record(State::Started, Value::Null), true);
        let expected = r#"{"task_id": "4f2a", "state": "STARTED", "result": null, "traceback": null, "date_done": null}"#;
        assert_eq!(out, format!("{expected}\n"));
        assert!(failure.starts_with("error: task 4f2a has not ended: its state is STARTED\n"));
    }
}
