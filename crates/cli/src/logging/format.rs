//! What one log line looks like. Pure.

use std::fmt::Write;

use celeriac_protocol::{Timestamp, Value, json};
use jiff::tz::TimeZone;
use tracing::{Level, Metadata};

use super::Format;
use super::fields::{Fields, TASK_ID, TASK_NAME};
use super::pattern::{Pattern, Record};
use crate::output::show_value;

/// The child process that printed a line, as the worker logs it.
const CHILD: &str = "child";

/// Formats of Python's `logging` that an application has chosen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patterns {
    /// Of lines about the worker.
    pub(crate) process: Pattern,
    /// Of what tasks write.
    pub(crate) task: Pattern,
}

/// Renders log lines.
pub(crate) struct Line {
    format: Format,
    /// In place of ours.
    patterns: Option<Patterns>,
    colored: bool,
    process: String,
    zone: TimeZone,
}

impl Line {
    /// Lines of this process, with local time for people.
    pub(crate) fn new(format: Format, patterns: Option<Patterns>, colored: bool, process: String) -> Self {
        Self { format, patterns, colored, process, zone: TimeZone::system() }
    }

    /// One line with its line end. What a person would read as several lines (a traceback) stays several.
    pub(crate) fn render(
        &self,
        at: Timestamp,
        metadata: &Metadata<'_>,
        event: &Fields,
        spans: &Fields,
    ) -> String {
        let level = level_name(*metadata.level());
        match (self.format, &self.patterns) {
            (Format::Human, Some(patterns)) => {
                self.patterned(patterns, at, level, metadata.target(), event, spans)
            }
            (Format::Human, None) => self.human(at, level, event, spans),
            (Format::Json, _) => self.json(at, level, metadata.target(), event, spans),
        }
    }

    /// Celery's `worker_log_format` and `worker_task_log_format`: `[time: LEVEL/Process] name[id]: message`.
    fn human(&self, at: Timestamp, level: &str, event: &Fields, spans: &Fields) -> String {
        let mut line = String::with_capacity(160);
        let color = if self.colored { color_of(level) } else { "" };
        let time = local_time(at, &self.zone);
        let shown = |name: &str| event.get(name).or_else(|| spans.get(name)).map(show_value);
        let process = shown(CHILD).unwrap_or_else(|| self.process.clone());
        let _ = write!(line, "{color}[{time}: {level}/{process}] ");
        // Celery's own lines ("Task name[id] received") name the task already.
        if let Some(id) = shown(TASK_ID).filter(|id| !event.message.contains(id.as_str())) {
            let _ = write!(line, "{}[{id}]: ", shown(TASK_NAME).unwrap_or_default());
        }
        line.push_str(&said(event, spans));
        line.push_str(if color.is_empty() { "\n" } else { "\u{1b}[0m\n" });
        line
    }

    /// The same in the formats of the application.
    fn patterned(
        &self,
        patterns: &Patterns,
        at: Timestamp,
        level: &str,
        target: &str,
        event: &Fields,
        spans: &Fields,
    ) -> String {
        let shown = |name: &str| event.get(name).or_else(|| spans.get(name)).map(show_value);
        let (child, task_id, task_name) = (shown(CHILD), shown(TASK_ID), shown(TASK_NAME));
        let is_of_task = task_id.as_ref().is_some_and(|id| !event.message.contains(id.as_str()));
        let record = Record {
            at,
            level,
            process: child.as_deref().unwrap_or(&self.process),
            logger: &target.replace("::", "."),
            message: &said(event, spans),
            task_name: task_name.as_deref(),
            task_id: task_id.as_deref(),
        };
        let pattern = if is_of_task { &patterns.task } else { &patterns.process };
        let line = pattern.render(&record, &self.zone);
        match if self.colored { color_of(level) } else { "" } {
            "" => line + "\n",
            color => format!("{color}{line}\u{1b}[0m\n"),
        }
    }

    fn json(&self, at: Timestamp, level: &str, target: &str, event: &Fields, spans: &Fields) -> String {
        let time = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
        let mut line = format!("{{\"time\":\"{time:.6}\",\"level\":\"{level}\"");
        let fixed = [("process", self.process.as_str()), ("target", target), ("message", &event.message)];
        for (name, text) in fixed {
            let _ = write!(line, ",{}:{}", json_of(&name.into()), json_of(&text.into()));
        }
        for (name, value) in all_fields(event, spans) {
            let _ = write!(line, ",{}:{}", json_of(&Value::from(*name)), json_of(value));
        }
        line.push_str("}\n");
        line
    }
}

