//! `inspect`: what the workers do at this moment. `inspect workflow` is in `workflow.rs`, and `inspect COMMAND` in `remote`.

use std::time::Duration;

use celeriac_app::control::Kind;
use celeriac_protocol::{Timestamp, Value};
use celeriac_store::WorkerRecord;

use crate::failure::Failure;
use crate::output::{map, show_value};
use crate::remote::{self, Receivers, Words};
use crate::session::Session;
use crate::table::{Column, Table, printable};
use crate::values::{iso, show_age, show_bytes, show_duration};
use crate::workflow;

const POOLS: [Column; 4] = [
    Column::Text("POOL"),
    Column::Number("CONCURRENCY"),
    Column::Number("RUNNING"),
    Column::Number("RESERVED"),
];

const TASKS: [Column; 6] = [
    Column::Text("RUNNING TASK"),
    Column::Text("ID"),
    Column::Text("POOL"),
    Column::Text("ON"),
    Column::Number("FOR"),
    Column::Number("DELIVERIES"),
];

const CHILDREN: [Column; 7] = [
    Column::Text("CHILD"),
    Column::Number("PID"),
    Column::Text("PHASE"),
    Column::Text("TASK"),
    Column::Number("TASKS"),
    Column::Number("MEMORY"),
    Column::Text("LAST DEATH"),
];

const RESOURCES: [Column; 9] = [
    Column::Text("RESOURCE"),
    Column::Text("OF"),
    Column::Text("KIND"),
    Column::Text("STATE"),
    Column::Number("ALIVE"),
    Column::Number("BUILT"),
    Column::Number("REBUILT"),
    Column::Number("FAILED"),
    Column::Text("LAST ERROR"),
];

const HELP: &str = "\
Without a command, shows every live worker: what it runs and has reserved, its child processes, and how its \
resources fare; exits with 1 if no worker is alive. A command is one of remote control (see --list), which \
workers of Celery answer too; exits with 69 if none does.";

/// Ask the workers what they do
#[derive(Debug, clap::Args)]
#[command(after_help = HELP, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,

    #[command(flatten)]
    words: Words,

    #[command(flatten)]
    receivers: Receivers,
}

/// What else there is to inspect.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show a workflow: how each of its tasks stands, and what it waits for
    Workflow(workflow::Args),
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    if let Some(What::Workflow(args)) = args.what {
        return workflow::run(args, session).await;
    }
    let Args { words, receivers: args, .. } = args;
    if words.list {
        return remote::list(Kind::Inspect, session);
    }
    if words.command.is_some() {
        return remote::send(Kind::Inspect, &words, &args, session).await;
    }
    let store = session.store().await?;
    let workers = store.presence().workers(args.timeout).await;
    let mut workers = workers.map_err(|error| Failure::because("the workers cannot be asked", &error))?;
    if !args.destination.is_empty() {
        workers.retain(|worker| args.destination.contains(&worker.name));
    }
    if args.json {
        session.output.json(&Value::List(workers.iter().map(as_json).collect()))?;
    }
    if workers.is_empty() {
        return Err(
            Failure::new(format!("no worker is alive on {}", store.url())).next("start one with `worker`")
        );
    }
    if !args.json {
        let text = describe(&workers, session.now());
        session.output.out.write_all(text.as_bytes())?;
    }
    Ok(())
}

fn as_json(worker: &WorkerRecord) -> Value {
    map([
        ("worker", worker.name.as_str().into()),
        ("id", worker.id.0.as_str().into()),
        ("announced_at", iso(worker.announced_at).into()),
        ("facts", worker.facts.clone()),
    ])
}

/// All that the workers say of themselves, for people.
fn describe(workers: &[WorkerRecord], now: Timestamp) -> String {
    let described: Vec<String> = workers.iter().map(|worker| describe_one(worker, now)).collect();
    described.join("\n")
}

fn describe_one(worker: &WorkerRecord, now: Timestamp) -> String {
    let facts = &worker.facts;
    let queues: Vec<String> = list(facts, "queues").iter().map(show_value).collect();
    let mut text = format!(
        "{}: {}, pid {}, said so {}\n",
        printable(&worker.name),
        show(facts, "state"),
        show(facts, "pid"),
        show_age(worker.announced_at, now)
    );
    text.push_str(&printable(&format!("  queues: {}", queues.join(", "))));
    text.push_str(&format!("\n  so far: {}\n", totals(facts)));
    for table in [pools(facts), tasks(facts), children(facts), resources(facts)] {
        if !table.is_empty() {
            text.push('\n');
            text.extend(table.to_string().lines().map(|line| format!("  {line}\n")));
        }
    }
    text
}

/// The counters that are not zero.
fn totals(facts: &Value) -> String {
    let totals = facts.get("totals").and_then(Value::as_map).unwrap_or_default();
    let counts = totals.iter().filter_map(|(name, count)| match count {
        Value::Int(count) if *count != 0 => Some(format!("{count} {}", name.replace('_', " "))),
        _ => None,
    });
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { "nothing ended".to_owned() } else { counts.join(", ") }
}

