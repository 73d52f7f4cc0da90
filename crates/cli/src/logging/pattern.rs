//! Log lines in a format of Python's `logging`, such as Celery's `worker_log_format`. Pure.

use std::fmt::Write;

use celeriac_protocol::Timestamp;
use jiff::tz::TimeZone;

/// A format of the `%` style: text and fields.
///
/// Source: the Python library, `logging`, "LogRecord attributes", Python 3.13.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
    /// What `asctime` looks like; `None` is as Python has it.
    time: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field { name: String, left: bool, zeros: bool, width: usize, precision: Option<usize>, kind: char },
}

/// What a line is made of.
pub(crate) struct Record<'a> {
    pub(crate) at: Timestamp,
    pub(crate) level: &'a str,
    pub(crate) process: &'a str,
    pub(crate) logger: &'a str,
    pub(crate) message: &'a str,
    pub(crate) task_name: Option<&'a str>,
    pub(crate) task_id: Option<&'a str>,
}

impl Pattern {
    /// Reads a format and the one of its times.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(format: &str, time: Option<&str>) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = format;
        while let Some((before, after)) = rest.split_once('%') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('%') {
                text.push('%');
                rest = after;
                continue;
            }
            let (field, after) = field(after).ok_or_else(|| format!("%{after} is no field of a log line"))?;
            parts.push(Part::Text(std::mem::take(&mut text)));
            parts.push(field);
            rest = after;
        }
        text.push_str(rest);
        parts.push(Part::Text(text));
        Ok(Self { parts, time: time.map(ToOwned::to_owned) })
    }

    /// A line, without its end.
    pub(crate) fn render(&self, record: &Record<'_>, zone: &TimeZone) -> String {
        let mut line = String::with_capacity(160);
        for part in &self.parts {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Field { name, left, zeros, width, precision, kind } => {
                    let mut value = self.value(name, *kind, record, zone);
                    if let Some(precision) = precision.filter(|_| *kind == 's') {
                        value = value.chars().take(precision).collect();
                    }
                    let _ = match (left, *zeros && *kind != 's') {
                        (true, _) => write!(line, "{value:<width$}"),
                        (false, true) => write!(line, "{value:0>width$}"),
                        (false, false) => write!(line, "{value:>width$}"),
                    };
                }
            }
        }
        line
    }

    /// Places in a program, threads and the like are of no use in lines that Rust writes.
    fn value(&self, name: &str, kind: char, record: &Record<'_>, zone: &TimeZone) -> String {
        let micros = record.at.as_micros();
        match name {
            "asctime" => self.time(micros, zone),
            "created" => format!("{:.6}", micros as f64 / 1e6),
            "msecs" => (micros.rem_euclid(1_000_000) / 1000).to_string(),
            "levelname" => record.level.to_owned(),
            "levelno" => level_number(record.level).to_string(),
            "message" => record.message.to_owned(),
            "name" => record.logger.to_owned(),
            "process" => std::process::id().to_string(),
            "processName" => record.process.to_owned(),
            "threadName" => "MainThread".to_owned(),
            "task_name" => record.task_name.unwrap_or("???").to_owned(),
            "task_id" => record.task_id.unwrap_or("???").to_owned(),
            _ if kind == 's' => String::new(),
            _ => "0".to_owned(),
        }
    }

    fn time(&self, micros: i64, zone: &TimeZone) -> String {
        let at =
            jiff::Timestamp::from_microsecond(micros).unwrap_or_default().to_zoned_datetime(zone.clone());
        match &self.time {
            Some(format) => jiff::fmt::strtime::format(format, &at).unwrap_or_else(|_| at.to_string()),
            None => format!("{},{:03}", at.strftime("%Y-%m-%d %H:%M:%S"), at.millisecond()),
        }
    }
}

/// The field after a `%`, and what comes after it.
fn field(text: &str) -> Option<(Part, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    let conversion = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (spec, rest) = rest.split_at(conversion);
    let kind = rest.chars().next().filter(|kind| "sdifFeEgGxXour".contains(*kind))?;
    let flags = spec.len() - spec.trim_start_matches(['-', '0', ' ', '+', '#']).len();
    let (flags, size) = spec.split_at(flags);
    let (width, precision) =
        size.split_once('.').map_or((size, None), |(width, digits)| (width, Some(digits)));
    let number = |text: &str| if text.is_empty() { Some(0) } else { text.parse().ok() };
    let part = Part::Field {
        name: name.to_owned(),
        left: flags.contains('-'),
        zeros: flags.contains('0'),
        width: number(width)?,
        precision: match precision {
            None => None,
            Some(digits) => Some(number(digits)?),
        },
        kind,
    };
    Some((part, &rest[1..]))
}

fn level_number(level: &str) -> u8 {
    match level {
        "CRITICAL" => 50,
        "ERROR" => 40,
        "WARNING" => 30,
        "INFO" => 20,
        "TRACE" => 5,
        _ => 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &str, time: Option<&str>) -> String {
        let record = Record {
            at: Timestamp::from_micros(1_700_000_000_123_456),
            level: "INFO",
            process: "MainProcess",
            logger: "celeriac.worker",
            message: "ready.",
            task_name: None,
            task_id: Some("4f2a"),
        };
        Pattern::parse(format, time).unwrap().render(&record, &TimeZone::UTC)
    }

    #[test]
    fn lines_look_as_python_would_write_them() {
        let cases = [
            (
                "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s",
                "[2023-11-14 22:13:20,123: INFO/MainProcess] ready.",
            ),
            ("%(levelname)-8s|%(levelname)8s|%(levelno)03d|%(levelname).2s", "INFO    |    INFO|020|IN"),
            (
                "%(task_name)s[%(task_id)s] %(name)s 100%% %(lineno)d%(funcName)s",
                "???[4f2a] celeriac.worker 100% 0",
            ),
            ("{\"at\": %(created)f, \"ms\": %(msecs)d}", "{\"at\": 1700000000.123456, \"ms\": 123}"),
            ("plain", "plain"),
        ];
        for (format, expected) in cases {
            assert_eq!(line(format, None), expected);
        }
        assert_eq!(line("%(asctime)s", Some("%d.%m.%Y %H:%M")), "14.11.2023 22:13");
    }

    #[test]
    fn what_is_no_format_is_said_to_be_none() {
        for wrong in ["%q", "%(message", "%(message)", "%(message)-.qs", "50%"] {
            assert!(Pattern::parse(wrong, None).is_err(), "{wrong}");
        }
    }
}