/// What a line says, with the fields that have no place elsewhere.
fn said(event: &Fields, spans: &Fields) -> String {
    let mut said = event.message.clone();
    for (name, value) in
        all_fields(event, spans).filter(|(name, _)| ![TASK_ID, TASK_NAME, CHILD].contains(name))
    {
        let _ = write!(said, " {name}={}", text_of(value));
    }
    said
}

/// The fields of the spans, then those of the event; the event's own win.
fn all_fields<'a>(
    event: &'a Fields,
    spans: &'a Fields,
) -> impl Iterator<Item = (&'a &'static str, &'a Value)> {
    let of_spans = spans.others.iter().filter(|(name, _)| event.get(name).is_none());
    // What `log` records carry beside their message is where they came from, which `target` says.
    let fields = of_spans.chain(&event.others).filter(|(name, _)| !name.starts_with("log."));
    fields.map(|(name, value)| (name, value))
}

/// Python's `asctime` with milliseconds.
fn local_time(at: Timestamp, zone: &TimeZone) -> String {
    let at =
        jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default().to_zoned_datetime(zone.clone());
    format!("{},{:03}", at.strftime("%Y-%m-%d %H:%M:%S"), at.millisecond())
}

/// A value for people; a small number without an exponent.
fn text_of(value: &Value) -> String {
    match value {
        Value::Float(number) => number.to_string(),
        other => show_value(other),
    }
}

fn json_of(value: &Value) -> String {
    String::from_utf8_lossy(&json::to_bytes(value)).into_owned()
}

/// Python's name of a level.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// Celery's colors: errors red, warnings yellow, debug blue.
fn color_of(level: &str) -> &'static str {
    match level {
        "ERROR" => "\u{1b}[31m",
        "WARNING" => "\u{1b}[33m",
        "DEBUG" | "TRACE" => "\u{1b}[34m",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_micros(1_700_000_000_123_456);

    fn line(format: Format) -> Line {
        Line { format, patterns: None, colored: false, process: "MainProcess".into(), zone: TimeZone::UTC }
    }

    fn fields(message: &str, others: &[(&'static str, Value)]) -> Fields {
        Fields { message: message.into(), others: others.to_vec() }
    }

    #[test]
    fn a_line_for_people_is_celerys() {
        let event = fields("saved", &[("links", 3.into())]);
        let task = fields("", &[("task_id", "4f2a".into()), ("task_name", "urls.save".into())]);
        let text = line(Format::Human).human(AT, "INFO", &event, &task);
        assert_eq!(text, "[2023-11-14 22:13:20,123: INFO/MainProcess] urls.save[4f2a]: saved links=3\n");
        let received = fields("Task urls.save[4f2a] received", &[]);
        let text = line(Format::Human).human(AT, "INFO", &received, &task);
        assert_eq!(text, "[2023-11-14 22:13:20,123: INFO/MainProcess] Task urls.save[4f2a] received\n");
    }

    #[test]
    fn an_application_chooses_what_a_line_looks_like() {
        let pattern = |format| Pattern::parse(format, None).unwrap();
        let patterns = Patterns {
            process: pattern("%(levelname)s %(name)s %(message)s"),
            task: pattern("%(task_name)s/%(task_id)s %(message)s"),
        };
        let task = fields("", &[("task_id", "4f2a".into()), ("task_name", "urls.save".into())]);
        let line = line(Format::Human);
        let text = |message| line.patterned(&patterns, AT, "INFO", "a::b", &fields(message, &[]), &task);
        assert_eq!(text("saved"), "urls.save/4f2a saved\n");
        assert_eq!(text("Task urls.save[4f2a] received"), "INFO a.b Task urls.save[4f2a] received\n");
    }

    #[test]
    fn a_line_of_a_child_names_it() {
        let captured = fields("saved", &[("child", "Process-3".into()), ("task_id", "4f2a".into())]);
        let text = line(Format::Human).human(AT, "INFO", &captured, &Fields::default());
        assert_eq!(text, "[2023-11-14 22:13:20,123: INFO/Process-3] [4f2a]: saved\n");
    }

    #[test]
    fn a_json_line_carries_the_task() {
        let event = fields("two\nlines", &[("links", 3.into())]);
        let task = fields("", &[("task_id", "4f2a".into()), ("task_name", "urls.save".into())]);
        let text = line(Format::Json).json(AT, "INFO", "urls", &event, &task);
        let expected = r#"{"time":"2023-11-14T22:13:20.123456Z","level":"INFO","process":"MainProcess","target":"urls","message":"two\nlines","task_id":"4f2a","task_name":"urls.save","links":3}"#;
        assert_eq!(text, format!("{expected}\n"));
    }
}