fn pools(facts: &Value) -> Table {
    let mut table = Table::new(&POOLS);
    for pool in list(facts, "pools") {
        table.row(["pool", "concurrency", "running", "waiting"].map(|fact| show(pool, fact)));
    }
    table
}

fn tasks(facts: &Value) -> Table {
    let mut table = Table::new(&TASKS);
    for task in list(facts, "running") {
        let runtime = task.get("runtime_seconds").and_then(Value::as_f64).unwrap_or_default();
        let runtime = Duration::try_from_secs_f64(runtime).unwrap_or_default();
        let [name, id, pool, executor, deliveries] =
            ["name", "id", "pool", "executor", "deliveries"].map(|fact| show(task, fact));
        table.row([name, id, pool, executor, show_duration(runtime), deliveries]);
    }
    table
}

/// The members of pools that are processes.
fn child_facts(facts: &Value) -> impl Iterator<Item = &Value> {
    let members = list(facts, "pools").iter().flat_map(|pool| list(pool, "members"));
    members.filter(|member| member.get("phase").is_some())
}

fn children(facts: &Value) -> Table {
    let mut table = Table::new(&CHILDREN);
    for child in child_facts(facts) {
        let memory = child.get("memory").and_then(Value::as_i64).and_then(|bytes| u64::try_from(bytes).ok());
        let [name, pid, phase, task, tasks, death] =
            ["name", "pid", "phase", "task", "tasks", "last_death"].map(|fact| show(child, fact));
        table.row([name, pid, phase, task, tasks, show_bytes(memory.unwrap_or_default()), death]);
    }
    table
}

/// The resources of the worker itself, then those of its children.
fn resources(facts: &Value) -> Table {
    let mut table = Table::new(&RESOURCES);
    let of_children = child_facts(facts).map(|child| (show(child, "name"), list(child, "resources")));
    for (process, resources) in
        [("worker".to_owned(), list(facts, "resources"))].into_iter().chain(of_children)
    {
        for resource in resources {
            let [name, kind, state, alive, builds, rebuilds, failures, error] =
                ["name", "kind", "state", "alive", "builds", "rebuilds", "failures", "last_error"]
                    .map(|fact| show(resource, fact));
            table.row([name, process.clone(), kind, state, alive, builds, rebuilds, failures, error]);
        }
    }
    table
}

fn list<'a>(facts: &'a Value, name: &str) -> &'a [Value] {
    facts.get(name).and_then(Value::as_list).unwrap_or_default()
}

/// One fact as text; nothing if there is none, as workers of other versions may say less.
fn show(facts: &Value, name: &str) -> String {
    match facts.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(value) => show_value(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_protocol::json;
    use celeriac_store::ConsumerId;

    const NOW: Timestamp = Timestamp::from_micros(60_000_000);

    fn worker(facts: &str) -> WorkerRecord {
        WorkerRecord {
            id: ConsumerId("1".into()),
            name: "one@here".into(),
            announced_at: NOW,
            valid_for: Duration::from_secs(30),
            facts: json::parse(facts.as_bytes()).unwrap(),
        }
    }

    #[test]
    fn people_see_pools_tasks_children_and_resources() {
        let worker = worker(
            r#"{"state": "ready", "pid": 7, "queues": ["a", "b"], "totals": {"succeeded": 3, "failed": 0, "children_died": 1},
            "pools": [{"pool": "prefork", "concurrency": 2, "running": 1, "waiting": 5, "members": [
                {"name": "Child-1", "pid": 8, "phase": "ready", "task": "t1", "tasks": 4, "memory": 3145728, "last_death": null,
                 "resources": [{"name": "UrlDb", "kind": "local", "state": "ready", "alive": 1, "builds": 1, "rebuilds": 0,
                                "failures": 0, "last_error": null}]}]}],
            "running": [{"id": "t1", "name": "demo.pid", "pool": "prefork", "executor": "Child-1", "runtime_seconds": 65.0,
                         "deliveries": 1}],
            "resources": [{"name": "Cache", "kind": "shared", "state": "failing", "alive": 0, "builds": 0, "rebuilds": 0,
                           "failures": 2, "last_error": "refused"}]}"#,
        );
        let expected = "\
one@here: ready, pid 7, said so 0s ago
  queues: a, b
  so far: 3 succeeded, 1 children died

  POOL     CONCURRENCY  RUNNING  RESERVED
  prefork            2        1         5

  RUNNING TASK  ID  POOL     ON         FOR  DELIVERIES
  demo.pid      t1  prefork  Child-1  1m 5s           1

  CHILD    PID  PHASE  TASK  TASKS   MEMORY  LAST DEATH
  Child-1    8  ready  t1        4  3.0 MiB

  RESOURCE  OF       KIND    STATE    ALIVE  BUILT  REBUILT  FAILED  LAST ERROR
  Cache     worker   shared  failing      0      0        0       2  refused
  UrlDb     Child-1  local   ready        1      1        0       0
";
        assert_eq!(describe(&[worker], NOW), expected);
    }

    #[test]
    fn a_worker_that_says_little_is_shown_all_the_same() {
        assert_eq!(
            describe(&[worker("{}")], NOW),
            "one@here: , pid , said so 0s ago\n  queues: \n  so far: nothing ended\n"
        );
    }
}
