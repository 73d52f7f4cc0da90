//! Log lines of the program, for people as Celery writes them, or as JSON.
//!
//! Only the command line installs a subscriber. A program that embeds Celeriac, or installs its own
//! subscriber before it calls [`crate::run`], keeps that one. Child processes log through their worker.

mod fields;
mod file;
mod format;
mod pattern;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::util::SubscriberInitExt;

use crate::failure::Failure;
use fields::Fields;
use file::LogFile;
use format::Line;
pub(crate) use format::Patterns;
pub(crate) use pattern::Pattern;

/// Where log lines go and what they look like.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// What is logged.
    pub(crate) level: Level,
    /// What a line looks like.
    pub(crate) format: Format,
    /// What a line for people looks like instead.
    pub(crate) patterns: Option<Patterns>,
    /// Whether colors are wanted, where they can be.
    pub(crate) color: bool,
    /// Where lines go; `None` is standard error.
    pub(crate) file: Option<PathBuf>,
    /// The process as lines name it, unless they come from a child.
    pub(crate) process: String,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    // For people: `[time: LEVEL/Process] message`.
    #[default]
    Human,
    // One JSON object per line.
    Json,
}

/// Which lines are logged: one level, and others for chosen modules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Level(Targets);

impl FromStr for Level {
    type Err = String;

    /// `info`, or `warning,urls=debug,celeriac_store=info`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut targets = Targets::new();
        for directive in text.split(',') {
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level),
                None => (None, directive),
            };
            let level = level_named(level.trim())?;
            targets = match target {
                Some(target) => targets.with_target(target, level),
                None => targets.with_default(level),
            };
        }
        Ok(Self(targets))
    }
}

/// Warnings and errors.
impl Default for Level {
    fn default() -> Self {
        Self(Targets::new().with_default(LevelFilter::WARN))
    }
}

impl Level {
    /// That of Python's `logging` with this number.
    pub(crate) fn numbered(number: u8) -> Self {
        let level = match number {
            0..=10 => LevelFilter::DEBUG,
            11..=20 => LevelFilter::INFO,
            21..=30 => LevelFilter::WARN,
            _ => LevelFilter::ERROR,
        };
        Self(Targets::new().with_default(level))
    }

    /// The level of modules for which none is chosen, under Celery's name.
    pub(crate) fn general(&self) -> &'static str {
        match self.0.default_level() {
            None | Some(LevelFilter::OFF) => "CRITICAL",
            Some(LevelFilter::ERROR) => "ERROR",
            Some(LevelFilter::WARN) => "WARNING",
            Some(LevelFilter::INFO) => "INFO",
            Some(_) => "DEBUG",
        }
    }
}

fn level_named(name: &str) -> Result<LevelFilter, String> {
    match name.to_ascii_lowercase().as_str() {
        "off" => Ok(LevelFilter::OFF),
        "critical" | "fatal" | "error" => Ok(LevelFilter::ERROR),
        "warning" | "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(format!("{name:?} is no level: use debug, info, warning, error or critical")),
    }
}

/// Installs the subscriber and a panic hook that logs, unless the program has a subscriber already.
pub(crate) fn start(options: Options) -> Result<(), Failure> {
    if tracing::dispatcher::has_been_set() {
        return Ok(());
    }
    let colored = options.color
        && options.file.is_none()
        && io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none();
    let writer = match options.file {
        None => Writer::Stderr,
        Some(path) => Writer::File(LogFile::open(&path).map_err(|error| {
            Failure::because(format!("the log file {} cannot be opened", path.display()), &error)
                .next("choose another file with --logfile, or leave it out to log to standard error")
        })?),
    };
    let line = Line::new(options.format, options.patterns, colored, options.process);
    let subscriber = tracing_subscriber::registry().with(options.level.0).with(LogLayer { line, writer });
    // Somebody else was faster: as above, theirs stays.
    if subscriber.try_init().is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// A panic inside a task is logged with that task's id, in the format of all other lines.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let backtrace = std::backtrace::Backtrace::capture();
    let message = panic.payload_as_str().unwrap_or("(a value that is not text)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    tracing::error!(place, "panicked: {message}{backtrace}");
}

/// Turns spans and events into lines.
struct LogLayer {
    line: Line,
    writer: Writer,
}

enum Writer {
    Stderr,
    File(LogFile),
}

impl<S> tracing_subscriber::Layer<S> for LogLayer
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut spans = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                spans.extend(of_span);
            }
        }
        let metadata: &Metadata<'_> = event.metadata();
        let line = self.line.render(celeriac_store::clock::Clock::system().now(), metadata, &fields, &spans);
        self.writer.write(line.as_bytes());
    }
}

impl Writer {
    /// A line that cannot be written is lost: there is no better place to say so.
    fn write(&self, line: &[u8]) {
        match self {
            Self::Stderr => drop(io::stderr().lock().write_all(line)),
            Self::File(file) => file.write(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level as TracingLevel;

    #[test]
    fn levels_have_celerys_names() {
        let level: Level = "WARNING,urls=debug,noisy=off".parse().unwrap();
        assert!(level.0.would_enable("anything", &TracingLevel::WARN));
        assert!(!level.0.would_enable("anything", &TracingLevel::INFO));
        assert!(level.0.would_enable("urls::tasks", &TracingLevel::DEBUG));
        assert!(!level.0.would_enable("noisy", &TracingLevel::ERROR));
        let wrong = "loud".parse::<Level>().unwrap_err();
        assert_eq!(wrong, "\"loud\" is no level: use debug, info, warning, error or critical");
    }
}
