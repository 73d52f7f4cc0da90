//! kombu's wrappers for types that JSON lacks: `{"__type__": "uuid", "__value__": {"hex": "..."}}`.
//!
//! Source: `kombu/utils/json.py`, `JSONEncoder.default`, `object_hook`, `_register_default_types`, kombu 5.7.0.

use base64_simd::STANDARD;

use super::write::{write, write_str};
use crate::Value;

const TYPE: &str = "__type__";
const VALUE: &str = "__value__";

/// How many entries are compared one by one before a set pays.
const FEW: usize = 24;

/// Keeps the last value of a repeated key at the place of the first, as Python's `dict` does.
pub(crate) fn keep_last(entries: &mut Vec<(Box<str>, Value)>) {
    if !has_repeated_key(entries) {
        return;
    }
    let mut places = std::collections::HashMap::<Box<str>, usize>::new();
    let mut kept = Vec::with_capacity(entries.len());
    for (key, value) in std::mem::take(entries) {
        match places.get(&key) {
            Some(&place) => {
                let entry: &mut (Box<str>, Value) = &mut kept[place];
                entry.1 = value;
            }
            None => {
                places.insert(key.clone(), kept.len());
                kept.push((key, value));
            }
        }
    }
    *entries = kept;
}

fn has_repeated_key(entries: &[(Box<str>, Value)]) -> bool {
    if entries.len() > FEW {
        let mut seen = std::collections::HashSet::with_capacity(entries.len());
        return !entries.iter().all(|(key, _)| seen.insert(key));
    }
    entries.iter().enumerate().any(|(at, (key, _))| entries[..at].iter().any(|(earlier, _)| earlier == key))
}

/// Makes the typed value of a wrapper, or the dictionary that it is.
///
/// A wrapper with an unknown type or a value of the wrong form stays a dictionary, where kombu raises.
pub(super) fn unwrap(mut entries: Vec<(Box<str>, Value)>) -> Value {
    let (kind, wrapped) = match &entries[..] {
        [(first, Value::String(_)), (second, _)] if &**first == TYPE && &**second == VALUE => (0, 1),
        [(first, _), (second, Value::String(_))] if &**first == VALUE && &**second == TYPE => (1, 0),
        _ => return Value::Map(entries),
    };
    let value = std::mem::take(&mut entries[wrapped].1);
    let name = entries[kind].1.as_str().unwrap_or_default();
    match typed(name, value) {
        Ok(value) => value,
        Err(value) => {
            entries[wrapped].1 = value;
            Value::Map(entries)
        }
    }
}

fn typed(name: &str, value: Value) -> Result<Value, Value> {
    match (name, value) {
        ("datetime", Value::String(text)) => Ok(Value::DateTime(text)),
        ("date", Value::String(text)) => Ok(Value::Date(text)),
        ("time", Value::String(text)) => Ok(Value::Time(text)),
        ("decimal", Value::String(text)) => Ok(Value::Decimal(text)),
        ("bytes", Value::String(text)) => Ok(Value::Bytes(text.into_boxed_bytes())),
        ("base64", Value::String(text)) => match STANDARD.decode_to_vec(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(_) => Err(Value::String(text)),
        },
        ("uuid", Value::Map(fields)) => match &fields[..] {
            [(key, Value::String(hex))] if &**key == "hex" => {
                hex.parse().map(Value::Uuid).map_err(|_| Value::Map(fields))
            }
            _ => Err(Value::Map(fields)),
        },
        (_, value) => Err(value),
    }
}

/// Writes a wrapper around text.
pub(super) fn write_text(out: &mut Vec<u8>, name: &str, text: &str) {
    out.extend_from_slice(br#"{"__type__": ""#);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(br#"", "__value__": "#);
    write_str(out, text);
    out.push(b'}');
}

/// Writes bytes as text if they are UTF-8, else in base64.
pub(super) fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_text(out, "bytes", text),
        Err(_) => write_text(out, "base64", &STANDARD.encode_to_string(bytes)),
    }
}

/// Writes a `uuid.UUID`.
pub(super) fn write_uuid(out: &mut Vec<u8>, uuid: uuid::Uuid) {
    let mut buffer = uuid::Uuid::encode_buffer();
    let hex: &str = uuid.simple().encode_lower(&mut buffer);
    let fields = Value::Map(vec![("hex".into(), Value::String(hex.into()))]);
    out.extend_from_slice(br#"{"__type__": "uuid", "__value__": "#);
    write(&fields, out);
    out.push(b'}');
}
