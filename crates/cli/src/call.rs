//! `call`: sends a task by name.

use std::borrow::Cow;
use std::time::Duration;

use celeriac_app::{App, Signature, nearest_name};
use celeriac_protocol::{TaskId, Timestamp, Value, json};
use clap::builder::NonEmptyStringValueParser;

use crate::failure::Failure;
use crate::output::map;
use crate::result::{Wait, outcome, print};
use crate::session::Session;
use crate::values::{Moment, duration, moment, time};

const HELP: &str = "\
Prints the id of the call; with --wait, what the task returns.

Examples:
  $ {bin} call proj.add --args '[1, 2]'
  $ {bin} call proj.add --args '[1]' --kwargs '{\"y\": 2}' --wait 10
  $ {bin} call proj.add --args @numbers.json
  $ {bin} call proj.report --countdown 5m --queue slow --expires 1h";

/// Call a task by name
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The task, such as proj.add
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,

    /// Positional arguments as a JSON array; @FILE reads it from a file, - from standard input
    #[arg(short, long, value_name = "JSON", value_parser = array, default_value = "[]", hide_default_value = true)]
    args: Positional,

    /// Keyword arguments as a JSON object; @FILE and - as above
    #[arg(short, long, value_name = "JSON", value_parser = object, default_value = "{}", hide_default_value = true)]
    kwargs: Keywords,

    /// The queue [default: the task's own, or what the settings route it to]
    #[arg(long, value_parser = NonEmptyStringValueParser::new(), help_heading = "Calling Options")]
    queue: Option<String>,

    /// Start it after this time
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true, value_parser = duration, conflicts_with = "eta", help_heading = "Calling Options")]
    countdown: Option<Duration>,

    /// Start it not before this time: 2030-01-31T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time, help_heading = "Calling Options")]
    eta: Option<Timestamp>,

    /// Do not start it later than this: seconds from now, or a time
    #[arg(long, value_name = "SECONDS|TIME", allow_hyphen_values = true, value_parser = moment, help_heading = "Calling Options")]
    expires: Option<Moment>,

    /// 0 (lowest) to 9 (highest)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9), help_heading = "Calling Options")]
    priority: Option<u8>,

    /// The id of the call [default: a fresh one]
    #[arg(long, value_name = "ID", value_parser = NonEmptyStringValueParser::new(), help_heading = "Calling Options")]
    task_id: Option<String>,

    #[command(flatten)]
    wait: Wait,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Positional arguments. A type of its own, because to clap a `Vec` is an option given many times.
#[derive(Clone, Debug, PartialEq)]
struct Positional(Vec<Value>);

/// Keyword arguments.
#[derive(Clone, Debug, PartialEq)]
struct Keywords(Vec<(Box<str>, Value)>);

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    if let Some(hint) = hint(session.app(), &args.name) {
        session.output.note(hint);
    }
    let (wait, json, name) = (args.wait, args.json, args.name.clone());
    // Opening the store first keeps its errors apart from those of sending.
    session.store().await?;
    let sent = session.app().send(signature(args, session.now())).await;
    let sent = sent.map_err(|error| Failure::because("the task was not sent", &error))?;
    if wait.is_wanted() {
        if sent.is_ignored() {
            let text = format!(
                "task {} was sent, and its result will not be stored: {name} ignores results",
                sent.id()
            );
            return Err(Failure::new(text).next("call it without --wait"));
        }
        let record = outcome(sent.id(), wait, session).await?;
        return print(&record, json, &mut session.output);
    }
    match json {
        true => session.output.json(&map([("task_id", sent.id().as_str().into())])),
        false => session.output.line(sent.id()),
    }
}

/// Tasks of other programs may be called too, so an unknown name is no error; but it may be a slip.
fn hint(app: &App, name: &str) -> Option<String> {
    if app.find_task(name).is_some() {
        return None;
    }
    let nearest = nearest_name(name, app.task_list().map(|task| task.name.as_str()))?;
    Some(format!("note: {name} is not a task of this program; did you mean {nearest}?"))
}

fn signature(args: Args, now: Timestamp) -> Signature {
    let positional = args.args.0.into_iter().map(Ok).collect();
    let keywords = args.kwargs.0.into_iter().map(|(name, value)| (name, Ok(value))).collect();
    let mut call = Signature::named(args.name, positional, keywords);
    if let Some(queue) = args.queue {
        call = call.queue(queue);
    }
    if let Some(countdown) = args.countdown {
        call = call.countdown(countdown);
    }
    if let Some(eta) = args.eta {
        call = call.eta(eta);
    }
    if let Some(expires) = args.expires {
        call = call.expires_at(expires.after(now));
    }
    if let Some(priority) = args.priority {
        call = call.priority(priority);
    }
    if let Some(id) = args.task_id {
        call = call.task_id(TaskId::from(id));
    }
    call
}

fn array(text: &str) -> Result<Positional, String> {
    const EXAMPLE: &str = "expected a JSON array such as '[1, \"two\"]'";
    match parse(&read(text)?, EXAMPLE)? {
        Value::List(values) => Ok(Positional(values)),
        other => Err(format!("{EXAMPLE}, found a {}", other.kind())),
    }
}

fn object(text: &str) -> Result<Keywords, String> {
    const EXAMPLE: &str = "expected a JSON object such as '{\"x\": 1}'";
    match parse(&read(text)?, EXAMPLE)? {
        Value::Map(entries) => Ok(Keywords(entries)),
        other => Err(format!("{EXAMPLE}, found a {}", other.kind())),
    }
}

/// The text itself, or what it says to read: `@FILE`, or `-` for standard input. No JSON begins like that.
fn read(text: &str) -> Result<Cow<'_, str>, String> {
    let (read, from) = match (text, text.strip_prefix('@')) {
        ("-", _) => (std::io::read_to_string(std::io::stdin()), "standard input"),
        (_, Some(path)) => (std::fs::read_to_string(path), path),
        _ => return Ok(Cow::Borrowed(text)),
    };
    read.map(Cow::Owned).map_err(|error| format!("{from} cannot be read: {error}"))
}

fn parse(text: &str, example: &str) -> Result<Value, String> {
    json::parse(text.as_bytes()).map_err(|error| format!("{error}; {example}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_the_wrong_shape_are_refused_with_an_example() {
        assert_eq!(array("{}").unwrap_err(), "expected a JSON array such as '[1, \"two\"]', found a dict");
        assert_eq!(object("[1]").unwrap_err(), "expected a JSON object such as '{\"x\": 1}', found a list");
        assert!(array("[1, ").unwrap_err().ends_with("; expected a JSON array such as '[1, \"two\"]'"));
    }
}
