//! `queues`: what waits where.

use celeriac_protocol::{QueueName, Value};
use celeriac_store::QueueStats;
use clap::builder::NonEmptyStringValueParser;

use crate::failure::Failure;
use crate::output::map;
use crate::session::Session;
use crate::table::{Column, Table};

const COLUMNS: [Column; 5] = [
    Column::Text("QUEUE"),
    Column::Number("READY"),
    Column::Number("SCHEDULED"),
    Column::Number("LENT"),
    Column::Number("CONSUMERS"),
];

const HELP: &str = "\
READY tasks could start now, SCHEDULED ones have an ETA, a countdown or a retry ahead of them, LENT ones are with a worker.";

/// Show what waits in the queues
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Only these queues; default: all
    #[arg(value_name = "QUEUE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    queues: Vec<String>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let names: Vec<QueueName> = args.queues.into_iter().map(QueueName::from).collect();
    let store = session.store().await?;
    let queues = store
        .broker()
        .queues(&names)
        .await
        .map_err(|error| Failure::because("the queues cannot be read", &error))?;
    if args.json {
        return session.output.json(&as_json(&queues));
    }
    session
        .output
        .table(&as_table(&queues), "no queues yet: they are made by the first task sent or worker started")
}

fn as_table(queues: &[QueueStats]) -> Table {
    let mut table = Table::new(&COLUMNS);
    let number = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    for queue in queues {
        table.row([
            queue.queue.to_string(),
            queue.ready.to_string(),
            number(queue.scheduled),
            number(queue.lent),
            queue.consumers.to_string(),
        ]);
    }
    table
}

fn as_json(queues: &[QueueStats]) -> Value {
    let one = |queue: &QueueStats| {
        map([
            ("queue", queue.queue.as_str().into()),
            ("ready", queue.ready.into()),
            ("scheduled", queue.scheduled.into()),
            ("lent", queue.lent.into()),
            ("consumers", queue.consumers.into()),
        ])
    };
    Value::List(queues.iter().map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<QueueStats> {
        vec![
            QueueStats {
                queue: "celery".into(),
                ready: 12,
                scheduled: Some(1000),
                lent: Some(4),
                consumers: 2,
            },
            QueueStats { queue: "reports".into(), ready: 0, scheduled: None, lent: None, consumers: 0 },
        ]
    }

    #[test]
    fn people_get_a_table() {
        let expected = "\
QUEUE    READY  SCHEDULED  LENT  CONSUMERS
celery      12       1000     4          2
reports      0          ?     ?          0
";
        assert_eq!(as_table(&example()).to_string(), expected);
    }

    #[test]
    fn programs_get_json() {
        let expected = concat!(
            r#"[{"queue": "celery", "ready": 12, "scheduled": 1000, "lent": 4, "consumers": 2}, "#,
            r#"{"queue": "reports", "ready": 0, "scheduled": null, "lent": null, "consumers": 0}]"#
        );
        assert_eq!(crate::output::show_value(&as_json(&example())), expected);
    }
}
