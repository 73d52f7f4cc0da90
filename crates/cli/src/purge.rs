//! `purge`: removes what waits in queues.

use std::io::{BufRead, IsTerminal};

use celeriac_protocol::{QueueName, Value};
use celeriac_store::{QueueStats, Store};
use clap::builder::NonEmptyStringValueParser;

use crate::failure::Failure;
use crate::output::{Output, map};
use crate::session::Session;

const HELP: &str = "\
Scheduled tasks are removed too. What a worker runs or has reserved is not touched.";

/// Remove what waits in queues, for good
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The queues; default: the program's default queue
    #[arg(value_name = "QUEUE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    queues: Vec<String>,

    /// Do not ask
    #[arg(short, long)]
    force: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let queues = match args.queues.as_slice() {
        [] => vec![session.default_queue()],
        names => names.iter().map(QueueName::new).collect(),
    };
    let store = session.store().await?;
    if !args.force {
        let waiting = store.broker().queues(&queues).await;
        let waiting = waiting.map_err(|error| Failure::because("the queues cannot be read", &error))?;
        confirm(&question(&waiting), session)?;
    }
    let removed = remove(&store, &queues).await?;
    if args.json {
        let one = |(queue, count): &(QueueName, u64)| {
            map([("queue", queue.as_str().into()), ("removed", (*count).into())])
        };
        return session.output.json(&Value::List(removed.iter().map(one).collect()));
    }
    for (queue, count) in removed {
        session.output.line(format!("removed {count} from {queue}"))?;
    }
    Ok(())
}

/// Removes what waits in the queues of a worker before it takes any, and says how much that was as Celery does.
///
/// Source: `celery/apps/worker.py`, `Worker.purge_messages`, Celery 5.7.0.
pub(crate) async fn before_work(
    store: &Store,
    queues: &[QueueName],
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let count: u64 = remove(store, queues).await?.iter().map(|(_, count)| count).sum();
    if count > 0 {
        let plural = if count == 1 { "" } else { "s" };
        output.line(format!("purge: Erased {count} message{plural} from the queue.\n"))?;
    }
    Ok(())
}

/// Removes what waits, and says how much of it was in which queue.
async fn remove(store: &Store, queues: &[QueueName]) -> Result<Vec<(QueueName, u64)>, Failure> {
    let mut removed = Vec::new();
    for queue in queues {
        let count = store.broker().purge(queue).await;
        let count =
            count.map_err(|error| Failure::because(format!("queue {queue} cannot be purged"), &error))?;
        removed.push((queue.clone(), count));
    }
    Ok(removed)
}

/// Asks on the terminal; without one, nothing is confirmed.
pub(crate) fn confirm(question: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(
            Failure::new("nothing was removed: there is no terminal to confirm on").next("pass --force")
        );
    }
    write!(session.output.err, "{question} Type yes to go on: ")?;
    session.output.err.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    match answer.trim() {
        "yes" => Ok(()),
        _ => Err(Failure::new("nothing was removed: it was not confirmed")),
    }
}

fn question(queues: &[QueueStats]) -> String {
    let ready: u64 = queues.iter().map(|queue| queue.ready).sum();
    let scheduled: u64 = queues.iter().filter_map(|queue| queue.scheduled).sum();
    let names: Vec<&str> = queues.iter().map(|queue| queue.queue.as_str()).collect();
    format!(
        "This removes {ready} waiting and {scheduled} scheduled tasks from {} for good.",
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_says_what_would_be_lost() {
        let queue = |name: &str| QueueStats {
            queue: name.into(),
            ready: 3,
            scheduled: Some(2),
            lent: None,
            consumers: 0,
        };
        assert_eq!(
            question(&[queue("mails"), queue("reports")]),
            "This removes 6 waiting and 4 scheduled tasks from mails, reports for good."
        );
    }
}
