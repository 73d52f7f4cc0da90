//! `inspect COMMAND`, `control COMMAND` and `status`: Celery's remote control, as a client.
//!
//! Source: `celery/bin/control.py`, Celery 5.7.0.

mod commands;
mod shown;

use std::time::Duration;

use celeriac_app::control::{Command, ControlError, Form, Kind, Reply};
use celeriac_protocol::Value;

use crate::failure::Failure;
use crate::session::Session;
use crate::values::{duration, show_duration};

/// The exit code when nobody answers: `EX_UNAVAILABLE`.
///
/// Source: `celery/platforms.py`, Celery 5.7.0.
const UNAVAILABLE: u8 = 69;

/// To whom a command goes, and how the replies are printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Receivers {
    /// Only these workers
    #[arg(short, long, value_name = "NAME,..", value_delimiter = ',')]
    pub(crate) destination: Vec<String>,

    /// How long to wait for replies after the last one
    #[arg(short, long, value_name = "SECONDS", default_value = "1", allow_hyphen_values = true, value_parser = duration)]
    pub(crate) timeout: Duration,

    /// Print JSON
    #[arg(short, long)]
    pub(crate) json: bool,
}

/// A command and its arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Words {
    /// A command of remote control
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,

    /// Its arguments
    #[arg(value_name = "ARG", allow_negative_numbers = true)]
    arguments: Vec<String>,

    /// List the commands
    #[arg(long)]
    pub(crate) list: bool,
}

const CONTROL_HELP: &str = "\
Those that reply are printed; exits with 69 if none does. A worker that is told to end (`shutdown`) does not reply.";

/// Tell the workers something
#[derive(Debug, clap::Args)]
#[command(after_help = CONTROL_HELP)]
pub(crate) struct Control {
    #[command(flatten)]
    words: Words,

    #[command(flatten)]
    receivers: Receivers,
}

/// List the workers that answer
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 69 if none does.")]
pub(crate) struct Status {
    #[command(flatten)]
    receivers: Receivers,
}

/// `control`.
pub(crate) async fn control(args: Control, session: &mut Session<'_>) -> Result<(), Failure> {
    let Control { words, receivers } = args;
    if words.list || words.command.is_none() {
        return list(Kind::Control, session);
    }
    send(Kind::Control, &words, &receivers, session).await
}

/// `status`.
pub(crate) async fn status(args: Status, session: &mut Session<'_>) -> Result<(), Failure> {
    let receivers = args.receivers;
    let replies = ask("ping", Vec::new(), &receivers, session, shown::title).await?;
    if receivers.json {
        // Celery adds the line for people to it, unless it is told to be quiet.
        return session.output.json(&by_node(replies));
    }
    session.output.line(online(replies.len()))
}

/// The commands of one kind.
pub(crate) fn list(kind: Kind, session: &mut Session<'_>) -> Result<(), Failure> {
    let forms = forms(kind, session);
    let called = |form: &Form| format!("{} {}", form.name, form.signature).trim_end().to_owned();
    let width = forms.iter().map(|form| called(form).len()).max().unwrap_or(0);
    for form in &forms {
        let line = format!("{:<width$}  {}", called(form), form.help);
        session.output.line(line.trim_end())?;
    }
    Ok(())
}

/// Sends the command of these words, and prints what is replied.
pub(crate) async fn send(
    kind: Kind,
    words: &Words,
    receivers: &Receivers,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let name = words.command.as_deref().unwrap_or_default();
    let known = forms(kind, session);
    let Some(form) = known.iter().find(|form| form.name == name) else {
        let names: Vec<&str> = known.iter().map(|form| &*form.name).collect();
        let text = format!("{name} is no command of `{}`: there are {}", kind.as_str(), names.join(", "));
        return Err(Failure::new(text).exits_with(2));
    };
    let arguments =
        form.read(&words.arguments).map_err(|error| Failure::new(error.to_string()).exits_with(2))?;
    let replies = ask(name, arguments, receivers, session, shown::chat).await?;
    match (receivers.json, kind) {
        (true, Kind::Inspect) => session.output.json(&by_node(replies)),
        (true, Kind::Control) => {
            let each = replies.into_iter().map(|reply| Value::Map(vec![(reply.node, reply.value)]));
            session.output.json(&Value::List(each.collect()))
        }
        (false, Kind::Inspect) => session.output.line(online(replies.len())),
        (false, Kind::Control) => Ok(()),
    }
}

/// Sends a command; unless JSON is wanted, each reply is printed as it comes, in this form.
async fn ask(
    name: &str,
    arguments: Vec<(Box<str>, Value)>,
    receivers: &Receivers,
    session: &mut Session<'_>,
    form: fn(&Reply) -> String,
) -> Result<Vec<Reply>, Failure> {
    let call = session.app().control().call(name).arguments(arguments).timeout(receivers.timeout);
    let call = call.to(receivers.destination.iter().map(String::as_str));
    let mut replies = Vec::new();
    let mut printed = Ok(());
    let output = &mut session.output;
    let heard = call.each_reply(|reply| {
        if !receivers.json && printed.is_ok() {
            printed = output.line(form(&reply)).and_then(|()| Ok(output.out.flush()?));
        }
        replies.push(reply);
    });
    heard.await.map_err(|error| not_sent(name, &error))?;
    printed?;
    if replies.is_empty() {
        let patience = show_duration(receivers.timeout);
        let text = format!("no worker has replied to {name} within {patience}");
        return Err(Failure::new(text).next("start one with `worker`").exits_with(UNAVAILABLE));
    }
    Ok(replies)
}

fn not_sent(name: &str, error: &ControlError) -> Failure {
    Failure::because(format!("{name} cannot be sent"), error).exits_with(UNAVAILABLE)
}

/// What each node replied. Of two with the same name the later counts, as in Celery.
fn by_node(replies: Vec<Reply>) -> Value {
    let mut nodes: Vec<(Box<str>, Value)> = Vec::new();
    for Reply { node, value, .. } in replies {
        nodes.retain(|(other, _)| *other != node);
        nodes.push((node, value));
    }
    Value::Map(nodes)
}

fn online(nodes: usize) -> String {
    format!("\n{nodes} {} online.", if nodes == 1 { "node" } else { "nodes" })
}

/// The commands of one kind by their names: Celery's, those of the program, and those of the application that it names.
fn forms(kind: Kind, session: &Session<'_>) -> Vec<Form> {
    let own = session.app().control_commands().map(Command::form);
    let added = own.chain(session.commands_of_application()).filter(|form| form.kind == kind).cloned();
    let mut forms: Vec<Form> = added.collect();
    forms.extend(commands::built_in().filter(|form| form.kind == kind));
    // The sort is stable: what was added takes the place of what Celery has.
    forms.sort_by(|one, other| one.name.cmp(&other.name));
    forms.dedup_by(|later, earlier| later.name == earlier.name);
    forms
}
