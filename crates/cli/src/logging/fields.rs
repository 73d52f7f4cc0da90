//! The fields of one span or event.

use std::fmt;

use celeriac_protocol::Value;
use tracing::field::{Field, Visit};

/// The id of the task that a line belongs to.
pub(crate) const TASK_ID: &str = "task_id";
/// The name of the task that a line belongs to.
pub(crate) const TASK_NAME: &str = "task_name";

/// Fields in the order they were recorded; a later value replaces an earlier one of the same name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    pub(crate) message: String,
    pub(crate) others: Vec<(&'static str, Value)>,
}

impl Fields {
    /// The value of a field.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.others.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Takes over the fields of an inner span.
    pub(crate) fn extend(&mut self, inner: &Self) {
        for (name, value) in &inner.others {
            self.set(name, value.clone());
        }
    }

    fn set(&mut self, name: &'static str, value: Value) {
        match self.others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => self.others.push((name, value)),
        }
    }

    fn text(&mut self, field: &Field, text: String) {
        if field.name() == "message" { self.message = text } else { self.set(field.name(), text.into()) }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field.name(), value.into());
    }

    /// An error with its causes.
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text.push_str(": ");
                text.push_str(&cause_text);
            }
            source = cause.source();
        }
        self.text(field, text);
    }
}
