//! The options of a signature: how it is sent, under the names of Celery's `apply_async`.

use std::sync::Arc;

use celeriac_protocol::{Signature, Value};

/// The options of one signature or one call. An option that is `None` counts as absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    /// `chord`: the body of the chord that it is a member of. Shared, because each member has it.
    pub(super) chord: Option<Arc<Signature>>,
    /// `chain`: the steps that follow, the last one first.
    pub(super) chain: Option<Arc<[Signature]>>,
    entries: Vec<(Box<str>, Value)>,
}

/// What a call may not change once a signature has it: tasks that wait for others would wait for ever.
///
/// Source: `celery/canvas.py`, `Signature._IMMUTABLE_OPTIONS`, Celery 5.7.0.
const KEPT: [&str; 2] = ["group_id", "stamped_headers"];

impl Options {
    pub(super) fn from_entries(entries: Vec<(Box<str>, Value)>) -> Self {
        let mut options = Self::default();
        for (name, value) in entries {
            match (&*name, value) {
                (_, Value::Null) => {}
                ("chord", chord @ Value::Map(_)) => match Signature::from_value(chord.clone()) {
                    Ok(chord) => options.chord = Some(Arc::new(chord)),
                    Err(_) => options.entries.push((name, chord)),
                },
                ("chain", Value::List(steps)) => {
                    let steps: Result<Vec<_>, _> = steps.into_iter().map(Signature::from_value).collect();
                    options.chain = steps.ok().filter(|steps| !steps.is_empty()).map(Into::into);
                }
                (_, value) => options.entries.push((name, value)),
            }
        }
        options
    }

    pub(super) fn into_entries(self) -> Vec<(Box<str>, Value)> {
        let mut entries = self.entries;
        if let Some(chord) = self.chord {
            entries.push(("chord".into(), Arc::unwrap_or_clone(chord).into_value()));
        }
        if let Some(chain) = self.chain {
            let steps = chain.iter().cloned().map(Signature::into_value).collect();
            entries.push(("chain".into(), Value::List(steps)));
        }
        entries
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(option, _)| **option == *name).map(|(_, value)| value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match name {
            "chord" => self.chord.is_some(),
            "chain" => self.chain.is_some(),
            _ => self.get(name).is_some(),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        match self.entries.iter_mut().find(|(option, _)| **option == *name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((name.into(), value)),
        }
    }

    /// Sets an option that is not there yet.
    pub(super) fn set_default(&mut self, name: &str, value: Option<&str>) {
        if let (Some(value), false) = (value, self.has(name)) {
            self.set(name, value);
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        let at = self.entries.iter().position(|(option, _)| **option == *name)?;
        Some(self.entries.remove(at).1)
    }

    pub(super) fn take_text(&mut self, name: &str) -> Option<Box<str>> {
        match self.take(name) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The values of an option that is a list or a single one: `link` and `link_error`.
    pub(super) fn take_list(&mut self, name: &str) -> Vec<Value> {
        match self.take(name) {
            None => Vec::new(),
            Some(Value::List(values)) => values,
            Some(single) => vec![single],
        }
    }

    /// Adds to a list unless it is there.
    ///
    /// Source: `celery/canvas.py`, `Signature.append_to_list_option`, Celery 5.7.0.
    pub(super) fn append(&mut self, name: &str, value: Value) {
        let mut values = self.take_list(name);
        if !values.contains(&value) {
            values.push(value);
        }
        self.set(name, values);
    }

    pub(super) fn extend(&mut self, name: &str, more: Vec<Value>) {
        let mut values = self.take_list(name);
        values.extend(more);
        self.set(name, values);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (&**name, value))
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = (Box<str>, Value)> {
        self.entries.into_iter()
    }

    /// The names of the stamps.
    pub(super) fn stamps(&self) -> Vec<Box<str>> {
        let names = self.get("stamped_headers").and_then(Value::as_list).unwrap_or_default();
        names.iter().filter_map(Value::as_str).map(Into::into).collect()
    }

    /// Puts the options of a call over these, all of them.
    pub(super) fn update(&mut self, call: &Self) {
        self.put(call, |_| true);
    }

    /// Puts the options of a call over these, but for the group and the stamps that are here.
    ///
    /// Source: `celery/canvas.py`, `Signature._merge`, Celery 5.7.0.
    pub(super) fn merge(&mut self, call: &Self) {
        let stamps = self.stamps();
        self.put(call, |name| !KEPT.contains(&name) && !stamps.iter().any(|stamp| **stamp == *name));
    }

    /// Puts the options of a call over these, but for the group and the list of stamps.
    ///
    /// Source: `celery/canvas.py`, `group._freeze_gid`, Celery 5.7.0.
    pub(super) fn merge_group(&mut self, call: &Self) {
        self.put(call, |name| !KEPT.contains(&name));
    }

    /// Puts options over these where they are absent or may be replaced.
    fn put(&mut self, call: &Self, may_replace: impl Fn(&str) -> bool) {
        for (name, value) in call.iter() {
            if may_replace(name) || !self.has(name) {
                self.set(name, value.clone());
            }
        }
        if call.chord.is_some() {
            self.chord.clone_from(&call.chord);
        }
        if call.chain.is_some() {
            self.chain.clone_from(&call.chain);
        }
    }
}
