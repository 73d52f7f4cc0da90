//! `failed`: the tasks that nobody could run, kept unharmed for a person to decide.

use celeriac_protocol::{TaskId, TaskName, Timestamp, Value};
use celeriac_store::{FailedTask, Store};
use clap::Subcommand;

use crate::failure::Failure;
use crate::output::{map, show_value};
use crate::purge::confirm;
use crate::session::Session;
use crate::table::{Column, Table, printable};
use crate::values::{iso, show_age};

/// How many failed tasks are read at once for `--all`.
const BATCH: usize = 1000;

const COLUMNS: [Column; 6] = [
    Column::Text("ID"),
    Column::Text("TASK"),
    Column::Text("QUEUE"),
    Column::Text("FAILED"),
    Column::Number("DELIVERIES"),
    Column::Text("REASON"),
];

const HELP: &str = "\
Their messages are kept as they came: unknown tasks, undecodable or wrong arguments, tasks whose process died too often. Tasks that ended with an error of their own are not here: see `result`.";

/// List, show, requeue or drop tasks that nobody could run
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List failed tasks, the latest first
    List {
        /// At most this many
        #[arg(short, long, default_value_t = 50)]
        limit: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one failed task with its evidence
    Show {
        /// The task
        id: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Send failed tasks again to the queues they came from
    Requeue(Chosen),
    /// Remove failed tasks for good
    Drop {
        #[command(flatten)]
        chosen: Chosen,
        /// With --all: do not ask
        #[arg(short, long)]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// The tasks
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,

    /// All of them
    #[arg(long)]
    all: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to do with failed tasks.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Requeue,
    Drop,
}

impl Fate {
    fn done(self) -> &'static str {
        match self {
            Self::Requeue => "requeued",
            Self::Drop => "dropped",
        }
    }

    async fn befall(self, store: &Store, ids: &[TaskId]) -> celeriac_store::Result<u64> {
        match self {
            Self::Requeue => store.requeue_failed(ids).await,
            Self::Drop => store.failed().drop_failed(ids).await,
        }
    }
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    match args.action {
        Action::List { limit, json } => list(limit, json, session).await,
        Action::Show { id, json } => show(&TaskId::from(id), json, session).await,
        Action::Requeue(chosen) => settle(Fate::Requeue, chosen, session).await,
        Action::Drop { chosen, force } => {
            if chosen.all && !force {
                confirm("This removes all failed tasks for good.", session)?;
            }
            settle(Fate::Drop, chosen, session).await
        }
    }
}

async fn list(limit: usize, json: bool, session: &mut Session<'_>) -> Result<(), Failure> {
    let tasks = session.store().await?.failed().list(limit).await.map_err(|error| unreadable(&error))?;
    if json {
        return session.output.json(&Value::List(tasks.iter().map(as_json).collect()));
    }
    let table = as_table(&tasks, session.now());
    session.output.table(&table, "no failed tasks")
}

async fn show(id: &TaskId, json: bool, session: &mut Session<'_>) -> Result<(), Failure> {
    let found = session.store().await?.failed().get(id).await.map_err(|error| unreadable(&error))?;
    let Some(task) = found else { return Err(unknown(std::slice::from_ref(id))) };
    if json {
        return session.output.json(&as_json(&task));
    }
    let text = describe(&task, session.now());
    Ok(session.output.out.write_all(text.as_bytes())?)
}

async fn settle(fate: Fate, chosen: Chosen, session: &mut Session<'_>) -> Result<(), Failure> {
    let store = session.store().await?;
    let ids: Vec<TaskId> = chosen.ids.into_iter().map(TaskId::from).collect();
    let count = if chosen.all {
        settle_all(fate, &store, session.now()).await
    } else {
        fate.befall(&store, &ids).await
    };
    let count = count.map_err(|error| Failure::because("the failed tasks cannot be changed", &error))?;
    if chosen.json {
        session.output.json(&map([(fate.done(), count.into())]))?;
    } else {
        session.output.line(format!("{} {count}", fate.done()))?;
    }
    if count < ids.len() as u64 { Err(unknown(&ids)) } else { Ok(()) }
}

/// Everything that had failed by `now`: what fails again meanwhile is left alone, or this would not end.
async fn settle_all(fate: Fate, store: &Store, now: Timestamp) -> celeriac_store::Result<u64> {
    let (mut count, mut limit) = (0, BATCH);
    loop {
        let batch = store.failed().list(limit).await?;
        let known = batch.iter().filter(|task| task.failed_at <= now);
        let ids: Vec<TaskId> = known.map(|task| task.task_id.clone()).collect();
        match fate.befall(store, &ids).await? {
            // What stays, because it cannot be requeued or has failed anew, comes first: look behind it.
            0 if batch.len() < limit => return Ok(count),
            0 => limit = limit.saturating_mul(2),
            settled => count += settled,
        }
    }
}

fn unreadable(error: &celeriac_store::Error) -> Failure {
    Failure::because("the failed tasks cannot be read", error)
}

fn unknown(ids: &[TaskId]) -> Failure {
    let message = match ids {
        [id] => format!("{id} is not a failed task that this can be done with"),
        _ => "some of these are not failed tasks that this can be done with".to_owned(),
    };
    Failure::new(message).next("see `failed list`; a message that cannot be decoded can only be dropped")
}

fn as_table(tasks: &[FailedTask], now: Timestamp) -> Table {
    let mut table = Table::new(&COLUMNS);
    for task in tasks {
        table.row([
            task.task_id.to_string(),
            name(task).unwrap_or("?").to_owned(),
            task.queue.to_string(),
            show_age(task.failed_at, now),
            task.deliveries.to_string(),
            format!("{}: {}", task.reason.code, task.reason.text),
        ]);
    }
    table
}

/// Everything known of one failed task, for people.
fn describe(task: &FailedTask, now: Timestamp) -> String {
    let mut lines = vec![
        ("task", name(task).unwrap_or("?").to_owned()),
        ("id", task.task_id.to_string()),
        ("queue", task.queue.to_string()),
        ("failed", format!("{} ({})", iso(task.failed_at), show_age(task.failed_at, now))),
        ("deliveries", task.deliveries.to_string()),
        ("reason", format!("{}: {}", task.reason.code, task.reason.text)),
    ];
    if let Some(message) = &task.message {
        let called = |repr: &Option<Box<str>>| repr.as_deref().unwrap_or("?").to_owned();
        lines.push(("args", called(&message.headers.argsrepr)));
        lines.push(("kwargs", called(&message.headers.kwargsrepr)));
        lines.push(("body", format!("{} bytes", message.body.len())));
    }
    if let Some(bytes) = &task.undecodable {
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
        lines.push(("bytes", format!("{} bytes: {shown}", bytes.len())));
    }
    let evidence = task.reason.evidence.as_map().unwrap_or_default();
    let mut text = String::new();
    for (label, value) in lines {
        text.push_str(&format!("{label:<10}  {}\n", printable(&value)));
    }
    for (fact, value) in evidence {
        text.push_str(&format!("  {fact}: {}\n", printable(&show_value(value))));
    }
    text
}

fn as_json(task: &FailedTask) -> Value {
    let headers = task.message.as_ref().map(|message| &message.headers);
    map([
        ("id", task.task_id.as_str().into()),
        ("task", name(task).into()),
        ("queue", task.queue.as_str().into()),
        ("failed_at", iso(task.failed_at).into()),
        ("deliveries", task.deliveries.into()),
        ("code", (*task.reason.code).into()),
        ("reason", (*task.reason.text).into()),
        ("evidence", task.reason.evidence.clone()),
        ("args", headers.and_then(|headers| headers.argsrepr.clone()).into()),
        ("kwargs", headers.and_then(|headers| headers.kwargsrepr.clone()).into()),
        ("undecodable_bytes", task.undecodable.as_ref().map(|_| task.size).into()),
    ])
}

fn name(task: &FailedTask) -> Option<&str> {
    task.message.as_ref()?.headers.task.as_ref().map(TaskName::as_str)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use celeriac_protocol::QueueName;
    use celeriac_store::clock::Clock;
    use celeriac_store::memory::MemoryStore;
    use celeriac_store::{
        ConnectOptions, ConsumeOptions, FailureReason, Finish, Publish, Route, Settle, connect,
    };

    use super::*;

    /// A task that failed first, and after it more undecodable messages than are read at once.
    async fn store_with_failed(queue: &QueueName) -> Store {
        let store = connect("memory://requeue-all", &ConnectOptions::default()).await.unwrap();
        let same = MemoryStore::open("requeue-all", Clock::system(), 1024);
        let consume = ConsumeOptions {
            queues: vec![queue.clone()],
            prefetch: 10,
            lease: Duration::from_secs(60),
            worker: "test".to_owned(),
        };
        let mut subscription = store.broker().consume(consume).await.unwrap();
        for name in ["failed", "behind"] {
            let mut message = celeriac_protocol::Message::default();
            message.headers.id = Some(TaskId::from(name));
            let publish = Publish { route: Route::to(queue), message, due: None };
            store.broker().publish(vec![publish].into()).await.unwrap();
            let delivery = subscription.consumer.fetch(1).await.unwrap().remove(0);
            let reason = FailureReason { code: "c".into(), text: "t".into(), evidence: Value::Null };
            let settle = if name == "failed" { Settle::Fail(reason) } else { Settle::Ack };
            let finish = Finish {
                delivery: Some(delivery.tag),
                settle,
                result: None,
                follow_ups: Vec::new(),
                workflow: None,
            };
            store.finish(&*subscription.settler, vec![finish]).await.unwrap();
            (0..=BATCH).for_each(|_| same.publish_undecodable(queue, b"junk"));
        }
        store
    }

    #[tokio::test]
    async fn requeueing_all_looks_behind_what_cannot_be_requeued() {
        let queue = QueueName::new("q");
        let store = store_with_failed(&queue).await;
        let count = settle_all(Fate::Requeue, &store, Clock::system().now()).await.unwrap();
        assert_eq!(count, 1);
        assert!(store.failed().get(&TaskId::from("failed")).await.unwrap().is_none());
        assert!(store.failed().list(usize::MAX).await.unwrap().len() > BATCH, "the others are kept");
    }
}
