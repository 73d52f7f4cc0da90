//! `inspect workflow`: the workflow that a task or a group belongs to, and what it waits for.

use std::time::Duration;

use celeriac_app::workflow::{
    Doom, GroupNode, NodeKind, Role, Standing, TaskNode, WorkflowNode, WorkflowOptions, WorkflowTree,
};
use celeriac_protocol::{GroupId, TaskId, TaskName, Timestamp, Value};
use celeriac_store::QueueStats;

use crate::failure::Failure;
use crate::output::{map, show_value};
use crate::session::Session;
use crate::table::printable;
use crate::values::{duration, iso, local_time, show_age, show_duration};

const HELP: &str = "\
ID is that of any task of it, whether it has run, waits or is not sent yet, or of a group or chord. \
Of what has ended, only what has a stored result is known. Exits with 1 if nothing is known of ID.";

/// Show a workflow: how each of its tasks stands, and what it waits for
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// A task, or a group
    id: String,

    /// Show at most this many open and failed members of a group, and steps of a chain that stand the same way
    #[arg(short, long, value_name = "N", default_value_t = 10, conflicts_with = "all")]
    limit: usize,

    /// Show all members and steps
    #[arg(long)]
    all: bool,

    /// Read at most this many messages to find one, on stores that cannot look it up
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    effort: usize,

    /// How long workers may take to answer
    #[arg(short, long, value_name = "SECONDS", default_value = "1", allow_hyphen_values = true, value_parser = duration)]
    timeout: Duration,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let limit = if args.all { usize::MAX } else { args.limit };
    let options = WorkflowOptions { limit, effort: args.effort, patience: args.timeout };
    let store = session.store().await?;
    let found = session.app().workflow(&args.id, &options).await;
    let found = found.map_err(|error| Failure::because("the workflow cannot be read", &error))?;
    let Some(tree) = found else {
        return Err(Failure::new(format!("nothing is known of {} on {}", printable(&args.id), store.url()))
            .next(
                "its result may be ignored or have expired; `failed list` and `queues` show what is kept",
            ));
    };
    if args.json {
        return session.output.json(&as_json(&tree));
    }
    let text = describe(&tree, session.now());
    session.output.out.write_all(text.as_bytes())?;
    for remark in &tree.remarks {
        session.output.note(format!("note: {remark}"));
    }
    Ok(())
}

/// A workflow for people, one line for each node.
fn describe(tree: &WorkflowTree, now: Timestamp) -> String {
    let mut text = String::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        let line = match &node.what {
            NodeKind::Task(task) => {
                let standing = match (&task.standing, node.role) {
                    (Standing::NotSent { after: None }, Role::Body) => body_waits(tree, at),
                    (standing, _) => show_standing(standing, tree, now),
                };
                format!("{}: {standing}", show_task(task))
            }
            NodeKind::Group(group) => show_group(group),
            NodeKind::Others { count, standing } => format!("... {count} more: {}", plain(standing)),
            _ => continue,
        };
        let asked = if id_of(node) == Some(&*tree.asked) { "  <- asked for" } else { "" };
        let indent = "  ".repeat(node.level as usize);
        text.push_str(&format!("{indent}{}{}{asked}\n", part(node.role), printable(&line)));
    }
    text
}

fn part(role: Role) -> &'static str {
    match role {
        Role::Step => "then ",
        Role::Callback => "callback ",
        Role::Body => "body ",
        _ => "",
    }
}

fn id_of(node: &WorkflowNode) -> Option<&str> {
    match &node.what {
        NodeKind::Task(task) => task.id.as_ref().map(TaskId::as_str),
        NodeKind::Group(group) => group.id.as_ref().map(GroupId::as_str),
        _ => None,
    }
}

fn show_task(task: &TaskNode) -> String {
    let id = task.id.as_ref().map_or("(no id yet)", |id| id.as_str());
    match &task.name {
        Some(name) => format!("{name} {id}"),
        None => format!("task {id}"),
    }
}

