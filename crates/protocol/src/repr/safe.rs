//! Celery's truncating `repr`.
//!
//! Source: `celery/utils/saferepr.py`, `_saferepr` and `reprstream`, and `celery/utils/text.py`, `truncate`, Celery
//! 5.7.0. Lengths are counted in characters.

use std::borrow::Cow;

use super::scalar_text;
use crate::Value;

/// How long the `argsrepr` and `kwargsrepr` headers may get, not counting closing brackets.
///
/// Source: `celery/app/amqp.py`, `AMQP.argsrepr_maxsize`, Celery 5.7.0.
pub const LIMIT: usize = 1024;

/// How deep values are shown.
///
/// Source: `celery/app/defaults.py`, `task_repr_maxlevels`, Celery 5.7.0.
const MAX_LEVELS: usize = 3;

/// The `argsrepr` header: positional arguments as a tuple.
pub fn args(args: &[Value], limit: usize) -> String {
    let mut repr = Repr::new(limit);
    repr.sequence(args, "(", if args.len() == 1 { ",)" } else { ")" });
    repr.out
}

/// The `kwargsrepr` header: keyword arguments as a dictionary.
pub fn kwargs(kwargs: &[(Box<str>, Value)], limit: usize) -> String {
    let mut repr = Repr::new(limit);
    repr.map(kwargs);
    repr.out
}

struct Repr {
    out: String,
    /// Characters left; may fall below zero, as what is begun is written.
    left: isize,
    level: usize,
    full: bool,
}

impl Repr {
    fn new(limit: usize) -> Self {
        Self { out: String::new(), left: limit.try_into().unwrap_or(isize::MAX), level: 0, full: false }
    }

    /// Writes one piece, or marks the end of what is shown.
    fn piece(&mut self, piece: &str) {
        if self.full || self.fill() {
            return;
        }
        self.out.push_str(piece);
        self.left -= chars(piece) as isize;
    }

    /// Whether there is no room left; says so once in the text.
    fn fill(&mut self) -> bool {
        if self.left > 0 {
            return self.full;
        }
        if !self.full {
            self.out.push_str(", ...");
            self.full = true;
        }
        true
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::List(items) => self.sequence(items, "[", "]"),
            Value::Map(entries) => self.map(entries),
            Value::String(text) => self.text(text),
            Value::Surrogates(wtf8) => self.text(&String::from_utf8_lossy(wtf8)),
            Value::Bytes(bytes) => self.bytes(bytes),
            scalar if !self.full => {
                let text = scalar_text(scalar);
                self.piece(&truncate(&text, self.left));
            }
            _ => {}
        }
    }

    /// Opens a container; false if it is too deep to be shown, or nothing more is.
    fn open(&mut self, start: &str, end: &str) -> bool {
        if self.full {
            return false;
        }
        if self.level >= MAX_LEVELS {
            self.piece(&format!("{start}...{end}"));
            return false;
        }
        self.piece(start);
        self.level += usize::from(!self.full);
        !self.full
    }

    /// Closes a container that was opened: brackets are always closed.
    fn close(&mut self, end: &str) {
        self.level -= 1;
        self.out.push_str(end);
        self.left -= end.len() as isize;
    }

    fn sequence(&mut self, items: &[Value], start: &str, end: &str) {
        if !self.open(start, end) {
            return;
        }
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.piece(", ");
            }
            if self.full {
                break;
            }
            self.value(item);
        }
        self.close(end);
    }

    fn map(&mut self, entries: &[(Box<str>, Value)]) {
        if !self.open("{", "}") {
            return;
        }
        for (at, (key, value)) in entries.iter().enumerate() {
            if at > 0 {
                self.piece(", ");
            }
            if self.full {
                break;
            }
            self.text(key);
            self.piece(": ");
            self.value(value);
        }
        self.close("}");
    }

    /// Text in single quotes; nothing but those is escaped, as in Celery.
    fn text(&mut self, text: &str) {
        if self.full || self.fill() {
            return;
        }
        let text = truncate(text, self.left);
        let text = if text.contains('\'') { Cow::Owned(text.replace('\'', "\\'")) } else { text };
        self.out.push('\'');
        self.out.push_str(&text);
        self.out.push('\'');
        self.left -= chars(&text) as isize + 2;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.full || self.fill() {
            return;
        }
        let shown = &bytes[..bytes.len().min(self.left.unsigned_abs())];
        let text = match std::str::from_utf8(shown) {
            Ok(text) => text.to_owned(),
            Err(_) => shown.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let dots = if shown.len() < bytes.len() { "..." } else { "" };
        self.piece(&format!("b'{text}{dots}'"));
    }
}

fn chars(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.chars().count() }
}

/// Cuts text that is as long as what is left, at its last space if it has one.
fn truncate(text: &str, left: isize) -> Cow<'_, str> {
    let left = left.unsigned_abs();
    // Every character is a byte at least, so short text needs no counting.
    if text.len() < left || chars(text) < left {
        return Cow::Borrowed(text);
    }
    let end = text.char_indices().nth(left).map_or(text.len(), |(at, _)| at);
    let cut = &text[..end];
    Cow::Owned(format!("{}...", cut.rsplit_once(' ').map_or(cut, |(before, _)| before)))
}
