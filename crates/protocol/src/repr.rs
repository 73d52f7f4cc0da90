//! Values in the form of Python's `repr`, for people.

use crate::Value;
use crate::json::float_text;

/// The value as Python's `repr` shows it.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value);
    out
}

/// Positional arguments as Python's `repr` shows their tuple, with `...` in place of what goes beyond about `limit` bytes.
///
/// Nothing beyond the limit is written, so that a large argument costs no more than a small one.
pub fn args(args: &[Value], limit: usize) -> String {
    let mut out = String::with_capacity(32);
    out.push('(');
    for (at, value) in args.iter().enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        if !write_within(&mut out, value, limit) {
            return out;
        }
    }
    out.push_str(if args.len() == 1 { ",)" } else { ")" });
    out
}

/// Keyword arguments as Python's `repr` shows their dictionary, limited as in [`args`].
pub fn kwargs(kwargs: &[(Box<str>, Value)], limit: usize) -> String {
    let mut out = String::with_capacity(32);
    out.push('{');
    for (at, (name, value)) in kwargs.iter().enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        write_text(&mut out, name);
        out.push_str(": ");
        if !write_within(&mut out, value, limit) {
            return out;
        }
    }
    out.push('}');
    out
}

/// Writes a value unless `out` grows beyond the limit; then it ends with `...`, and this is false.
fn write_within(out: &mut String, value: &Value, limit: usize) -> bool {
    let fits = match value {
        Value::String(text) => {
            let end = text.floor_char_boundary(limit.saturating_sub(out.len()));
            write_text(out, &text[..end]);
            end == text.len()
        }
        Value::List(items) => {
            out.push('[');
            let all = items.iter().enumerate().all(|(at, item)| {
                out.push_str(if at > 0 { ", " } else { "" });
                write_within(out, item, limit)
            });
            if !all {
                return false;
            }
            out.push(']');
            true
        }
        Value::Map(entries) => {
            out.push('{');
            let all = entries.iter().enumerate().all(|(at, (key, item))| {
                out.push_str(if at > 0 { ", " } else { "" });
                write_text(out, &key[..key.floor_char_boundary(limit)]);
                out.push_str(": ");
                write_within(out, item, limit)
            });
            if !all {
                return false;
            }
            out.push('}');
            true
        }
        Value::Bytes(bytes) if bytes.len() > limit => {
            out.push_str("b'");
            false
        }
        other => {
            write(out, other);
            true
        }
    };
    if fits && out.len() <= limit {
        return true;
    }
    out.push_str("...");
    false
}

fn write(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(int) => out.push_str(&format!("{int}")),
        Value::BigInt(digits) => out.push_str(digits),
        Value::Float(float) => out.push_str(&float_text(*float)),
        Value::String(text) => write_text(out, text),
        Value::Surrogates(wtf8) => write_text(out, &String::from_utf8_lossy(wtf8)),
        Value::Bytes(bytes) => out.push_str(&format!("b'{}'", bytes.escape_ascii())),
        Value::DateTime(text) | Value::Date(text) | Value::Time(text) => out.push_str(text),
        Value::Decimal(text) => out.push_str(&format!("Decimal('{text}')")),
        Value::Uuid(uuid) => out.push_str(&format!("UUID('{uuid}')")),
        Value::List(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write(out, item);
            }
            out.push(']');
        }
        Value::Map(entries) => {
            out.push('{');
            for (at, (key, value)) in entries.iter().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_text(out, key);
                out.push_str(": ");
                write(out, value);
            }
            out.push('}');
        }
    }
}

fn write_text(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => {
                out.push('\\');
                out.push(char);
            }
            char if (char as u32) < 0x20 || char as u32 == 0x7f => {
                out.push_str(&format!("\\x{:02x}", char as u32));
            }
            char => out.push(char),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_look_as_python_shows_them() {
        let one = [Value::from("it's")];
        assert_eq!(args(&one, 1024), "(\"it's\",)");
        assert_eq!(args(&[], 1024), "()");
        assert_eq!(args(&[Value::from(1), Value::Null], 1024), "(1, None)");
        assert_eq!(kwargs(&[("a".into(), Value::from(true))], 1024), "{'a': True}");
    }

    #[test]
    fn a_large_argument_is_cut_short() {
        let large = Value::from("é".repeat(1 << 20));
        let nested = Value::List(vec![large.clone(), Value::Map(vec![("k".into(), large.clone())])]);
        for value in [large, nested] {
            let shown = args(&[value.clone()], 1024);
            assert!(shown.len() < 1100 && shown.ends_with("..."), "{} bytes", shown.len());
            assert!(kwargs(&[("name".into(), value)], 1024).len() < 1100);
        }
    }
}