fn show_group(group: &GroupNode) -> String {
    let kind = if group.is_header { "chord" } else { "group" };
    let id = group.id.as_ref().map_or("(no id yet)", |id| id.as_str());
    let size = group.size.map_or_else(|| "of unknown size".to_owned(), |size| format!("of {size}"));
    let counts: Vec<String> =
        group.counts.iter().map(|(standing, count)| format!("{count} {}", plain(standing))).collect();
    format!("{kind} {id} {size}: {}", counts.join(", "))
}

/// The name of a standing in a sentence.
fn plain(standing: &str) -> &str {
    match standing {
        "not-sent" => "not sent yet",
        "ready" => "waiting in a queue",
        "group" => "groups",
        other => other,
    }
}

/// What a body waits for: the group before it.
fn body_waits(tree: &WorkflowTree, at: usize) -> String {
    let level = tree.nodes[at].level;
    let header = tree.nodes[..at].iter().rev().find_map(|node| match &node.what {
        NodeKind::Group(group) if node.level == level => Some(group),
        _ => None,
    });
    match header.and_then(|group| Some((group.size?, group.count("succeeded")))) {
        Some((size, done)) => {
            format!("not sent yet, waits for {} of the {size} members", size.saturating_sub(done))
        }
        None => "not sent yet, waits for the members".to_owned(),
    }
}

fn show_standing(standing: &Standing, tree: &WorkflowTree, now: Timestamp) -> String {
    let at = |at: &Option<Timestamp>| at.map_or(String::new(), |at| format!(" {}", show_age(at, now)));
    let on = |worker: &Option<Box<str>>| match worker {
        Some(worker) => format!(" {worker}"),
        None => " a worker".to_owned(),
    };
    match standing {
        Standing::Succeeded { at: ended } => format!("succeeded{}", at(ended)),
        Standing::Failed { at: ended, error, kept_as } => {
            let kept =
                kept_as.as_ref().map_or(String::new(), |code| format!(" (kept: see `failed show`, {code})"));
            format!("failed{}: {error}{kept}", at(ended))
        }
        Standing::Revoked { at: ended, reason } => format!("revoked{}: {reason}", at(ended)),
        Standing::Running { worker, since, says, .. } => {
            let time = since.map_or(String::new(), |since| {
                format!(" for {}", show_duration(now.saturating_since(since)))
            });
            let says = says
                .as_ref()
                .map_or(String::new(), |(state, what)| format!(", {state} {}", show_value(what)));
            format!("runs on{}{time}{says}", on(worker))
        }
        Standing::Reserved { queue, worker } => {
            format!("taken from {queue} by{}, not running yet", on(worker))
        }
        Standing::Held { queue, worker } => {
            format!("held by {worker}, which is not alive; goes back to {queue} when its lease ends")
        }
        Standing::Ready { queue, ahead, doom } => {
            let place = match ahead {
                Some(0) => ", where it is next".to_owned(),
                Some(1) => " behind 1 other".to_owned(),
                Some(ahead) => format!(" behind {ahead} others"),
                None => String::new(),
            };
            format!("waits in queue {queue}{place}{}{}", nobody(queue, tree), show_doom(*doom))
        }
        Standing::Scheduled { queue, due, error, doom } => {
            let error =
                error.as_ref().map_or(String::new(), |error| format!(" to be tried again after {error}"));
            let until = format!("{} (in {})", local_time(*due), show_duration(due.saturating_since(now)));
            format!(
                "scheduled for {until} in queue {queue}{error}{}{}",
                nobody(queue, tree),
                show_doom(*doom)
            )
        }
        Standing::NotSent { after: Some(after) } => format!("not sent yet, waits for {after}"),
        Standing::NotSent { after: None } => "not sent yet".to_owned(),
        Standing::Unknown => "unknown: no message and no result".to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// Celery's workers on Redis cannot be seen.
fn nobody(queue: &str, tree: &WorkflowTree) -> &'static str {
    let stats: Option<&QueueStats> = tree.queues.iter().find(|stats| stats.queue.as_str() == queue);
    match stats {
        Some(stats) if stats.consumers == 0 => "; no Celeriac worker consumes it",
        _ => "",
    }
}

fn show_doom(doom: Option<Doom>) -> &'static str {
    match doom {
        Some(Doom::Revoked) => ", revoked: will not run",
        Some(Doom::Expired) => ", expired: will not run",
        None => "",
    }
}

