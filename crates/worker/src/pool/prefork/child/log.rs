//! The log of a child: lines on its standard error, which the parent takes up into its own log.
//!
//! Each line is a record and starts with its level as `<N>`, after sd-daemon(3), so that the parent logs it at the same one. Time,
//! child and task are added by the parent, in the format of its own lines. This is the log of every program's children:
//! also of those that log in some other way in their worker.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// What stands for the end of a line within a record: the record separator of ASCII, which no text has.
pub(in super::super) const LINE_BREAK: &str = "\u{1e}";

/// Where the span of a task is made.
const EXECUTOR: &str = "celeriac_worker::executor";

/// Writes lines for the parent.
struct Lines {
    most: LevelFilter,
    next: AtomicU64,
    /// Each span as text, and how many hold it.
    spans: Mutex<HashMap<u64, (String, usize)>>,
}

/// Logs for the parent from now on, up to this level. Where the program logs in its own way already, it keeps to it.
pub(super) fn start(level: &str) {
    let most = level.parse().unwrap_or(LevelFilter::INFO);
    if tracing::subscriber::set_global_default(Lines::new(most)).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
}

/// A panic outside of a task, as an error.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("(a value that is not text)");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => tracing::error!(place, "panicked: {message}\n{backtrace}"),
        _ => tracing::error!(place, "panicked: {message}"),
    }
}

/// The level up to which children are to log so that their parent misses nothing.
pub(in super::super) fn level_for_children() -> String {
    LevelFilter::current().to_string()
}

impl Lines {
    fn new(most: LevelFilter) -> Self {
        Self { most, next: AtomicU64::new(1), spans: Mutex::default() }
    }

    fn spans(&self) -> MutexGuard<'_, HashMap<u64, (String, usize)>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, event: &Event<'_>) -> String {
        let mut text = String::new();
        ENTERED.with_borrow(|entered| {
            let spans = self.spans();
            for (span, _) in entered.iter().filter_map(|id| spans.get(id)) {
                text.push_str(span);
                text.push_str(": ");
            }
        });
        event.record(&mut Fields(&mut text));
        let digit = digit(*event.metadata().level());
        // A line is a record to the parent, and so a record with several lines, such as a backtrace, is to be one.
        let lines: Vec<&str> = text.trim_end().lines().collect();
        format!("<{digit}>{}\n", lines.join(LINE_BREAK))
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The parent knows the task, so that the span that names it would only repeat it.
        *metadata.level() <= self.most && !(metadata.is_span() && metadata.target() == EXECUTOR)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut text = format!("{}{{", span.metadata().name());
        span.record(&mut Fields(&mut text));
        text.truncate(text.trim_end().len());
        text.push('}');
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.spans().insert(id, (text, 1));
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        if let Some((text, _)) = self.spans().get_mut(&span.into_u64()) {
            text.truncate(text.len() - 1);
            text.push(' ');
            values.record(&mut Fields(text));
            text.truncate(text.trim_end().len());
            text.push('}');
        }
    }

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let line = self.line(event);
        // A parent that is gone reads no log.
        let _ = std::io::stderr().lock().write_all(line.as_bytes());
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|id| *id == span.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, span: &Id) -> Id {
        if let Some((_, holders)) = self.spans().get_mut(&span.into_u64()) {
            *holders += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let mut spans = self.spans();
        let Some((_, holders)) = spans.get_mut(&span.into_u64()) else { return false };
        *holders -= 1;
        let is_last = *holders == 0;
        if is_last {
            spans.remove(&span.into_u64());
        }
        is_last
    }
}

/// Adds fields to a line: the message as it is, others as `name=value`.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
            // What records of the `log` crate carry beside their message is where they came from.
            name if name.starts_with("log.") => Ok(()),
            name => write!(self.0, "{name}={value:?} "),
        };
    }
}

/// The digit of a level, after syslog(3), with 8 for what syslog does not know.
fn digit(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG => 7,
        Level::TRACE => 8,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Passes everything to lines, and keeps what they would write.
    struct Kept(Lines, Arc<Mutex<Vec<String>>>);

    impl Subscriber for Kept {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            self.0.enabled(metadata)
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            self.0.new_span(span)
        }

        fn record(&self, span: &Id, values: &Record<'_>) {
            self.0.record(span, values);
        }

        fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

        fn event(&self, event: &Event<'_>) {
            self.1.lock().unwrap().push(self.0.line(event));
        }

        fn enter(&self, span: &Id) {
            self.0.enter(span);
        }

        fn exit(&self, span: &Id) {
            self.0.exit(span);
        }
    }

    #[test]
    fn a_record_is_one_line_with_its_level_its_spans_and_its_fields() {
        let lines = Lines::new(LevelFilter::INFO);
        let kept = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Kept(lines, Arc::clone(&kept)), || {
            let _task = tracing::error_span!(target: EXECUTOR, "task", task_id = "t-1").entered();
            let _page = tracing::info_span!("page", url = "/", rest = tracing::field::Empty).entered();
            _page.record("rest", 2);
            tracing::warn!(target: "urls", count = 3, name = "a b", "two\nlines");
            tracing::debug!("not wanted");
        });
        assert_eq!(*kept.lock().unwrap(), ["<4>page{url=/ rest=2}: two\u{1e}lines count=3 name=a b\n"]);
    }
}
