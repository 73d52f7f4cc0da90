//! `events`: what workers tell those who watch, as it happens: line by line, or as a picture that fills the terminal (`view`).

#[cfg(feature = "tui")]
mod picture;
#[cfg(feature = "tui")]
mod screen;
#[cfg(feature = "tui")]
mod view;

use celeriac_protocol::{Timestamp, Value, events};

use crate::failure::Failure;
use crate::output::show_value;
use crate::session::Session;
use crate::table::printable;

const HELP: &str = "\
Workers say that they are there every 2 seconds, and what happens to tasks if they were started with -E \
or told to by remote control (`control enable_events`). On a terminal a full-screen view shows workers and tasks, \
unless --dump, --json or --limit ask for lines; q ends it. Lines end with Ctrl+C.";

/// What stands at the start of a line, or says nothing to people.
const COMMON: &[&str] = &["type", "hostname", "timestamp", "uuid", "clock", "pid", "utcoffset", "freq"];

/// Show what workers tell, as it happens
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Print a line for each event, on a terminal too
    #[arg(short, long)]
    dump: bool,

    /// Print one JSON document for each event
    #[arg(long)]
    json: bool,

    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(crate) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let exchange = session.settings().event_exchange.clone();
    let store = session.store().await?;
    let lost = |error: celeriac_store::Error| Failure::because("events cannot be heard", &error);
    let mut listener = store.broadcasts().listen_to_keys(&exchange).await.map_err(lost)?;
    #[cfg(feature = "tui")]
    if session.output.is_terminal && !args.dump && !args.json && args.limit.is_none() {
        return view::run(listener, session).await;
    }
    let mut left = args.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let message = listener.next().await.map_err(lost)?;
        let heard = match events::decode(&message) {
            Ok(heard) => heard,
            Err(error) => {
                session.output.note(format!("a message was passed over: {error}"));
                continue;
            }
        };
        for event in heard {
            if left == 0 {
                break;
            }
            left -= 1;
            if args.json {
                session.output.json(&event)?;
            } else {
                session.output.line(line(&event))?;
            }
        }
        session.output.out.flush()?;
    }
    Ok(())
}

/// One event for people: when, who, what, of which task, and what else it says.
fn line(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).map(printable);
    let at = event.get("timestamp").and_then(Value::as_f64).unwrap_or_default();
    let at = Timestamp::from_micros((at * 1e6) as i64);
    let mut line =
        format!("{at} {} {}", text("hostname").unwrap_or_default(), text("type").unwrap_or_default());
    if let Some(id) = text("uuid") {
        line = format!("{line} {id}");
    }
    let Value::Map(fields) = event else { return line };
    for (name, value) in fields.iter().filter(|(name, value)| !COMMON.contains(&&**name) && !value.is_null())
    {
        line = format!("{line} {}={}", printable(name), printable(&show_value(value)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::map;

    #[test]
    fn a_line_says_what_people_want_to_know() {
        let event = map([
            ("type", "task-succeeded".into()),
            ("hostname", "w@h".into()),
            ("timestamp", Value::Float(1.5)),
            ("pid", 7.into()),
            ("uuid", "call-1".into()),
            ("result", "'a\nb'".into()),
            ("runtime", Value::Float(0.25)),
            ("eta", Value::Null),
        ]);
        let time = "1970-01-01T00:00:01.500000+00:00";
        assert_eq!(line(&event), format!("{time} w@h task-succeeded call-1 result='a\\nb' runtime=0.25"));
    }

    #[test]
    fn an_event_may_lack_anything() {
        assert_eq!(line(&Value::Null), "1970-01-01T00:00:00+00:00  ");
    }
}