fn as_json(tree: &WorkflowTree) -> Value {
    let queue = |stats: &QueueStats| {
        map([
            ("queue", stats.queue.as_str().into()),
            ("ready", stats.ready.into()),
            ("consumers", stats.consumers.into()),
        ])
    };
    let remarks = tree.remarks.iter().map(|remark| Value::from(&*remark.to_string()));
    map([
        ("asked", (*tree.asked).into()),
        ("nodes", Value::List(tree.nodes.iter().map(node_as_json).collect())),
        ("queues", Value::List(tree.queues.iter().map(queue).collect())),
        ("remarks", Value::List(remarks.collect())),
    ])
}

fn node_as_json(node: &WorkflowNode) -> Value {
    let mut entries = vec![
        ("level".into(), Value::from(u64::from(node.level))),
        ("role".into(), node.role.as_str().into()),
        ("id".into(), id_of(node).into()),
    ];
    let mut add = |name: &str, value: Value| entries.push((name.into(), value));
    match &node.what {
        NodeKind::Task(task) => {
            add("kind", "task".into());
            add("task", task.name.as_ref().map(TaskName::as_str).into());
            add("standing", task.standing.as_str().into());
            standing_as_json(&task.standing, &mut add);
        }
        NodeKind::Group(group) => {
            add("kind", if group.is_header { "chord" } else { "group" }.into());
            add("size", group.size.into());
            let counts = group.counts.iter().map(|(standing, count)| ((*standing).into(), (*count).into()));
            add("counts", Value::Map(counts.collect()));
        }
        NodeKind::Others { count, standing } => {
            add("kind", "others".into());
            add("standing", (*standing).into());
            add("count", (*count).into());
        }
        _ => {}
    }
    Value::Map(entries)
}

fn standing_as_json(standing: &Standing, add: &mut impl FnMut(&str, Value)) {
    let time = |at: &Option<Timestamp>| Value::from(at.map(iso));
    match standing {
        Standing::Succeeded { at } => add("at", time(at)),
        Standing::Failed { at, error, kept_as } => {
            add("at", time(at));
            add("error", error.as_str().into());
            add("kept_as", kept_as.clone().into());
        }
        Standing::Revoked { at, reason } => {
            add("at", time(at));
            add("reason", reason.as_str().into());
        }
        Standing::Running { queue, worker, since, says } => {
            add("queue", queue.clone().into());
            add("worker", worker.clone().into());
            add("since", time(since));
            if let Some((state, what)) = says {
                add("state", state.clone().into());
                add("says", what.clone());
            }
        }
        Standing::Reserved { queue, worker } => {
            add("queue", (**queue).into());
            add("worker", worker.clone().into());
        }
        Standing::Held { queue, worker } => {
            add("queue", (**queue).into());
            add("worker", (**worker).into());
        }
        Standing::Ready { queue, ahead, doom } => {
            add("queue", (**queue).into());
            add("ahead", (*ahead).into());
            add("will_not_run", doom_as_json(*doom));
        }
        Standing::Scheduled { queue, due, error, doom } => {
            add("queue", (**queue).into());
            add("due", iso(*due).into());
            add("error", error.clone().into());
            add("will_not_run", doom_as_json(*doom));
        }
        Standing::NotSent { after } => add("after", after.as_ref().map(TaskId::as_str).into()),
        _ => {}
    }
}

fn doom_as_json(doom: Option<Doom>) -> Value {
    match doom {
        Some(Doom::Revoked) => "revoked".into(),
        Some(Doom::Expired) => "expired".into(),
        None => Value::Null,
    }
}
