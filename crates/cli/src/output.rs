//! What a command prints: for people or, with `--json`, for programs.

use std::io::Write;

use celeriac_protocol::{Value, json};

use crate::failure::Failure;
use crate::table::Table;

/// Where a command prints.
pub(crate) struct Output<'a> {
    /// What was asked for: data.
    pub(crate) out: &'a mut (dyn Write + Send),
    /// What goes beside it: notes and errors.
    pub(crate) err: &'a mut (dyn Write + Send),
    /// Whether data goes to a terminal, and a person at it can press keys.
    pub(crate) is_terminal: bool,
}

impl Output<'_> {
    /// One line of data.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{}", text.as_ref())?)
    }

    /// A note for the person at the terminal; nothing depends on it.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.err, "{}", text.as_ref());
    }

    /// One JSON document on one line.
    pub(crate) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        let mut document = json::to_bytes(value);
        document.push(b'\n');
        Ok(self.out.write_all(&document)?)
    }

    /// A table, or `otherwise` as a note if it has no rows.
    pub(crate) fn table(&mut self, table: &Table, otherwise: &str) -> Result<(), Failure> {
        if table.is_empty() {
            self.note(otherwise);
            return Ok(());
        }
        Ok(write!(self.out, "{table}")?)
    }
}

/// A map with these entries.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(name, value)| (name.into(), value)).collect())
}

/// The text of a value for people: text as it is, anything else as JSON.
pub(crate) fn show_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.to_string(),
        other => String::from_utf8_lossy(&json::to_bytes(other)).into_owned(),
    }
}
