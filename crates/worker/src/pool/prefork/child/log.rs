//! The log of a child: lines on its standard error, which the parent takes up into its own log.
//!
//! Each line starts with its level as `<N>`, after sd-daemon(3), so that the parent logs it at the same one. Time,
//! child and task are added by the parent.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
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
    let lines = Lines { most, next: AtomicU64::new(1), spans: Mutex::default() };
    let _ = tracing::subscriber::set_global_default(lines);
}

/// The level up to which children are to log so that their parent misses nothing.
pub(in super::super) fn level_for_children() -> String {
    LevelFilter::current().to_string()
}

impl Lines {
    fn spans(&self) -> MutexGuard<'_, HashMap<u64, (String, usize)>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, event: &Event<'_>) -> String {
        let metadata = event.metadata();
        let mut line = format!("<{}>{}: ", digit(*metadata.level()), metadata.target());
        ENTERED.with_borrow(|entered| {
            let spans = self.spans();
            for (span, _) in entered.iter().filter_map(|id| spans.get(id)) {
                line.push_str(span);
                line.push_str(": ");
            }
        });
        event.record(&mut Fields(&mut line));
        // One event is one line, whatever its message holds.
        line.trim_end().replace('\n', "\\n")
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.most
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
        let line = self.line(event) + "\n";
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
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?} "),
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
    fn a_line_names_its_level_its_spans_and_its_fields() {
        let lines = Lines { most: LevelFilter::INFO, next: AtomicU64::new(1), spans: Mutex::default() };
        let kept = Arc::new(Mutex::new(Vec::new()));
        tracing::subscriber::with_default(Kept(lines, Arc::clone(&kept)), || {
            let _task = tracing::info_span!("task", id = %"t-1", rest = tracing::field::Empty).entered();
            _task.record("rest", 2);
            tracing::warn!(target: "urls", count = 3, "two\nlines");
            tracing::debug!("not wanted");
        });
        assert_eq!(*kept.lock().unwrap(), [r"<4>urls: task{id=t-1 rest=2}: two\nlines count=3"]);
    }
}
